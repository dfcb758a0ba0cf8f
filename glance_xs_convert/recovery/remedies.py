# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What remains to do for an import whose process ended before it did.

Glance never resumes such an import: its image would stay importing, and its
data in the staging area, until somebody deletes the image.
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import dataclasses
import enum
import functools
from typing import Any

from glance.async_.flows import api_image_import
from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from glance import context
from glance import gateway
from oslo_log import log as logging

from glance_xs_convert import exceptions
from glance_xs_convert.recovery import claims
from glance_xs_convert.recovery import interfaces
from glance_xs_convert.recovery import records
from glance_xs_convert.recovery import staging
from glance_xs_convert.recovery import stores
from glance_xs_convert.recovery import task_messages
from glance_xs_convert import terms
from glance_xs_convert import text

LOG = logging.getLogger(__name__)

_KIND = exceptions.ImportInterrupted.__name__
_MESSAGE = ('The image service was stopped while it imported the image; '
            'import the image again.')
#: The message for the owner of the image.
MESSAGE = text.tagged(_MESSAGE, _KIND)
_INCOMPLETE = ('The image service was stopped before it had copied the image '
               'to all stores; copy it to the missing ones: {}.')

#: The longest time between the lock of an image and its task, in seconds.
_STORING = 5.0
#: The time after which nobody waits for a store any more, in seconds.
_PATIENCE = 300.0
#: The states that never change again.
_FINAL = ('success', 'failure')
#: The states in which Glance allows changes of an image's formats.
_CHANGEABLE = ('queued', 'importing')


class NotYet(Exception):
    """An import can only be recovered later; the text is the reason."""


class Remedy(enum.Enum):
    """What remains to do for an import; the values are for operators."""

    NOT_BEGUN = 'the import had not begun'
    LOCKED = 'the import had not begun: releasing the image'
    DELETED = 'the image was deleted: removing its data'
    SET_BACK = 'returning the image to queued'
    STRANDED = 'the image had been released: returning it to queued'
    COMPLETE = 'the image is active: completing its import'
    RELEASED = 'the image had been released: ending its task'
    REPLACED = 'another import has taken over the image: ending its task'


class ClaimedImport:
    """A claimed import, with Glance's records of it.

    :ivar claim: the claim on its ticket
    :ivar remedy: what remains to do if its process is gone
    """

    def __init__(self, claim: claims.Claim) -> None:
        # It may be anybody's import, so a user's rights are not enough.
        self._context = context.get_admin_context()
        self._tasks: interfaces.TaskRepository = _glance().get_task_repo(
            self._context)
        self._images: interfaces.ImageRepository = _glance().get_repo(
            self._context)
        self._image: interfaces.Image | None
        try:
            self._image = self._images.get(claim.image_id)
        except glance_exception.NotFound:
            self._image = None
        self.claim = claim if claim.task_id else self._with_task(claim)
        self._wrapper: interfaces.ActionWrapper = (
            api_image_import.ImportActionWrapper(
                self._images, claim.image_id, self.claim.task_id))
        self.remedy = self._find_remedy()

    def _holder(self) -> str | None:
        """Return the task that has locked the image."""
        if self._image is None:
            return None
        return dict(self._image.extra_properties).get(terms.LOCK)

    def _with_task(self, claim: claims.Claim) -> claims.Claim:
        """Return a claim with the task that its request has begun, if any."""
        task = self._task(self._holder())
        if task is None or task.request_id != claim.request_id:
            return claim
        return dataclasses.replace(
            claim, task_id=task.task_id, stores=task.task_input['backend'])

    def _task(self, task_id: str | None) -> interfaces.TaskRecord | None:
        """Return a task's record, if there is one."""
        found: interfaces.TaskRecord | None = None
        if task_id is not None:
            found = script_utils.get_task(self._tasks, task_id)
        return found

    def _find_remedy(self) -> Remedy:
        image, holder = self._image, self._holder()
        # Glance may have been stopped while it deleted the image.
        if image is None or image.status == 'deleted':
            return Remedy.DELETED
        if self.claim.task_id is None:
            return (Remedy.LOCKED if holder and self._task(holder) is None
                    else Remedy.NOT_BEGUN)
        if holder is None:
            return (Remedy.STRANDED if image.status == 'importing'
                    else Remedy.RELEASED)
        if holder != self.claim.task_id:
            return Remedy.REPLACED
        if image.status in ('queued', 'uploading', 'importing'):
            return Remedy.SET_BACK
        return Remedy.COMPLETE

    def is_over(self) -> bool:
        """Whether Glance has ended the import, according to its database.

        It ends the task and releases the image, one soon after the other.
        """
        task = self._task(self.claim.task_id)
        return ((task is None or task.status in _FINAL)
                and self.remedy not in (
                    Remedy.SET_BACK, Remedy.STRANDED, Remedy.COMPLETE))

    def finish(self, waited: Callable[[str], float]) -> list[str]:
        """Do what remains to do; part of it may have been done before.

        :param waited: function that tells for how many seconds a reason to
                       wait has existed
        :returns: sentences about what must be removed by hand
        :raises NotYet: it can only be done later
        """
        match self.remedy:
            case Remedy.LOCKED:
                self._release(waited)
            case Remedy.DELETED:
                return self._remove_data(waited)
            case Remedy.SET_BACK:
                return self._set_back(waited)
            case Remedy.STRANDED:
                return self._lock_and_set_back(waited)
            case Remedy.COMPLETE:
                return self._complete(waited)
            case Remedy.RELEASED | Remedy.REPLACED:
                self._end_task()
        return []

    def _release(self, waited: Callable[[str], float]) -> None:
        """Remove the lock of a request that was killed while it locked.

        Glance locks an image just before it stores the task. If the task is
        still missing some time later, its process is gone.
        """
        holder = str(self._holder())
        reason = f'the image is locked for the task {holder}, which may follow'
        if waited(reason) < _STORING:
            raise NotYet(reason)
        with contextlib.suppress(glance_exception.NotFound):
            self._images.delete_property_atomic(
                self._known_image(), terms.LOCK, holder)

    def _remove_data(self, waited: Callable[[str], float]) -> list[str]:
        left = self._remove_from_stores((), waited)
        self._remove_staged()
        self._end_task(left)
        return left

    def _lock_and_set_back(self, waited: Callable[[str], float]) -> list[str]:
        """Set an image back that is importing, but no longer locked."""
        try:
            self._images.set_property_atomic(
                self._known_image(), terms.LOCK, str(self.claim.task_id))
        except glance_exception.Duplicate as error:
            raise NotYet('another task has locked the image') from error
        return self._set_back(waited)

    def _set_back(self, waited: Callable[[str], float]) -> list[str]:
        """Do what the tasks of Glance and the plugin do after a failure."""
        # While this has to wait for a store, the image stays unchanged.
        self._remove_unused_copies(waited)
        with self._wrapper as action:
            for store in self.claim.stores:
                action.remove_location_for_store(store)
            set_back(action, self.claim.undo, self.claim.stores, failed=True)
            action.pop_extra_property(terms.STAGE_HOST)
        stores.remove_locations(self._context, self.claim.image_id,
                                pending=False)
        left = self._remove_unused_copies(waited)
        self._remove_staged()
        self._end_task(left)
        self._wrapper.drop_lock_for_task()
        return left

    def _complete(self, waited: Callable[[str], float]) -> list[str]:
        """Do what Glance's tasks do after the last copy."""
        stores.remove_locations(self._context, self.claim.image_id,
                                pending=True)
        left = self._remove_unused_copies(waited)
        with self._wrapper as action:
            importing = action.image_extra_properties.get(
                action.IMPORTING_STORES_KEY, '').split(',')
            missing = [store for store in self.claim.stores
                       if store in importing]
            action.remove_importing_stores(self.claim.stores)
            action.add_failed_stores(missing)
        self._remove_staged()
        if missing:
            self._end_task(left, _INCOMPLETE.format(
                ', '.join(map(str, missing))))
        else:
            task_messages.succeed(self._tasks, str(self.claim.task_id),
                                  self.claim.image_id)
        self._wrapper.drop_lock_for_task()
        return left

    def _remove_unused_copies(self, waited: Callable[[str], float],
                              ) -> list[str]:
        """Remove data in stores that does not belong to the image."""
        image = self._images.get(self.claim.image_id)
        kept = [
            stores.Location(location['url'], location['metadata'].get('store'))
            for location in image.locations]
        kept += stores.to_be_deleted(self._context, self.claim.image_id)
        return self._remove_from_stores(kept, waited)

    def _remove_from_stores(self, kept: Sequence[stores.Location],
                            waited: Callable[[str], float]) -> list[str]:
        left = []
        for store in self.claim.stores:
            try:
                sentence = stores.remove_unused_copy(
                    store, self.claim.image_id, kept, since=self.claim.begun,
                    was_copied=self.claim.undo is not None)
            except stores.StoreBusy as error:
                if waited(str(error)) < _PATIENCE:
                    raise NotYet(str(error)) from error
                sentence = error.sentence
            if sentence is not None:
                left.append(sentence)
        return left

    def _remove_staged(self) -> None:
        staging.remove_raw(self.claim.staged)
        staging.remove(self.claim.staged)

    def _end_task(self, left: Sequence[str] = (), message: str = _MESSAGE,
                  ) -> None:
        if self.claim.task_id is not None:
            staging.remove_raw(self.claim.staged, self.claim.task_id)
            sentences = [message, *(f'{sentence}.' for sentence in left)]
            task_messages.fail(
                self._tasks, self.claim.task_id,
                text.tagged(' '.join(sentences), _KIND))

    def _known_image(self) -> interfaces.Image:
        """Return the image, which exists if its lock matters."""
        if self._image is None:
            raise glance_exception.ImageNotFound(self.claim.image_id)
        return self._image


@functools.cache
def _glance() -> Any:
    """Return the factory of Glance's objects, which is slow to make."""
    return gateway.Gateway()


def request_id_of(task_id: str) -> str | None:
    """Return the request ID in a task's record."""
    tasks = _glance().get_task_repo(context.get_admin_context())
    task: interfaces.TaskRecord | None = script_utils.get_task(tasks, task_id)
    return task.request_id if task is not None else None


def undo(action: interfaces.ImportActions, change: records.RecordChange,
         ) -> None:
    """Undo what a plugin has changed in an image's record.

    An image that is active by now stays as it is: its formats are those of
    the data that it has, and Glance does not allow changes to them.
    """
    if action.image_status in _CHANGEABLE:
        change.apply(action)


def set_back(action: interfaces.ImportActions,
             change: records.RecordChange | None,
             for_stores: Sequence[str | None], *, failed: bool) -> None:
    """Return an image to queued, as Glance's tasks do after a failure.

    :param change: the change that undoes what a plugin has changed
    :param for_stores: the stores that the import was for
    :param failed: whether to record them as failed
    """
    if change is not None:
        undo(action, change)
    if action.image_status in ('uploading', 'importing'):
        action.set_image_attribute(status='queued')
    action.remove_importing_stores(for_stores)
    if failed:
        action.add_failed_stores(for_stores)

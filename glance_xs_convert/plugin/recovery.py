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

"""Recovering imports whose process ended before they did.

Glance never resumes such an import: its image would stay importing, and its
data in the staging area, until somebody deletes the image.
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import dataclasses
import enum
import functools
import time
from typing import Any

from glance.async_.flows import api_image_import
from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from glance import context
from glance import gateway
from glance import housekeeping
from oslo_log import log as logging

from glance_xs_convert.plugin import claims
from glance_xs_convert.plugin import staging
from glance_xs_convert.plugin import stores
from glance_xs_convert.plugin import task_messages
from glance_xs_convert.plugin import tickets
from glance_xs_convert.plugin import turns

LOG = logging.getLogger(__name__)

#: The message for the owner of the image.
MESSAGE = ('The image service was stopped while it imported the XenServer '
           'image; import the image again.')
#: The message if the image is usable, but some stores do not have it.
INCOMPLETE = ('The image service was stopped before it had copied the image '
              'to all stores; copy it to the missing ones: {}.')

_LOCK = 'os_glance_import_task'
_STAGE_HOST = 'os_glance_stage_host'
#: The longest time between the lock of an image and its task, in seconds.
_STORING = 5.0
#: The states that never change again.
_FINAL = ('success', 'failure')


class Rest(enum.Enum):
    """What remains to do for an import; the values are for operators."""

    NOT_BEGUN = 'the import had not begun'
    LOCKED = 'the import had not begun: releasing the image'
    UNREADABLE = 'removing its ticket, which cannot be read'
    DELETED = 'the image was deleted: removing its data'
    SET_BACK = 'returning the image to queued'
    COMPLETE = 'the image is active: completing its import'
    RELEASED = 'the image had been released: ending its task'
    REPLACED = 'another import has taken over the image: ending its task'


class Progress(enum.Enum):
    """The progress of an import.

    Glance ends the task and releases the image, one soon after the other. But
    an operator may have ended the task, or the user may have deleted the
    image, before Glance notices; and either step may fail.
    """

    GOING_ON = enum.auto()
    ENDING = enum.auto()
    OVER = enum.auto()


class Import:
    """A claimed import, with Glance's records of it.

    :ivar claim: the claim on its ticket
    :ivar rest: what remains to do if its process is gone
    """

    def __init__(self, claim: claims.Claim) -> None:
        # It may be anybody's import, so a user's rights are not enough.
        self._context = context.get_admin_context()
        self._tasks = _glance().get_task_repo(self._context)
        self._images = _glance().get_repo(self._context)
        try:
            self._image = self._images.get(claim.image_id)
        except glance_exception.NotFound:
            self._image = None
        self.claim = claim if claim.task_id else self._with_task(claim)
        self._wrapper = api_image_import.ImportActionWrapper(
            self._images, claim.image_id, self.claim.task_id)
        self.rest = self._look()

    def _holder(self) -> str | None:
        """Return the task that has locked the image."""
        holder: str | None = None
        if self._image is not None:
            holder = dict(self._image.extra_properties).get(_LOCK)
        return holder

    def _with_task(self, claim: claims.Claim) -> claims.Claim:
        """Return a claim with the task that its request has begun, if any."""
        holder = self._holder()
        task = holder and script_utils.get_task(self._tasks, holder)
        if not task or task.request_id != claim.request_id:
            return claim
        return dataclasses.replace(
            claim, task_id=holder, stores=task.task_input['backend'])

    def _has_no_task(self, holder: str | None) -> bool:
        """Whether an image is locked for a task that does not exist."""
        return (holder is not None
                and script_utils.get_task(self._tasks, holder) is None)

    def _look(self) -> Rest:
        image, holder = self._image, self._holder()
        # Glance may have been stopped while it deleted the image.
        if image is None or image.status == 'deleted':
            return Rest.DELETED
        if self.claim.task_id is None:
            return Rest.LOCKED if self._has_no_task(holder) else Rest.NOT_BEGUN
        if holder is None:
            return Rest.RELEASED
        if holder != self.claim.task_id:
            return Rest.REPLACED
        if image.status in ('queued', 'uploading', 'importing'):
            return Rest.SET_BACK
        return Rest.COMPLETE

    def finish(self) -> None:
        """Do what remains to do; part of it may have been done before."""
        {
            Rest.NOT_BEGUN: lambda: None,
            Rest.LOCKED: self._release,
            Rest.DELETED: self._remove_data,
            Rest.SET_BACK: self._set_back,
            Rest.COMPLETE: self._complete,
            Rest.RELEASED: self._end_task,
            Rest.REPLACED: self._end_task,
        }[self.rest]()

    def progress(self) -> Progress:
        """Return the import's progress according to Glance's database."""
        task = self.claim.task_id and script_utils.get_task(
            self._tasks, self.claim.task_id)
        signs = (not task or task.status in _FINAL,
                 self.rest not in (Rest.SET_BACK, Rest.COMPLETE))
        if all(signs):
            return Progress.OVER
        return Progress.ENDING if any(signs) else Progress.GOING_ON

    def _release(self) -> None:
        """Remove the lock of a request that was killed while it locked.

        Glance locks an image just before it stores the task. If the task is
        still missing some time later, its process is gone.
        """
        holder = self._holder()
        time.sleep(_STORING)
        if self._has_no_task(holder):
            with contextlib.suppress(glance_exception.NotFound):
                self._images.delete_property_atomic(
                    self._image, _LOCK, holder)

    def _remove_data(self) -> None:
        for store in self.claim.stores:
            stores.remove_cut(store, self.claim.image_id, kept=())
        self._remove_staged()
        self._end_task()

    def _set_back(self) -> None:
        """Do what the tasks of Glance and the plugin do after a failure."""
        with self._wrapper as action:
            for store in self.claim.stores:
                action.remove_location_for_store(store)
            if self.claim.undo is not None:
                self.claim.undo.apply(action)
            queue(action, self.claim.stores, failed=True)
            action.pop_extra_property(_STAGE_HOST)
        self._remove_cut_copies(pending=False)
        self._remove_staged()
        self._end_task()
        self._wrapper.drop_lock_for_task()

    def _complete(self) -> None:
        """Do what Glance's tasks do after the last copy."""
        with self._wrapper as action:
            importing = action.image_extra_properties.get(
                action.IMPORTING_STORES_KEY, '').split(',')
            missing = [store for store in self.claim.stores
                       if store in importing]
            action.remove_importing_stores(self.claim.stores)
            action.add_failed_stores(missing)
        self._remove_cut_copies(pending=True)
        self._remove_staged()
        if missing:
            self._end_task(INCOMPLETE.format(', '.join(map(str, missing))))
        else:
            task_messages.succeed(self._tasks, str(self.claim.task_id),
                                  self.claim.image_id)
        self._wrapper.drop_lock_for_task()

    def _remove_cut_copies(self, *, pending: bool) -> None:
        """Remove data in stores that does not belong to the image.

        :param pending: whether other data in stores belongs to it
        """
        stores.remove_locations(self._context, self.claim.image_id,
                                pending=pending)
        image = self._images.get(self.claim.image_id)
        kept = [location['url'] for location in image.locations]
        kept += stores.urls_to_be_deleted(self._context, self.claim.image_id)
        for store in self.claim.stores:
            stores.remove_cut(store, self.claim.image_id, kept)

    def _remove_staged(self) -> None:
        staging.remove_raw(self.claim.staged)
        staging.remove(self.claim.staged)

    def _end_task(self, message: str = MESSAGE) -> None:
        if self.claim.task_id is not None:
            staging.remove_raw(self.claim.staged, self.claim.task_id)
            task_messages.fail(self._tasks, self.claim.task_id, message)


@functools.cache
def _glance() -> Any:
    """Return the factory of Glance's objects, which is slow to make."""
    return gateway.Gateway()


Report = Callable[[claims.Claim | None, Rest], None]


def recover(directory: str | None, *, dry_run: bool = False,
            report: Report = lambda claim, rest: None) -> bool:
    """Recover the imports whose process on this host is gone.

    Their images return to queued without data in the staging area, and their
    tasks' messages give the reason. Errors are logged, and the next call tries
    again.

    :param directory: directory of the tickets
    :param dry_run: whether to report only
    :param report: called for each import before it is recovered; the claim is
                   None if its ticket cannot be read
    :returns: whether there were no errors
    :raises OSError: the tickets cannot be read or trusted
    """
    went_well = True

    def deal(text: str) -> bool:
        nonlocal went_well
        try:
            return _deal(text, dry_run, report)
        except Exception:
            LOG.exception('Cannot recover an interrupted import: %s',
                          text.strip())
            went_well = False
            return False

    tickets.Box(directory, claims.SUFFIX).collect(deal)
    if not dry_run:
        turns.remove_left(directory)
    return went_well


def _deal(text: str, dry_run: bool, report: Report) -> bool:
    """:returns: whether the ticket is not needed any more"""
    try:
        claim = claims.parsed(text)
    except ValueError:
        LOG.error('An import was interrupted, but its ticket does not say '
                  'which one: %r', text)
        report(None, Rest.UNREADABLE)
        return not dry_run
    if claim.staging != housekeeping.staging_store_path().rstrip('/'):
        LOG.debug('The import of image %s belongs to another Glance',
                  claim.image_id)
        return False
    found = Import(claim)
    report(claim, found.rest)
    if dry_run:
        return False
    LOG.warning('The import of image %(image)s was interrupted; %(rest)s',
                {'image': claim.image_id, 'rest': found.rest.value})
    found.finish()
    return True


def queue(action: Any, stores: Sequence[str | None], failed: bool) -> None:
    """Return an image to queued, as Glance's tasks do after a failure.

    :param stores: the stores that the import was for
    :param failed: whether to record them as failed
    """
    if action.image_status in ('uploading', 'importing'):
        action.set_image_attribute(status='queued')
    action.remove_importing_stores(stores)
    if failed:
        action.add_failed_stores(stores)

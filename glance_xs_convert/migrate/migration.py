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

"""One image, from its first request to the last one.

Every step can be repeated, and looks first at how far the image is: so it
does not matter whether another command has been here before, was killed, or
is at it now.
"""

from collections.abc import Callable
import dataclasses
import datetime
import hashlib
import time
from typing import Any

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import task_text
from glance_xs_convert.migrate import verify
from glance_xs_convert import progress
from glance_xs_convert import text

KEEP = 'keep'
HIDE = 'hide'
DEACTIVATE = 'deactivate'
DELETE = 'delete'
OLD = (KEEP, HIDE, DEACTIVATE, DELETE)

#: So often an import is begun anew where the archive is not at fault.
IMPORTS = 3
_LOCK = 'os_glance_import_task'
#: How long an import that has failed may go on to hold its image, in seconds.
#: Some failures of Glance's own leave it locked for an hour.
_RELEASE = 20.0
#: How much of a message is put into a property.
_LONGEST_REASON = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    """How images are migrated.

    :ivar method: how the archives get into the imports
    :ivar old: what becomes of old images, one of ``OLD``
    :ivar stores: the names of the stores that new images go to
    :ivar verify: whether the sums of the disks are compared
    :ivar retry: whether archives are tried again that were refused
    :ivar drop_signature: whether new images may do without a signature
    :ivar deadline: for how long an import may show no progress, in seconds
    """

    method: methods.Method
    old: str = HIDE
    stores: tuple[str, ...] = ()
    verify: bool = False
    retry: bool = False
    drop_signature: bool = False
    deadline: float = 3600.0


#: Is called with what is going on, and how far that is, from 0 to 1.
Told = Callable[[str, float | None], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What became of an image that was migrated.

    :ivar new_id: the new image
    :ivar size: of the disk, in bytes
    :ivar notes: what the operator should know
    """

    new_id: str
    size: int
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Ending:
    """How an import ended.

    :ivar new: the new image now, queued or active
    :ivar message: what the task said last, or nothing
    :ivar size: of the disk, in bytes, if the task was seen to tell it
    """

    new: cloud_.Image
    message: str
    size: int | None


class Migration:
    """Migrates one image.

    :param cloud: the cloud
    :param settings: how
    :param old_id: the old image
    :param new_id: the new image, if there is known to be one
    :param told: is told what goes on
    """

    def __init__(self, cloud: cloud_.Cloud, settings: Settings, old_id: str,
                 new_id: str | None, told: Told) -> None:
        self.cloud = cloud
        self.settings = settings
        self.old_id = old_id
        self.known_new_id = new_id
        self.told = told
        self._notes: list[str] = []

    def run(self) -> Result:
        """Migrate the image.

        :raises Skipped: there is nothing to migrate
        :raises Failed: it was not migrated; the new image says why
        :raises NotConverted: the plugin is not on
        :raises MigrationError: the cloud did not do as it should
        """
        failure: errors.MigrationError | None = None
        for _ in range(IMPORTS):
            old = self._old()
            new = self._claim(old)
            try:
                return self._complete(old, new)
            except (errors.Vanished, errors.Stuck) as error:
                failure = error
        raise errors.Failed(str(failure))

    def retire(self) -> Result:
        """Do to the old image what the settings say, if it is replaced."""
        old = self._old()
        new = self.cloud.image(old.get(names.REPLACED_BY, self.old_id))
        if new is None or new.get(names.SOURCE) != old['id']:
            raise errors.Skipped('its new image is gone')
        return self._complete(old, new)

    def _old(self) -> cloud_.Image:
        old = self.cloud.image(self.old_id)
        if old is None:
            raise errors.Skipped('it was deleted meanwhile')
        return old

    def _claim(self, old: cloud_.Image) -> cloud_.Image:
        """Make the new image, or find the one that there is."""
        self.told('preparing', None)
        new = self._usable(old, self.known_new_id)
        if new is not None:
            return new
        obstacle = candidates.obstacle(old, self.settings.drop_signature)
        if obstacle:
            raise errors.Skipped(obstacle)
        for attempt in range(names.MAX_ATTEMPTS):
            new_id = names.new_id(old['id'], attempt)
            try:
                return self.cloud.create(record.first(
                    old, new_id, old['owner'] != self.cloud.project_id))
            except errors.Conflict:
                new = self._usable(old, new_id)
            if new is not None:
                return new
        raise errors.Failed('there were too many attempts')

    def _usable(self, old: cloud_.Image, new_id: str | None,
                ) -> cloud_.Image | None:
        """A new image that is there, unless it is not to be trusted."""
        new = self.cloud.image(new_id) if new_id else None
        if (new is None or new['owner'] != old['owner']
                or names.UNDONE in new):
            return None
        return new

    def _complete(self, old: cloud_.Image, new: cloud_.Image) -> Result:
        if names.SOURCE not in new:
            new = self._imported(old, self._again(new))
        facts = self._verified(old, new) if self._needs_sum(new) else {}
        if names.SOURCE not in new:
            old, new = self._published(new)
        if facts:
            new = self.cloud.patch(new['id'], record.changes(new, facts))
        self._replace(old, new)
        return Result(new['id'], new['size'], tuple(self._notes))

    def _again(self, new: cloud_.Image) -> cloud_.Image:
        """Forget that the last attempt failed."""
        if names.REFUSED in new and not self.settings.retry:
            raise errors.Refused(new[names.REFUSED])
        found = [name for name in (names.REFUSED, names.FAILED)
                 if name in new]
        if names.REFUSED in new and new['status'] == 'active':
            self.cloud.delete(new['id'])
            raise errors.Vanished('the disk was not the right one')
        if not found:
            return new
        try:
            return self.cloud.patch(new['id'], record.removals(found))
        except errors.Conflict:  # Somebody else was faster.
            return self._present(new['id'])

    # How the new image gets its data.

    def _imported(self, old: cloud_.Image, new: cloud_.Image) -> cloud_.Image:
        """Wait until the new image is active, and begin what it takes."""
        pauses = patience.back_off()
        for left in reversed(range(IMPORTS)):
            if new['status'] == 'active':
                return self._checked(new, None)
            ending = self._import_once(old, new)
            new, message = ending.new, ending.message
            if new['status'] == 'active':
                return self._checked(new, ending.size)
            if task_text.blames_archive(message):
                self._remember(new, names.REFUSED, message)
                raise errors.Refused(message)
            if left:
                self.told('waiting after a failure', None)
                self.cloud.clock.pause(next(pauses))
        message = message or 'the import failed, and Glance does not say why'
        self._remember(new, names.FAILED, message)
        raise errors.Failed(message)

    def _import_once(self, old: cloud_.Image, new: cloud_.Image) -> _Ending:
        """Begin an import, unless there is one, and wait until it is over."""
        new_id = new['id']
        try:
            if new['status'] == 'queued' and _LOCK not in new:
                self.told('uploading' if self.settings.method.name
                          == methods.DIRECT else 'starting', None)
                self.settings.method.begin(
                    self.cloud, old, new_id, self.settings.stores,
                    lambda count: self.told(
                        'uploading', count / max(old['size'], 1)))
            elif new['status'] == 'uploading':
                self._go_on_from_staging(old, new)
        except errors.Conflict:
            pass  # Somebody else was faster.
        except errors.NotFound as error:
            raise errors.Vanished('the new image was deleted') from error
        except (errors.OutOfQuota, errors.NotAllowed,
                errors.RequestRefused) as error:
            self._remember(new, names.FAILED, str(error))
            raise errors.Failed(str(error)) from error
        except errors.Unreachable:
            self._give_up_staging(new_id)
            raise
        return self._followed(new_id)

    def _go_on_from_staging(self, old: cloud_.Image, new: cloud_.Image,
                            ) -> None:
        if _LOCK in new or new['size'] is None:
            return
        if new['size'] != old['size']:
            self.cloud.delete(new['id'])
            raise errors.Vanished('the upload was cut short')
        methods.Direct().begin_staged(
            self.cloud, new['id'], self.settings.stores)

    def _give_up_staging(self, new_id: str) -> None:
        """Remove a new image whose upload broke off under our hands."""
        new = self._present(new_id)
        if new['status'] == 'uploading' and _LOCK not in new:
            self.cloud.delete(new_id)
            raise errors.Vanished('the upload broke off')
        if new['status'] == 'queued' and _LOCK not in new:
            raise errors.Vanished('the upload broke off')

    def _followed(self, new_id: str) -> _Ending:
        """Wait until an import is over.

        :raises Stuck: it shows no progress; its image is removed
        """
        seen: tuple[Any, ...] = ()
        since = time.monotonic()
        size = None
        message = ''
        for pause in patience.polls():
            self.cloud.clock.pause(pause)
            task = self.cloud.newest_task(new_id)
            limit = self.settings.deadline
            if task is None or task['status'] in ('success', 'failure'):
                new = self._present(new_id)
                if _LOCK not in new and new['status'] in ('queued', 'active'):
                    return _Ending(new, _said(task), size)
                shows: tuple[Any, ...] = new['status'], new['updated_at']
                if task is not None and task['status'] == 'failure':
                    limit = min(limit, _RELEASE)
                    message = _said(task)
            else:
                shows = task['id'], task['message'], task['updated_at']
                message = _said(task) or message
                size = task_text.reported_size(message) or size
                self.told(message or 'importing',
                          task_text.fraction(message))
            if shows != seen:
                seen, since = shows, time.monotonic()
            elif time.monotonic() - since > limit:
                break
        self.cloud.delete(new_id)
        raise errors.Stuck(
            f'the import showed no progress for {limit:.0f} seconds, and was '
            'given up'
            + (f'; it last said: {message}' if message else ''))

    def _present(self, new_id: str) -> cloud_.Image:
        new = self.cloud.image(new_id)
        if new is None:
            raise errors.Vanished('the new image was deleted meanwhile')
        return new

    def _checked(self, new: cloud_.Image, size: int | None) -> cloud_.Image:
        """See that the new image is what the plugin made.

        :param size: of the disk, if the task has told it
        """
        formats = new['disk_format'], new['container_format']
        if formats != candidates.RAW:
            self.cloud.delete(new['id'])
            raise errors.NotConverted(
                'Glance stored the archive of an image as it was: the import '
                'plugin xs_convert is not on')
        size = size or new['virtual_size']
        if not new['size'] == new['virtual_size'] == size:
            self.cloud.delete(new['id'])
            raise errors.Failed(
                f'the new image has {new["size"]} bytes, and the disk '
                f'{size}')
        return new

    def _remember(self, new: cloud_.Image, name: str, message: str) -> None:
        """Write down in Glance why an attempt failed."""
        now = self.cloud.image(new['id'])
        if now is not None:
            self.cloud.patch(now['id'], record.changes(
                now, {name: message[:_LONGEST_REASON]}))

    # What makes sure that the disk is the right one.

    def _needs_sum(self, new: cloud_.Image) -> bool:
        return ((self.settings.verify or self.settings.old == DELETE)
                and new.get(names.VERIFIED) != _sum_of(new))

    def _verified(self, old: cloud_.Image, new: cloud_.Image,
                  ) -> dict[str, str]:
        """Compare the sums, and return what is written down of it.

        :raises Refused: the disk is not the right one
        """
        algorithm = new['os_hash_algo']
        if algorithm not in hashlib.algorithms_available:
            raise errors.Failed(
                f'the sum that Glance knows, {algorithm}, cannot be made '
                'here')
        how_far = progress.Progress()

        def tell() -> None:
            self.told('verifying', how_far.fraction)
            self.cloud.clock.pause(0)

        tell()
        try:
            found = verify.sum_of_disk(
                self.cloud, old, algorithm, how_far, tell)
        except errors.MigrationError:
            raise
        except exceptions.XsConvertError as error:
            reason = f'it cannot be verified: {error}'
            self._remember(new, names.FAILED, reason)
            raise errors.Failed(reason) from error
        if found != new['os_hash_value']:
            reason = (f'the {algorithm} of the disk is {found} here and '
                      f'{new["os_hash_value"]} in Glance')
            self._remember(new, names.REFUSED, reason)
            raise errors.Refused(reason)
        return {names.VERIFIED: f'{algorithm}:{found}'}

    # How the new image comes into the place of the old one.

    def _published(self, new: cloud_.Image,
                   ) -> tuple[cloud_.Image, cloud_.Image]:
        """Give the new image to its users.

        Either image may have changed meanwhile, so both are looked at again:
        the old one first, since another command would change it last.

        :returns: both images
        """
        self.told('publishing', None)
        old = self.cloud.image(self.old_id)
        new = self._present(new['id'])
        if names.SOURCE in new:
            return old or self._old(), new
        if old is None:
            self.cloud.delete(new['id'])
            raise errors.Skipped('it was deleted meanwhile')
        if new['owner'] != old['owner'] or new['status'] != 'active':
            raise errors.Failed('the new image was changed by somebody else')
        if old['visibility'] == record.SHARED:
            new = self._share(old, new)
        if names.SOURCE in new:
            return old, new
        try:
            # Glance refuses to take off what another command has taken off.
            return old, self.cloud.patch(
                new['id'], record.last(old, new, _times(new)))
        except errors.Conflict:
            new = self._present(new['id'])
            if names.SOURCE not in new:
                raise
            return old, new

    def _share(self, old: cloud_.Image, new: cloud_.Image) -> cloud_.Image:
        """Share the new image, still hidden, with the same projects."""
        members = self.cloud.members(old['id'])
        if not members:
            return new
        new = self.cloud.patch(new['id'], record.changes(
            new, {'visibility': record.SHARED}))
        undecided = []
        for project, status in members.items():
            self.cloud.add_member(new['id'], project)
            try:
                if status != 'pending':
                    self.cloud.set_member_status(new['id'], project, status)
            except errors.NotAllowed:
                undecided.append(project)
        if undecided:
            self._notes.append('members have to accept the new image '
                               'themselves: ' + ', '.join(undecided))
        return new

    def _replace(self, old: cloud_.Image, new: cloud_.Image) -> None:
        """The last step: the first one that touches the old image."""
        wanted: dict[str, Any] = {names.REPLACED_BY: new['id']}
        retired = set(old.get(names.RETIRED, '').split())
        kind = self.settings.old
        if kind == DELETE and old['protected']:
            self._notes.append(
                'the old image is protected, so it is hidden and not deleted')
            kind = HIDE
        if kind != KEEP and not old['os_hidden']:
            wanted['os_hidden'] = True
            retired.add(names.HIDDEN)
        if kind == DEACTIVATE and old['status'] == 'active':
            self.cloud.set_active(old['id'], False)
            retired.add(names.DEACTIVATED)
        if retired:
            wanted[names.RETIRED] = ' '.join(sorted(retired))
        changes = record.changes(old, wanted)
        if changes:
            self.cloud.patch(old['id'], changes)
        if kind == DELETE:
            self._delete_old(old, new)

    def _delete_old(self, old: cloud_.Image, new: cloud_.Image) -> None:
        now = self._present(new['id'])
        if now['status'] != 'active' or now.get(names.VERIFIED) != _sum_of(
                now):
            raise errors.Failed('the new image is not verified any more')
        try:
            self.cloud.delete(old['id'])
        except errors.Conflict as error:
            self._notes.append(
                f'the old image is hidden and not deleted: {error}')


def _sum_of(image: cloud_.Image) -> str:
    """The sum that Glance has, as it is written down."""
    return f'{image["os_hash_algo"]}:{image["os_hash_value"]}'


def _said(task: dict[str, Any] | None) -> str:
    return text.printable((task or {}).get('message') or '')


def _times(new: cloud_.Image) -> dict[str, str]:
    """When the migration ended, and how long it took."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = datetime.datetime.fromisoformat(
        new['created_at'].replace('Z', '+00:00'))
    return {
        names.MIGRATED_AT: now.strftime('%Y-%m-%dT%H:%M:%SZ'),
        names.SECONDS: f'{max((now - made).total_seconds(), 0):.0f}',
    }

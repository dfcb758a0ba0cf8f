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

"""The migration of one image, from the first request to the last.

Every step can be repeated, and begins by checking the state of the image. So
it does not matter whether another command has migrated the image before, was
killed, or is migrating it now.
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
from glance_xs_convert import text
from glance_xs_convert.worker import protocol

KEEP = 'keep'
HIDE = 'hide'
DEACTIVATE = 'deactivate'
DELETE = 'delete'
OLD = (KEEP, HIDE, DEACTIVATE, DELETE)

#: How many times to try an import if the archive is not at fault.
IMPORTS = 3
_LOCK = 'os_glance_import_task'
#: How long a failed import may keep its image locked, in seconds. After some
#: failures, Glance leaves the image locked for an hour.
_RELEASE = 20.0
#: The longest part of a message that fits a property, in characters.
_LONGEST_REASON = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to migrate images.

    :ivar method: import method
    :ivar old: what happens to old images, one of ``OLD``
    :ivar stores: names of the stores for new images
    :ivar verify: whether to compare the checksums of the disks
    :ivar sandbox: how far the process is confined that converts to verify,
                   one of ``protocol.SANDBOXES``
    :ivar retry: whether to try refused archives again
    :ivar drop_signature: whether to migrate signed images without a signature
    :ivar deadline: longest time without progress of an import, in seconds
    """

    method: methods.Method
    old: str = HIDE
    stores: tuple[str, ...] = ()
    verify: bool = False
    sandbox: str = protocol.BEST_EFFORT
    retry: bool = False
    drop_signature: bool = False
    deadline: float = 3600.0


#: A function that is called with the current stage and its progress, from 0 to
#: 1.
Told = Callable[[str, float | None], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The result of a migrated image.

    :ivar new_id: ID of the new image
    :ivar size: size of the disk, in bytes
    :ivar notes: notes for the operator
    """

    new_id: str
    size: int
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Ending:
    """How an import ended.

    :ivar new: the new image, queued or active
    :ivar message: last message of the task, or empty
    :ivar size: size of the disk in bytes, if the task has shown it
    """

    new: cloud_.Image
    message: str
    size: int | None


class Migration:
    """Migrates one image.

    :param cloud: the cloud
    :param settings: how to migrate
    :param old_id: ID of the old image
    :param new_id: ID of the new image, if it is known to exist
    :param told: is called with the progress
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
        :raises Failed: the migration failed; the new image records the reason
        :raises NotConverted: the plugin is off
        :raises MigrationError: the cloud failed
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
        """Apply the settings to an old image that has been replaced."""
        old = self._old()
        new = self.cloud.image(old.get(names.REPLACED_BY, self.old_id))
        if new is None or new.get(names.SOURCE) != old['id']:
            raise errors.Skipped('its new image is gone')
        return self._complete(old, new)

    def _old(self) -> cloud_.Image:
        old = self.cloud.image(self.old_id)
        if old is None:
            raise errors.Skipped('it has been deleted')
        return old

    def _claim(self, old: cloud_.Image) -> cloud_.Image:
        """Create the new image, or find the existing one."""
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
        """Return the new image if it exists and can be trusted."""
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
        """Clear the record of a failed attempt."""
        if names.REFUSED in new and not self.settings.retry:
            raise errors.Refused(new[names.REFUSED])
        found = [name for name in (names.REFUSED, names.FAILED)
                 if name in new]
        if names.REFUSED in new and new['status'] == 'active':
            self.cloud.delete(new['id'])
            raise errors.Vanished('the disk was wrong')
        if not found:
            return new
        try:
            return self.cloud.patch(new['id'], record.removals(found))
        except errors.Conflict:  # Another command was faster.
            return self._present(new['id'])

    # How the new image gets its data.

    def _imported(self, old: cloud_.Image, new: cloud_.Image) -> cloud_.Image:
        """Import the new image as often as necessary to make it active."""
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
        message = message or 'the import failed, but Glance gives no reason'
        self._remember(new, names.FAILED, message)
        raise errors.Failed(message)

    def _import_once(self, old: cloud_.Image, new: cloud_.Image) -> _Ending:
        """Begin an import unless one is running, and wait for its end."""
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
            pass  # Another command was faster.
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
            raise errors.Vanished('the upload was incomplete')
        methods.Direct().begin_staged(
            self.cloud, new['id'], self.settings.stores)

    def _give_up_staging(self, new_id: str) -> None:
        """Remove a new image whose upload was interrupted."""
        new = self._present(new_id)
        if new['status'] == 'uploading' and _LOCK not in new:
            self.cloud.delete(new_id)
            raise errors.Vanished('the upload was interrupted')
        if new['status'] == 'queued' and _LOCK not in new:
            raise errors.Vanished('the upload was interrupted')

    def _followed(self, new_id: str) -> _Ending:
        """Wait until an import ends.

        :raises Stuck: it makes no progress; its image is removed
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
            f'the import made no progress for {limit:.0f} seconds'
            + (f'; its last message was: {message}' if message else ''))

    def _present(self, new_id: str) -> cloud_.Image:
        new = self.cloud.image(new_id)
        if new is None:
            raise errors.Vanished('the new image has been deleted')
        return new

    def _checked(self, new: cloud_.Image, size: int | None) -> cloud_.Image:
        """Check that the plugin has converted the new image.

        :param size: size of the disk, if the task has shown it
        """
        formats = new['disk_format'], new['container_format']
        if formats != candidates.RAW:
            self.cloud.delete(new['id'])
            raise errors.NotConverted(
                'Glance stored an image unconverted: the import plugin '
                'xs_convert is off')
        size = size or new['virtual_size']
        if not new['size'] == new['virtual_size'] == size:
            self.cloud.delete(new['id'])
            raise errors.Failed(
                f'the new image has {new["size"]} bytes, but the disk has '
                f'{size}')
        return new

    def _remember(self, new: cloud_.Image, name: str, message: str) -> None:
        """Record in Glance why an attempt failed."""
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
        """Compare the checksums, and return the property that records it.

        :raises Refused: the disk is wrong
        """
        algorithm = new['os_hash_algo']
        if algorithm not in hashlib.algorithms_available:
            raise errors.Failed(
                f'this computer cannot compute checksums with {algorithm}, '
                'which Glance uses')

        def tell(fraction: float | None) -> None:
            self.told('verifying', fraction)
            self.cloud.clock.pause(0)

        tell(None)
        try:
            found = verify.sum_of_disk(
                self.cloud, old, algorithm, verify.Confinement(
                    self.settings.sandbox, self.settings.deadline), tell)
        except errors.MigrationError:
            raise
        except exceptions.XsConvertError as error:
            reason = f'it cannot be verified: {error}'
            self._remember(new, names.FAILED, reason)
            raise errors.Failed(reason) from error
        if found != new['os_hash_value']:
            reason = (f'the {algorithm} of the disk is {found}, but Glance '
                      f'has {new["os_hash_value"]}')
            self._remember(new, names.REFUSED, reason)
            raise errors.Refused(reason)
        return {names.VERIFIED: f'{algorithm}:{found}'}

    # Replacing the old image with the new one.

    def _published(self, new: cloud_.Image,
                   ) -> tuple[cloud_.Image, cloud_.Image]:
        """Publish the new image to its users.

        This gets both images again, because they may have changed: first the
        old one, because it is the one that another command changes last.

        :returns: both images
        """
        self.told('publishing', None)
        old = self.cloud.image(self.old_id)
        new = self._present(new['id'])
        if names.SOURCE in new:
            return old or self._old(), new
        if old is None:
            self.cloud.delete(new['id'])
            raise errors.Skipped('it has been deleted')
        if new['owner'] != old['owner'] or new['status'] != 'active':
            raise errors.Failed('somebody else has changed the new image')
        if old['visibility'] == record.SHARED:
            new = self._share(old, new)
        if names.SOURCE in new:
            return old, new
        try:
            # Glance refuses to remove what another command has removed.
            return old, self.cloud.patch(
                new['id'], record.last(old, new, _times(new)))
        except errors.Conflict:
            new = self._present(new['id'])
            if names.SOURCE not in new:
                raise
            return old, new

    def _share(self, old: cloud_.Image, new: cloud_.Image) -> cloud_.Image:
        """Share the new image with the same projects, still hidden."""
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
            self._notes.append('these members must accept the new image '
                               'themselves: ' + ', '.join(undecided))
        return new

    def _replace(self, old: cloud_.Image, new: cloud_.Image) -> None:
        """Replace the old image, which no earlier step changes."""
        wanted: dict[str, Any] = {names.REPLACED_BY: new['id']}
        retired = set(old.get(names.RETIRED, '').split())
        kind = self.settings.old
        if kind == DELETE and old['protected']:
            self._notes.append(
                'the old image is protected, so it was hidden, not deleted')
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
            raise errors.Failed('the new image has changed since it was '
                                'verified')
        try:
            self.cloud.delete(old['id'])
        except errors.Conflict as error:
            self._notes.append(
                f'the old image was hidden, not deleted: {error}')


def _sum_of(image: cloud_.Image) -> str:
    """Return Glance's checksum as a property records it."""
    return f'{image["os_hash_algo"]}:{image["os_hash_value"]}'


def _said(task: dict[str, Any] | None) -> str:
    return text.printable((task or {}).get('message') or '')


def _times(new: cloud_.Image) -> dict[str, str]:
    """Return the properties for the end and the time of the migration."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = datetime.datetime.fromisoformat(
        new['created_at'].replace('Z', '+00:00'))
    return {
        names.MIGRATED_AT: now.strftime('%Y-%m-%dT%H:%M:%SZ'),
        names.SECONDS: f'{max((now - made).total_seconds(), 0):.0f}',
    }

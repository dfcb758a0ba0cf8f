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

"""Replacing an old image with the new one.

The new image becomes visible to its users first; the old one is changed last.
"""

from collections.abc import Callable
import datetime
from typing import Any

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import record

_ACCEPTED = 'accepted'
_PENDING = 'pending'


class Replacement:
    """Replaces an old image with a new one.

    :param cloud: the cloud
    :param old: what happens to the old image, one of ``choices.OLD``; None to
                hide it, but not before its members have accepted the new one
    :param note: called with each note for the operator
    """

    def __init__(self, cloud: cloud_.Cloud, old: str | None,
                 note: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._old = old
        self._note = note

    def publish(self, old_id: str, new: images.Image,
                ) -> tuple[images.Image, images.Image]:
        """Publish the new image to its users.

        This gets both images again, because they may have changed: first the
        old one, because it is the one that another command changes last.

        :returns: the old and the new image
        :raises Skipped: the old image has been deleted
        """
        old = self._cloud.images.get(old_id)
        new = self._present(new['id'])
        if old is None and annotations.of(new).source is None:
            claiming.discard(self._cloud, new)
        if old is None:
            raise errors.Skipped('it has been deleted')
        if annotations.of(new).source == old['id']:
            return old, new
        if not pairs.is_current(old, new) or new['status'] != 'active':
            raise errors.Failed('somebody else has changed the new image')
        if old['visibility'] == record.SHARED:
            new = self._share(old, new)
        if annotations.of(new).source == old['id']:
            return old, new
        try:
            # Glance refuses to remove what another command has removed.
            return old, self._cloud.images.patch(
                new['id'], record.final_changes(old, new, _times(new)))
        except errors.Conflict:
            new = self._present(new['id'])
            if annotations.of(new).source != old['id']:
                raise
            return old, new

    def replace(self, old: images.Image, new: images.Image) -> None:
        """Name the new image in the old one, and retire the old one."""
        kind = self._kind(old, new)
        known = annotations.of(old)
        # What the old image says otherwise does not concern this new one.
        retired = set(known.retired - {names.AWAITING}
                      if known.replaced_by == new['id'] else ())
        wanted: dict[str, Any] = {names.REPLACED_BY: new['id']}
        if kind is None:
            retired.add(names.AWAITING)
        elif kind != choices.KEEP and not old['os_hidden']:
            wanted['os_hidden'] = True
            retired.add(names.HIDDEN)
        if kind == choices.DEACTIVATE and old['status'] == 'active':
            self._cloud.images.set_active(old['id'], False)
            retired.add(names.DEACTIVATED)
        gone = []
        if retired:
            wanted[names.RETIRED] = annotations.retired_text(
                frozenset(retired))
        elif names.RETIRED in old:
            gone.append(names.RETIRED)
        changes = [*record.changes(old, wanted), *record.removals(gone)]
        if changes:
            old = self._cloud.images.patch(old['id'], changes)
        if kind == choices.DELETE:
            self._delete(old, new)

    def _kind(self, old: images.Image, new: images.Image) -> str | None:
        """Return what happens to the old image; None to wait for members."""
        if self._old == choices.DELETE and old['protected']:
            self._note('the old image is protected, so it was hidden, not '
                       'deleted')
            return choices.HIDE
        if self._old is not None:
            return self._old
        waiting = missing_members(self._cloud, old, new)
        if not waiting:
            return choices.HIDE
        self._note(
            'the old image remains visible until these members have accepted '
            f'the new one: {", ".join(waiting)}; run the command again then')
        return None

    def _share(self, old: images.Image, new: images.Image) -> images.Image:
        """Share the new image with the same projects, still hidden."""
        members = self._cloud.images.members(old['id'])
        if not members:
            return new
        new = self._cloud.images.patch(new['id'], record.changes(
            new, {'visibility': record.SHARED}))
        for project in members:
            self._cloud.images.add_member(new['id'], project)
        answer_for(self._cloud, members, new['id'])
        return new

    def _delete(self, old: images.Image, new: images.Image) -> None:
        """Delete the old image, if the new one is still what was verified."""
        now = self._present(new['id'])
        if (not pairs.is_complete(old, now) or now['status'] != 'active'
                or annotations.of(now).verified != sum_of(now)):
            raise errors.Failed('the new image has changed since it was '
                                'verified')
        try:
            self._cloud.images.delete(old['id'])
        except errors.Conflict as error:
            self._note(f'the old image was hidden, not deleted: {error}')

    def _present(self, new_id: str) -> images.Image:
        new = self._cloud.images.get(new_id)
        if new is None:
            raise errors.Lost('the new image has been deleted')
        return new


def answer_for(cloud: cloud_.Cloud, answers: dict[str, str], new_id: str,
               ) -> None:
    """Repeat the answers of members of the old image, if that is allowed.

    Those who have answered for the new one, or are not its members any longer,
    are left alone.

    :param answers: the answers by the IDs of the projects
    """
    now = cloud.images.members(new_id)
    for project, status in answers.items():
        if status == _PENDING or now.get(project) != _PENDING:
            continue
        try:
            cloud.images.set_member_status(new_id, project, status)
        except errors.NotAllowed:
            return


def missing_members(cloud: cloud_.Cloud, old: images.Image,
                    new: images.Image | None = None) -> list[str]:
    """Return the projects that have accepted the old image, not the new one.

    An administrator can accept for them, so there are none.

    :param new: the new image; None if it does not exist yet
    """
    if old['visibility'] != record.SHARED or cloud.is_admin:
        return []
    accepted = [project for project, status
                in cloud.images.members(old['id']).items()
                if status == _ACCEPTED]
    if new is None or not accepted:
        return accepted
    now = cloud.images.members(new['id'])
    return [project for project in accepted if now.get(project) != _ACCEPTED]


def sum_of(image: images.Image) -> str:
    """Return the checksum of the converted disk as a property records it.

    It is Glance's, unless the guest on the disk was adapted after that: then
    the import plugin has recorded the sum from before.
    """
    notes = annotations.of(image)
    if notes.adapted_by and notes.disk_sum:
        return f'sha512:{notes.disk_sum}'
    return f'{image["os_hash_algo"]}:{image["os_hash_value"]}'


def _times(new: images.Image) -> dict[str, str]:
    """Return the properties for the end and the time of the migration."""
    made = datetime.datetime.fromisoformat(
        new['created_at'].replace('Z', '+00:00'))
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        names.MIGRATED_AT: annotations.now_text(),
        names.SECONDS: f'{max((now - made).total_seconds(), 0):.0f}',
    }

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

"""Restoring the old image and deleting the new one.

There are three steps: withdrawing the new image, restoring the old one, and
deleting the new one. Each of them can be repeated.

Nothing is done to a complete new image unless it and the old one name each
other and belong together. An incomplete one is ours alone: it is only deleted.
"""

import dataclasses
from typing import Any

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import references

_DEACTIVATED = 'deactivated'


@dataclasses.dataclass(frozen=True)
class Undone:
    """The result for one image.

    :ivar new_id: ID of the new image, or None if it was gone
    :ivar kept: reason why the new image still exists, or empty
    :ivar note: what is left to the operator, or empty
    """

    new_id: str | None
    kept: str = ''
    note: str = ''


def undo(cloud: cloud_.Cloud, row: inventory.Row,
         users: references.Users, delete_blindly: bool = False) -> Undone:
    """Undo one migration in any state.

    :param row: an image that is done, running or failed, or whose undo was
                interrupted
    :param users: what refers to images
    :param delete_blindly: whether to delete the new image although there are
                           references that cannot be seen
    :raises Skipped: there is nothing to undo, or no way back
    """
    old = cloud.images.get(row.id)
    if old is None:
        raise errors.Skipped(
            'the old image has been deleted, so it cannot be restored')
    new = cloud.images.get(row.new_id) if row.new_id else None
    if new is None:
        return _undo_without_new(cloud, old, row.new_id)
    if not pairs.belongs(old, new):
        raise errors.Skipped(f'{row.new_id} is not its new image')
    found = annotations.of(new)
    if found.source and not pairs.is_complete(old, new):
        raise errors.Skipped(
            'its migration was interrupted before the old image named the '
            'new one: complete it with run first')
    if not found.undone:
        new = _withdraw(cloud, new)
    if annotations.of(old).replaced_by == new['id']:
        _restore(cloud, old)
    return Undone(new['id'], _delete(cloud, new, users, delete_blindly))


def _undo_without_new(cloud: cloud_.Cloud, old: images.Image,
                      new_id: str | None) -> Undone:
    """Restore an old image whose new one somebody has deleted.

    Nothing but the old image tells that there was a new one, so this does what
    its owner could do, too: an image that is deactivated remains so.

    :raises Skipped: it does not name a new image
    """
    if new_id is None or pairs.replacement(old) != new_id:
        raise errors.Skipped('it was not migrated')
    _restore(cloud, old, reactivate=False)
    is_left = (names.DEACTIVATED in annotations.of(old).retired
               and old['status'] == _DEACTIVATED)
    return Undone(None, note='the old image is still deactivated' if is_left
                  else '')


def _withdraw(cloud: cloud_.Cloud, new: images.Image) -> images.Image:
    """Withdraw the new image, but keep its data."""
    wanted = {names.UNDONE: annotations.of(new).old_id, 'os_hidden': True,
              'protected': False}
    gone = [name for name in (names.SOURCE, *names.PROVISIONAL)
            if name in new]
    return cloud.images.patch(
        new['id'], [*record.changes(new, wanted), *record.removals(gone)])


def _restore(cloud: cloud_.Cloud, old: images.Image, reactivate: bool = True,
             ) -> None:
    retired = annotations.of(old).retired
    if (reactivate and names.DEACTIVATED in retired
            and old['status'] == _DEACTIVATED):
        cloud.images.set_active(old['id'], True)
    wanted: dict[str, Any] = (
        {'os_hidden': False} if names.HIDDEN in retired else {})
    gone = [name for name in (names.REPLACED_BY, names.RETIRED)
            if name in old]
    cloud.images.patch(
        old['id'], [*record.changes(old, wanted), *record.removals(gone)])


def _delete(cloud: cloud_.Cloud, new: images.Image, users: references.Users,
            delete_blindly: bool) -> str:
    """Delete a new image that was withdrawn, unless something uses it.

    :returns: the reason why it was not deleted, or ''
    """
    reason = ''
    if used_by := users.of(new['id']):
        reason = f'it is used by {", ".join(used_by)}'
    elif users.unseen and not delete_blindly:
        reason = ('the command could not see whether it is used '
                  f'({"; ".join(users.unseen)})')
    else:
        try:
            cloud.images.delete(new['id'])
        except errors.Conflict as error:
            reason = str(error)
    if reason:
        cloud.images.patch(
            new['id'], record.changes(new, {names.KEPT: 'True'}))
    return reason

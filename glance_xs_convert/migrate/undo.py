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
"""

import dataclasses

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import references


@dataclasses.dataclass(frozen=True)
class Undone:
    """The result for one image.

    :ivar kept: the reason why the new image still exists, or empty
    """

    new_id: str | None
    kept: str = ''


def undo(cloud: cloud_.Cloud, row: candidates.Row,
         users: references.Users, delete_blindly: bool = False) -> Undone:
    """Undo one migration in any state.

    :param row: an image that is done, running or failed
    :param users: what refers to images
    :param delete_blindly: whether to delete the new image although there are
                           references that cannot be seen
    :raises Skipped: there is nothing to undo, or no way back
    """
    old = cloud.image(row.id)
    if old is None:
        raise errors.Skipped(
            'the old image has been deleted, so it cannot be restored')
    new = cloud.image(row.new_id) if row.new_id else None
    if new is not None and (new['owner'] != old['owner']
                            or candidates.old_id_of(new) != old['id']):
        new = None
    if new is None and names.REPLACED_BY not in old:
        raise errors.Skipped('it was not migrated')
    if new is not None:
        new = _given_up(cloud, new)
    _restore(cloud, old)
    if new is None:
        return Undone(None)
    return Undone(new['id'], _removed(cloud, new, users, delete_blindly))


def _given_up(cloud: cloud_.Cloud, new: cloud_.Image) -> cloud_.Image:
    """Withdraw the new image, but keep its data."""
    wanted = {names.UNDONE: candidates.old_id_of(new), 'os_hidden': True,
              'protected': False}
    gone = [name for name in (names.SOURCE, *names.PROVISIONAL)
            if name in new]
    changes = [*record.changes(new, wanted), *record.removals(gone)]
    return cloud.patch(new['id'], changes) if changes else new


def _restore(cloud: cloud_.Cloud, old: cloud_.Image) -> None:
    retired = old.get(names.RETIRED, '').split()
    if names.DEACTIVATED in retired and old['status'] == 'deactivated':
        cloud.set_active(old['id'], True)
    wanted = {'os_hidden': False} if names.HIDDEN in retired else {}
    gone = [name for name in (names.REPLACED_BY, names.RETIRED)
            if name in old]
    changes = [*record.changes(old, wanted), *record.removals(gone)]
    if changes:
        cloud.patch(old['id'], changes)


def _removed(cloud: cloud_.Cloud, new: cloud_.Image,
             users: references.Users, delete_blindly: bool) -> str:
    """:returns: the reason why the new image was not deleted, or ''"""
    reason = ''
    if used_by := users.of(new['id']):
        reason = f'it is used by {", ".join(used_by)}'
    elif users.unseen and not delete_blindly:
        reason = ('the command could not see whether it is used '
                  f'({"; ".join(users.unseen)})')
    else:
        try:
            cloud.delete(new['id'])
        except errors.Conflict as error:
            reason = str(error)
    if reason:
        cloud.patch(new['id'], record.changes(new, {names.KEPT: 'True'}))
    return reason

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

"""Reports on a migration, for programs.

Users choose names, and a spreadsheet computes what looks like a formula: see
:func:`.text.for_spreadsheet`.
"""

from collections.abc import Iterable
import csv
import dataclasses
from typing import TextIO

from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import references
from glance_xs_convert import text


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A migrated image in the report.

    :ivar old_id: ID of the old image
    :ivar archive: size of the archive in bytes, or None
    :ivar disk: size of the disk in bytes, or None
    :ivar seconds: time from the new image's creation to its completion
    :ivar old_image: what was done to the old image
    :ivar sum: checksum that Glance recorded, with its algorithm
    :ivar guest: what became of the guest, if it was to be adapted
    :ivar verified_sum: checksum of the client's own conversion, or empty
    """

    old_id: str
    new_id: str
    name: str
    project: str
    archive: int | None
    disk: int | None
    seconds: int | None
    migrated_at: str
    old_image: str
    sum: str
    verified_sum: str
    guest: str = ''


FIELDS = tuple(field.name for field in dataclasses.fields(Line))


def lines(rows: Iterable[inventory.Row]) -> list[Line]:
    """Return the lines for the images that are done."""
    return [_line(row, row.new) for row in rows
            if row.state == inventory.DONE and row.new is not None]


def _line(row: inventory.Row, new: inventory.Listed) -> Line:
    return Line(
        old_id=row.id, new_id=row.new_id or '', name=row.name,
        project=row.project or '', archive=row.size, disk=new.size,
        seconds=new.notes.seconds, migrated_at=new.notes.migrated_at,
        old_image=_old_image(row), sum=f'{new.hash_algo}:{new.hash_value}',
        verified_sum=new.notes.verified, guest=new.notes.adapting)


def _old_image(row: inventory.Row) -> str:
    if row.old_is_gone:
        return 'deleted'
    done = sorted(row.retired - {names.AWAITING})
    return ' '.join(done) or 'kept'


def pairs(rows: Iterable[inventory.Row]) -> list[tuple[str, str]]:
    """Return the IDs of the old and new images that name each other."""
    return [(row.id, row.new_id) for row in rows
            if row.state == inventory.DONE and row.new_id
            and not row.old_is_gone]


def write_mapping(target: TextIO, found: Iterable[tuple[str, str]],
                  users: references.Users) -> None:
    """Write a CSV table of old IDs, new IDs, and users of the old ones."""
    writer = csv.writer(target)
    writer.writerow(('old_id', 'new_id', 'used_by'))
    for old_id, new_id in found:
        used_by = ' '.join(
            user.replace(' ', ':') for user in users.of(old_id))
        writer.writerow((old_id, new_id, text.for_spreadsheet(used_by)))

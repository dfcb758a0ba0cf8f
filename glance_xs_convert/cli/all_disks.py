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

"""The files of a conversion of all disks: their names, and a list of them."""

from collections.abc import Sequence
import json
import re
from typing import Any

from glance_xs_convert import results
from glance_xs_convert import text

_SUFFIX = '.raw'
#: What a name on a disk may hold to become part of a file's name.
_UNSAFE = re.compile(r'[^A-Za-z0-9._-]+')
_LONGEST = 64
_COLUMNS = ('Device', 'Name', 'Size', 'File', 'Bootable')


def file_names(disks: Sequence[results.ConvertedDisk]) -> list[str]:
    """Return a name for the file of each disk: xvda.raw, web-xvda.raw.

    They are safe in a directory, and all different.
    """
    names: list[str] = []
    for number, disk in enumerate(disks):
        name = _stem(number, disk.disk)
        if name + _SUFFIX in names:
            name = f'{name}-{number}'
        while name + _SUFFIX in names:
            name += '-'
        names.append(name + _SUFFIX)
    return names


def _stem(number: int, disk: results.Disk | None) -> str:
    if disk is None:
        return 'disk'
    position = f'disk{disk.position or number}'
    parts = (_safe(disk.machine), _safe(disk.device) or _safe(position))
    return '-'.join(filter(None, parts))


def _safe(name: str) -> str:
    return _UNSAFE.sub('_', name)[:_LONGEST].strip('._-')


def listed(result: results.AllDisks, names: Sequence[str], form: str) -> str:
    """Return a list of the files, as a table or as JSON.

    :param names: the names of the files
    """
    rows = [_row(disk, name) for disk, name in zip(result.disks, names)]
    if form == 'json':
        return json.dumps([dict(zip(_COLUMNS, row)) for row in rows],
                          indent=2)
    import prettytable  # Not before it is needed: it takes a while.

    table = prettytable.PrettyTable(_COLUMNS)
    table.align = 'l'
    table.add_rows([[*row[:2], text.size(row[2]), *row[3:]] for row in rows])
    notes = [f'Note: {note}.' for note in result.notes]
    return '\n'.join([str(table), *notes])


def _row(found: results.ConvertedDisk, name: str) -> tuple[Any, ...]:
    disk = found.disk
    facts = ('', '', False) if disk is None else (
        disk.device, disk.name, disk.bootable)
    return facts[0], facts[1], found.virtual_size, name, facts[2]

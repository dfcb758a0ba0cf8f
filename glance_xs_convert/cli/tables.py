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

"""The contents of an image as a table."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import TYPE_CHECKING

from glance_xs_convert.cli import common
from glance_xs_convert.cli import findings
from glance_xs_convert import text

if TYPE_CHECKING:
    from glance_xs_convert import api

_LAYER_COLUMNS = ('Name', 'Type', 'Virtual Size', 'Allocated', 'File Size',
                  'Creator', 'UUID', 'Parent UUID', 'Hidden')
_SECTOR_COLUMNS = ('Partition Table', 'EFI System Partition', 'Boot Code')
_DISK_COLUMNS = ('Device', 'Number', 'Name', 'Virtual Size', 'Stored',
                 'Bootable', *_SECTOR_COLUMNS)
_GUEST_COLUMNS = ('VM', 'Product', 'Version', 'Memory', 'CPUs', 'Firmware',
                  'Boot Mode', 'Bootloader')


@dataclasses.dataclass
class Table:
    """Rows, with information that applies to all of them.

    :ivar below: the information in sentences, for people
    :ivar aside: the same by the names of columns, for programs
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    below: list[str]
    aside: dict[str, Any]

    def add_column(self, name: str, values: Iterable[Any]) -> None:
        """Append a column.

        :param values: one value for each row
        """
        self.columns = (*self.columns, name)
        self.rows = [(*row, value) for row, value in zip(
            self.rows, values, strict=True)]


def of_image(layers: Sequence[api.Vhd], disks: Sequence[api.FoundDisk],
             guest: api.Guest | None) -> Table:
    """Make the table of an image of any kind.

    :param layers: layers of a chain of VHDs; empty for an export
    :param guest: virtual machine of an export; None for a chain
    """
    if guest is None:
        return _of_chain(layers, disks[0])
    return _of_export(disks, guest)


def _of_chain(layers: Sequence[api.Vhd], disk: api.FoundDisk) -> Table:
    size, sectors = disk.virtual_size, disk.first_sectors
    below = [f'The raw disk has {text.size(size)} ({size} bytes).',
             findings.describe_disk(sectors)]
    below += [f'Note: {hint}.' for hint in findings.hints(sectors, None)]
    return Table(
        _LAYER_COLUMNS, [_layer(layer) for layer in layers], below,
        dict(zip(_SECTOR_COLUMNS, _sectors(sectors), strict=True)))


def _of_export(disks: Sequence[api.FoundDisk], guest: api.Guest) -> Table:
    below = [findings.describe_guest(guest)]
    if guest.hint is not None:
        below.append(f'Note: {guest.hint}.')
    below += [f'Note: {found.disk.label}: {found.first_sectors.hint}.'
              for found in disks if found.disk is not None
              and found.disk.bootable and found.first_sectors.hint]
    values = (guest.name, guest.product, guest.version, guest.memory,
              guest.cpus, guest.firmware, guest.boot_mode, guest.bootloader)
    return Table(_DISK_COLUMNS, [_disk(disk) for disk in disks], below,
                 dict(zip(_GUEST_COLUMNS, values, strict=True)))


def _layer(layer: api.Vhd) -> tuple[Any, ...]:
    footer = layer.footer
    creator = text.printable(footer.creator_application.decode(
        'ascii', 'backslashreplace').strip('\0 '))
    version = (f'{footer.creator_version >> 16}.'
               f'{footer.creator_version & 0xFFFF}')
    return (layer.name, layer.disk_type, common.Size(layer.current_size),
            common.Size(layer.allocated_size), common.Size(layer.file_size),
            f'{creator} {version}',
            str(layer.unique_id), str(layer.parent_unique_id or ''),
            bool(footer.hidden))


def _disk(found: api.FoundDisk) -> tuple[Any, ...]:
    disk = found.disk
    facts: tuple[Any, ...] = ('', '', '', False) if disk is None else (
        disk.device, disk.position, disk.name, disk.bootable)
    return (*facts[:3], common.Size(found.virtual_size),
            common.Size(found.stored), facts[3],
            *_sectors(found.first_sectors))


def _sectors(found: api.FirstSectors) -> tuple[Any, ...]:
    return tuple(findings.first_sectors(found).values())

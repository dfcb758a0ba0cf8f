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

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from typing import Any

from glance_xs_convert.cli import common
from glance_xs_convert.cli import findings
from glance_xs_convert import results
from glance_xs_convert import text

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
    :ivar aside: the same by the names of columns, for programs; one value for
                 each row
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    below: list[str]
    aside: dict[str, Sequence[Any]]

    def add_column(self, name: str, values: Iterable[Any]) -> None:
        """Append a column.

        :param values: one value for each row
        """
        self.columns = (*self.columns, name)
        self.rows = [(*row, value) for row, value in zip(
            self.rows, values, strict=True)]

    def add_aside(self, name: str, values: Sequence[Any]) -> None:
        """Add information for programs.

        :param values: one value for each row
        """
        self.aside[name] = values


def of_image(layers: Sequence[results.Vhd], disks: Sequence[results.FoundDisk],
             guests: Sequence[results.Guest]) -> Table:
    """Make the table of an image of any kind.

    :param layers: layers of a chain of VHDs; empty for an export or a package
    :param guests: virtual machines; empty for a chain
    """
    if guests or (disks and disks[0].disk is not None):
        return _of_export(disks, guests)
    return _of_chain(layers, disks[0])


def _of_chain(layers: Sequence[results.Vhd], disk: results.FoundDisk) -> Table:
    size, sectors = disk.virtual_size, disk.first_sectors
    below = [f'The raw disk has {text.exact_size(size)}.',
             findings.describe_disk(sectors)]
    below += [f'Note: {hint}.' for hint in findings.hints_on_disk(sectors)]
    return Table(
        _LAYER_COLUMNS, [_layer(layer) for layer in layers], below,
        {name: [value] * len(layers) for name, value in zip(
            _SECTOR_COLUMNS, _sectors(sectors), strict=True)})


def _of_export(disks: Sequence[results.FoundDisk],
               guests: Sequence[results.Guest]) -> Table:
    below = []
    for guest in guests:
        below.append(findings.describe_guest(guest))
        below += [f'Note: {hint}.' for hint in findings.hints_on_guest(guest)]
    below += [f'Note: {found.disk.label}: {hint}.'
              for found in disks if found.disk is not None
              and found.disk.bootable
              for hint in findings.hints_on_disk(found.first_sectors)]
    table = Table(_DISK_COLUMNS, [_disk(disk) for disk in disks], below, {})
    if len(guests) > 1:
        table.add_column(_GUEST_COLUMNS[0], [
            found.disk.machine if found.disk else '' for found in disks])
    columns = list(zip(*(_guest(_guest_of(found.disk, guests))
                         for found in disks)))
    for name, values in zip(_GUEST_COLUMNS, columns):
        if name not in table.columns:
            table.add_aside(name, values)
    return table


def _guest_of(disk: results.Disk | None, guests: Sequence[results.Guest],
              ) -> results.Guest | None:
    for guest in guests:
        if disk is not None and guest.name == disk.machine:
            return guest
    return guests[0] if guests else None


def _guest(guest: results.Guest | None) -> tuple[Any, ...]:
    if guest is None:
        return (None,) * len(_GUEST_COLUMNS)
    return (guest.name, guest.product, guest.version, guest.memory,
            guest.cpus, guest.firmware, guest.boot_mode, guest.bootloader)


def _layer(layer: results.Vhd) -> tuple[Any, ...]:
    return (layer.name, layer.disk_type, common.Size(layer.current_size),
            common.Size(layer.allocated_size), common.Size(layer.file_size),
            layer.creator, layer.unique_id, layer.parent_unique_id or '',
            layer.is_hidden)


def _disk(found: results.FoundDisk) -> tuple[Any, ...]:
    disk = found.disk
    facts: tuple[Any, ...] = ('', '', '', False) if disk is None else (
        disk.device, disk.position, disk.name, disk.bootable)
    return (*facts[:3], common.Size(found.virtual_size),
            common.Size(found.stored), facts[3],
            *_sectors(found.first_sectors))


def _sectors(found: results.FirstSectors) -> tuple[Any, ...]:
    return tuple(findings.first_sectors(found).values())

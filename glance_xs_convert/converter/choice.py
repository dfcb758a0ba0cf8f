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

"""Choosing one of the disks that an image describes."""

from collections.abc import Sequence

from glance_xs_convert import exceptions
from glance_xs_convert import results
from glance_xs_convert import text

#: The number of disks that an error lists, and of characters of their names.
_MOST_LISTED = 8
_LONGEST = 40


def choose(disks: Sequence[results.Disk], choice: str | None, what: str,
           by_name: bool = False) -> results.Disk:
    """Return the disk that the user has chosen.

    :param choice: device or number, see ``matching``; None without a choice
    :param what: what holds the disks, such as "export"
    :raises NoSuchDisk: no disk matches
    :raises DiskNotChosen: several disks match
    """
    if not disks:
        raise exceptions.NoSuchDisk('the virtual machine has no disk')
    wanted = matching(disks, choice, by_name)
    if not wanted:
        raise exceptions.NoSuchDisk(
            f'the {what} does not hold a disk '
            f'{text.printable(choice or "")}; it holds {_listed(disks)}')
    if len({disk.ref for disk in wanted}) > 1:
        raise exceptions.DiskNotChosen(
            f'the {what} holds {len(wanted)} disks, so choose one of them: '
            f'{_listed(wanted)}')
    return wanted[0]


def of_machine(what: str, guests: Sequence[results.Guest]) -> str:
    """Return a name for what holds the disks, with its machine.

    If there are several machines, the disks say to which they belong.
    """
    if len(guests) != 1 or not guests[0].name:
        return what
    return f'{what} of "{_short(guests[0].name)}"'


def matching(disks: Sequence[results.Disk], choice: str | None,
             by_name: bool = False) -> list[results.Disk]:
    """Return the disks that a choice may denote; all without a choice.

    :param by_name: whether it may also be the name of a disk or of its file,
                    if no device and no number is called so
    """
    if choice is None:
        return list(disks)
    found = [disk for disk in disks if disk.is_called(choice)]
    if not found and by_name:
        return [disk for disk in disks if choice in (disk.name, disk.ref)]
    return found


def describe(disk: results.Disk) -> str:
    """Return a disk's device, size, name and machine."""
    number = f' ({_short(disk.position)})' if disk.position else ''
    size = text.size(disk.size) if disk.size else 'size unknown'
    machine = f' of "{_short(disk.machine)}"' if disk.machine else ''
    name = '' if disk.name == disk.label else f', "{_short(disk.name)}"'
    return f'{_short(disk.label)}{number}, {size}{name}{machine}'


def _short(name: str) -> str:
    return text.printable(name, _LONGEST)


def _listed(disks: Sequence[results.Disk]) -> str:
    shown = [describe(disk) for disk in disks[:_MOST_LISTED]]
    if len(disks) > _MOST_LISTED:
        shown.append('…')
    return '; '.join(shown)

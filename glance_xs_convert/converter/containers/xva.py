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

"""A XenServer export (.xva) as the image of one of its disks.

The archive holds ``ova.xml`` first, which describes the virtual machine, and
then the chunks of each of its disks.
"""

from collections.abc import Iterator
import dataclasses

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import ova_xml
from glance_xs_convert.converter.containers import xva_chunks
from glance_xs_convert.converter.disk import extents
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import text

_SECTOR = extents.SECTOR_SIZE
#: How many disks a refusal lists.
_MOST_LISTED = 16


@dataclasses.dataclass(frozen=True)
class StoredDisk:
    """A disk of an export.

    :ivar disk: what ``ova.xml`` says of it
    :ivar stored: bytes of it that are in the archive; the rest is zeros
    :ivar start: its first bytes
    """

    disk: ova_xml.Disk
    stored: int
    start: bytes


class XvaLayer:
    """A disk of an export as a layer, the only one (see ``layers``).

    :ivar data: a Reader of the disk
    """

    has_parent = False

    def __init__(self, name: str, data: xva_chunks.DiskReader) -> None:
        self.name = name
        self.size = data.size
        self.data = data

    def blocks(self) -> Iterator[tuple[int, int]]:
        """None: only the numbers of the chunks tell what is written."""
        return iter(())

    def extents(self) -> Iterator[extents.Extent]:
        """The sectors that chunks cover, in whole or in part.

        :raises DamagedExport: the chunks contradict each other
        """
        data = self.data
        while data.next_chunk():
            start = max(data.position, data.start - data.start % _SECTOR)
            data.jump(start)
            end = min(data.end + -data.end % _SECTOR, self.size,
                      extents.end_of_region(start))
            size = end - start
            yield extents.Extent(start, size, extents.all_written(size))


class XvaImage:
    """An export, of which one disk is read (see ``layers.Image``).

    :param opened: the archive
    :param disk: device or number of the disk; None if there is only one
    :ivar manifest: what ``ova.xml`` says
    :ivar chosen: the disk that is read; known when layers are asked for
    """

    def __init__(self, opened: member.Members, limits: limits.Limits,
                 disk: str | None) -> None:
        self._opened = opened
        self._limits = limits
        self._upcoming = xva_chunks.Upcoming(opened.members())
        self._choice = disk
        self._ignored = 0
        self.manifest = _read_manifest(self._upcoming)
        self.chosen: ova_xml.Disk | None = None

    @property
    def guest(self) -> ova_xml.Guest:
        return self.manifest.guest

    @property
    def size(self) -> int:
        """Of the chosen disk, in bytes."""
        return self.chosen.size if self.chosen is not None else 0

    def layers(self) -> Iterator[tuple[int, XvaLayer]]:
        """The chosen disk; the others are passed over and verified.

        :raises DiskNotChosen, NoSuchDisk: it is not clear which disk
        :raises LimitExceeded: the disk is too large
        :raises DamagedExport: the export contradicts itself
        """
        chosen = self.chosen = choose(self.manifest.disks, self._choice)
        if chosen.size > self._limits.max_virtual_size:
            raise exceptions.LimitExceeded(
                f'the disk has {chosen.size} bytes, and the limit is '
                f'{self._limits.max_virtual_size}',
                member=chosen.label)
        for reader in self._disks():
            if reader.ref == chosen.ref:
                yield 0, XvaLayer(chosen.label, reader)

    def survey(self, start_size: int) -> list[StoredDisk]:
        """Read and verify all disks.

        :param start_size: how many of each disk's first bytes are wanted
        :raises DamagedExport: the export contradicts itself
        """
        found = {}
        for reader in self._disks():
            start = reader.read(min(start_size, reader.size))
            reader.skip_all()
            found[reader.ref] = reader.stored, start
        return [StoredDisk(disk, *found[disk.ref])
                for disk in self.manifest.disks]

    def _disks(self) -> Iterator[xva_chunks.DiskReader]:
        """The disks in the order of the archive, each read to its end."""
        seen = set()
        while (item := self._upcoming.peek()) is not None:
            name = xva_chunks.name_of(item)
            if name is None:
                self._ignore(item)
                continue
            size = self.manifest.sizes.get(name.ref)
            if size is None:
                raise exceptions.DamagedExport(
                    f'{ova_xml.NAME} knows no disk '
                    f'{text.printable(name.ref)}', member=item.name)
            if name.ref in seen:
                raise exceptions.DamagedExport(
                    'chunks of another disk precede this one',
                    member=item.name)
            seen.add(name.ref)
            reader = xva_chunks.DiskReader(name.ref, size, self._upcoming)
            yield reader
            reader.skip_all()
            reader.finish()
        for disk in self.manifest.disks:
            if disk.ref not in seen:
                raise exceptions.IncompleteDisk(
                    f'the archive holds no chunk of the disk '
                    f'{text.printable(disk.ref)} ({describe(disk)})')

    def _ignore(self, item: member.Member) -> None:
        """Leave a file aside that is no part of a disk."""
        if ova_xml.is_manifest(item.path):
            raise exceptions.DamagedExport(
                'the archive holds it twice', member=item.name)
        self._ignored += 1
        if self._ignored > self._limits.max_members:
            raise exceptions.LimitExceeded(
                f'more than {self._limits.max_members} files of the archive '
                'are no part of a disk')
        self._opened.ignore(item)
        self._upcoming.take()


def choose(disks: list[ova_xml.Disk], choice: str | None) -> ova_xml.Disk:
    """The disk that somebody wants.

    :param choice: device or number; None if nobody has chosen
    :raises NoSuchDisk: there is none
    :raises DiskNotChosen: there are several
    """
    if not disks:
        raise exceptions.NoSuchDisk('the virtual machine has no disk')
    wanted = disks if choice is None else [
        disk for disk in disks if disk.is_called(choice)]
    if not wanted:
        raise exceptions.NoSuchDisk(
            f'no disk of the export is called {text.printable(choice or "")}'
            f'; it holds {_listed(disks)}')
    if len({disk.ref for disk in wanted}) > 1:
        raise exceptions.DiskNotChosen(
            f'the export holds {len(wanted)} disks, and one of them has to '
            f'be chosen: {_listed(wanted)}')
    return wanted[0]


def describe(disk: ova_xml.Disk) -> str:
    """A disk's device, size and name."""
    number = f' ({disk.position})' if disk.position else ''
    return (f'{disk.label}{number}, {text.size(disk.size)}, '
            f'"{disk.name}"')


def _listed(disks: list[ova_xml.Disk]) -> str:
    shown = [describe(disk) for disk in disks[:_MOST_LISTED]]
    if len(disks) > _MOST_LISTED:
        shown.append('…')
    return '; '.join(shown)


def _read_manifest(upcoming: xva_chunks.Upcoming) -> ova_xml.Manifest:
    item = upcoming.take()
    if item is None or not ova_xml.is_manifest(item.path):
        if item is not None:
            xva_chunks.name_of(item)
        raise exceptions.DamagedExport(
            'it is not the first file of the archive, as it must be',
            member=ova_xml.NAME)
    if item.size > ova_xml.MAX_SIZE:
        raise exceptions.DamagedExport(
            f'it has more than {ova_xml.MAX_SIZE // 1024 ** 2} MiB',
            member=ova_xml.NAME)
    return ova_xml.parse(item.data.read(item.size))

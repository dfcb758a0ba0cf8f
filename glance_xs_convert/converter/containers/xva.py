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

The archive holds ``ova.xml``, which describes the virtual machine, followed by
the chunks of each of its disks.
"""

from collections.abc import Iterator
import dataclasses
from types import TracebackType

from glance_xs_convert.converter.containers import checksums
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import ova_xml
from glance_xs_convert.converter.containers import xva_chunks
from glance_xs_convert.converter.disk import extents
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import text

_SECTOR = extents.SECTOR_SIZE
#: The number of disks that an error lists, and of characters of their names.
_MOST_LISTED = 8
_LONGEST = 40


@dataclasses.dataclass(frozen=True)
class StoredDisk:
    """A disk of an export.

    :ivar disk: its description in ``ova.xml``
    :ivar stored: number of its bytes that are in the archive; the rest is
                  zeros
    :ivar start: its first bytes
    """

    disk: ova_xml.Disk
    stored: int
    start: bytes


class XvaLayer:
    """A disk of an export, as the only layer (see ``layers``).

    :ivar data: a Reader of the disk
    """

    has_parent = False

    def __init__(self, name: str, data: xva_chunks.DiskReader) -> None:
        self.name = name
        self.size = data.size
        self.data = data

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield nothing: only the chunks' numbers tell what is written."""
        return iter(())

    def extents(self) -> Iterator[extents.Extent]:
        """Yield the sectors that chunks cover, wholly or partly.

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
    """One disk of an export (see ``layers.Image``).

    Use it as a context manager.

    :param opened: the archive
    :param disk: device or number of the disk; None if there is only one
    :ivar manifest: the content of ``ova.xml``
    :ivar chosen: the disk to read; None until its layer is requested
    """

    def __init__(self, opened: member.Members, limits: limits.Limits,
                 disk: str | None) -> None:
        self._opened = opened
        self._limits = limits
        self._upcoming = xva_chunks.Upcoming(opened.members())
        self._choice = disk
        self._ignored = 0
        self._sums = checksums.Checksums()
        self.manifest = _read_manifest(self._upcoming)
        self.chosen: ova_xml.Disk | None = None

    def __enter__(self) -> 'XvaImage':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._sums.__exit__(kind, error, traceback)

    @property
    def guest(self) -> ova_xml.Guest:
        return self.manifest.guest

    @property
    def size(self) -> int:
        """The size of the chosen disk, in bytes."""
        return self.chosen.size if self.chosen is not None else 0

    def layers(self) -> Iterator[tuple[int, XvaLayer]]:
        """Yield the chosen disk, and verify the others.

        :raises DiskNotChosen, NoSuchDisk: the choice does not denote one disk
        :raises LimitExceeded: the disk is too large
        :raises DamagedExport: the export contradicts itself
        """
        chosen = self.chosen = choose(self.manifest.disks, self._choice)
        if chosen.size > self._limits.max_virtual_size:
            raise exceptions.LimitExceeded(
                f'the disk has {chosen.size} bytes, more than the limit of '
                f'{self._limits.max_virtual_size}',
                member=chosen.label)
        for reader in self._disks():
            if reader.ref == chosen.ref:
                yield 0, XvaLayer(chosen.label, reader)

    def survey(self, start_size: int) -> list[StoredDisk]:
        """Read and verify all disks.

        :param start_size: number of each disk's first bytes to return
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
        """Yield the disks in archive order, and read each to its end."""
        seen = set()
        while (item := self._upcoming.peek()) is not None:
            name = xva_chunks.name_of(item)
            if name is None:
                self._ignore(item)
                continue
            size = self.manifest.sizes.get(name.ref)
            if size is None:
                raise exceptions.DamagedExport(
                    f'{ova_xml.NAME} does not describe a disk '
                    f'{text.printable(name.ref)}', member=item.name)
            if name.ref in seen:
                raise exceptions.DamagedExport(
                    'chunks of another disk come between this chunk and '
                    'the others of its disk', member=item.name)
            seen.add(name.ref)
            reader = xva_chunks.DiskReader(
                name.ref, size, self._upcoming, self._sums)
            yield reader
            reader.skip_all()
            reader.finish()
        for disk in self.manifest.disks:
            if disk.ref not in seen:
                raise exceptions.IncompleteDisk(
                    f'the archive holds no chunk of the disk '
                    f'{text.printable(disk.ref)} ({describe(disk)})')

    def _ignore(self, item: member.Member) -> None:
        """Skip a file that does not belong to a disk."""
        if ova_xml.is_manifest(item.path):
            raise exceptions.DamagedExport(
                'it is in the archive twice', member=item.name)
        self._ignored += 1
        if self._ignored > self._limits.max_members:
            raise exceptions.LimitExceeded(
                f'more than {self._limits.max_members} files in the archive '
                'do not belong to a disk')
        self._opened.ignore(item)
        self._upcoming.take()


def choose(disks: list[ova_xml.Disk], choice: str | None) -> ova_xml.Disk:
    """Return the disk that the user has chosen.

    :param choice: device or number; None without a choice
    :raises NoSuchDisk: no disk matches
    :raises DiskNotChosen: several disks match
    """
    if not disks:
        raise exceptions.NoSuchDisk('the virtual machine has no disk')
    wanted = disks if choice is None else [
        disk for disk in disks if disk.is_called(choice)]
    if not wanted:
        raise exceptions.NoSuchDisk(
            'the export does not hold a disk '
            f'{text.printable(choice or "")}; it holds {_listed(disks)}')
    if len({disk.ref for disk in wanted}) > 1:
        raise exceptions.DiskNotChosen(
            f'the export holds {len(wanted)} disks, so choose one of them: '
            f'{_listed(wanted)}')
    return wanted[0]


def describe(disk: ova_xml.Disk) -> str:
    """Return a disk's device, size and name."""
    number = f' ({_short(disk.position)})' if disk.position else ''
    return (f'{_short(disk.label)}{number}, {text.size(disk.size)}, '
            f'"{_short(disk.name)}"')


def _short(name: str) -> str:
    return text.printable(name, _LONGEST)


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
            f'it has more than {ova_xml.MAX_SIZE // limits.MIB} MiB',
            member=ova_xml.NAME)
    return ova_xml.parse(item.data.read(item.size))

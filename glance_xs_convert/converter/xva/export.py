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

from glance_xs_convert.converter import choice
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import strict_xml
from glance_xs_convert.converter.xva import checksums
from glance_xs_convert.converter.xva import chunks
from glance_xs_convert.converter.xva import ova_xml
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text

_SECTOR = extents.SECTOR_SIZE


@dataclasses.dataclass(frozen=True)
class StoredDisk:
    """A disk of an export.

    :ivar disk: its description in ``ova.xml``
    :ivar stored: number of its bytes that are in the archive; the rest is
                  zeros
    :ivar start: its first bytes
    """

    disk: results.Disk
    stored: int
    start: bytes


class XvaLayer:
    """A disk of an export, as the only layer (see ``layers``).

    :ivar data: a Reader of the disk
    """

    has_parent = False

    def __init__(self, name: str, data: chunks.DiskReader) -> None:
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
    :ivar ignored: the files that do not belong to a disk, so far
    :ivar chosen: the disk to read; None until its layer is requested
    :ivar notes: where zeros were taken for chunks that should be there, so far
    """

    def __init__(self, opened: member.Members, limits: image_limits.Limits,
                 disk: str | None) -> None:
        self._opened = opened
        self._limits = limits
        self._upcoming = chunks.Upcoming(opened.members())
        self._choice = disk
        self.ignored: list[member.Skimmed] = []
        self.notes: list[str] = []
        self._sums = checksums.Checksums()
        self._folder, self.manifest = _read_manifest(self._upcoming)
        self.chosen: results.Disk | None = None

    def __enter__(self) -> 'XvaImage':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._sums.__exit__(kind, error, traceback)

    @property
    def guest(self) -> results.Guest:
        return self.manifest.guest

    @property
    def size(self) -> int:
        """The size of the chosen disk, in bytes."""
        return self.chosen.size if self.chosen is not None else 0

    def layers(self) -> Iterator[tuple[int, XvaLayer]]:
        """Yield the chosen disk, and verify the others.

        :raises DiskNotChosen, NoSuchDisk: the choice does not denote one disk
        :raises LimitExceeded, DiskTooLarge: the disk is too large
        :raises DamagedExport: the export contradicts itself
        """
        chosen = self.choose()
        self._check_size(chosen)
        for reader in self._disks():
            if reader.ref == chosen.ref:
                yield 0, XvaLayer(chosen.label, reader)

    def all_disks(self) -> Iterator[tuple[results.Disk, '_OnlyDisk']]:
        """Yield all disks of the machine in the order of the archive.

        Each must be read before the next one is taken.

        :raises LimitExceeded: a disk is too large
        :raises DamagedExport: the export contradicts itself
        """
        if not self.manifest.disks:
            raise exceptions.NoSuchDisk('the virtual machine has no disk')
        by_ref = {disk.ref: disk for disk in reversed(self.manifest.disks)}
        for disk in by_ref.values():
            self._check_size(disk)
        for reader in self._disks():
            if reader.ref in by_ref:
                yield by_ref[reader.ref], _OnlyDisk(
                    by_ref[reader.ref], reader)

    def _check_size(self, disk: results.Disk) -> None:
        """:raises LimitExceeded, DiskTooLarge: the disk is too large"""
        layers.check_size(disk.size, disk.label, self._limits)
        layers.check_disk(disk.size, disk.label, self._limits)

    def choose(self) -> results.Disk:
        """Return the disk to read.

        :raises DiskNotChosen, NoSuchDisk: the choice does not denote one disk
        """
        self.chosen = choice.choose(
            self.manifest.disks, self._choice,
            choice.of_machine('export', [self.guest]))
        return self.chosen

    def survey(self, start_size: int) -> list[StoredDisk]:
        """Read and verify all disks.

        :param start_size: number of each disk's first bytes to return
        :returns: the chosen disk, or all of them if none was chosen
        :raises DamagedExport: the export contradicts itself
        """
        found = {}
        for reader in self._disks():
            start = reader.read(min(start_size, reader.size))
            reader.skip_all()
            found[reader.ref] = reader.stored, start
        return [StoredDisk(disk, *found[disk.ref])
                for disk in self.manifest.disks
                if self.chosen in (None, disk)]

    def _disks(self) -> Iterator[chunks.DiskReader]:
        """Yield the disks in archive order, and read each to its end."""
        seen: set[str] = set()
        length: int | None = None
        while (item := self._upcoming.peek()) is not None:
            name = self._name_of(item)
            if name is None:
                self._ignore(item)
                continue
            size = self.manifest.sizes.get(name.ref)
            if size is None:
                raise exceptions.DamagedExport(
                    f'{ova_xml.NAME} does not describe a disk '
                    f'{text.printable(name.ref)}', member=item.name)
            if name.ref in seen:
                raise chunks.interleaved(item.name)
            seen.add(name.ref)
            reader = chunks.DiskReader(
                name.ref, size, self._upcoming, self._name_of, self._sums,
                length)
            yield reader
            reader.skip_all()
            reader.finish()
            self._note_missing(reader)
            length = length or reader.chunk_length
        for disk in self.manifest.disks:
            if disk.ref not in seen:
                raise exceptions.IncompleteDisk(
                    f'the archive holds no chunk of the disk '
                    f'{text.printable(disk.ref)} ({choice.describe(disk)})')

    def _note_missing(self, reader: chunks.DiskReader) -> None:
        """Note that the first chunks of a disk are missing."""
        disk = next((disk for disk in self.manifest.disks
                     if disk.ref == reader.ref), None)
        if reader.missing and disk is not None and (
                self.chosen in (None, disk)):
            self.notes.append(
                f'{text.printable(disk.label)}: the export begins with a '
                'later chunk than the first one of this disk, so the first '
                f'{text.exact_size(reader.missing)} of the disk are zeros, as '
                'XenServer reads it')

    def _name_of(self, item: member.Member) -> chunks.Name | None:
        """Return the name of a chunk, or None for other files."""
        return chunks.name_of(item, self._folder, self.manifest.sizes)

    def _ignore(self, item: member.Member) -> None:
        """Skip a file that does not belong to a disk."""
        if ova_xml.is_manifest(item.path):
            raise exceptions.DamagedExport(
                'it is in the archive twice', member=item.name)
        if len(self.ignored) >= self._limits.max_members:
            raise exceptions.LimitExceeded(
                f'more than {self._limits.max_members} files in the archive '
                'do not belong to a disk')
        self._opened.ignore(item)
        self.ignored.append(item.skim())
        self._upcoming.take()


class _OnlyDisk:
    """A disk of an export as an image of its own."""

    def __init__(self, disk: results.Disk, reader: chunks.DiskReader) -> None:
        self.size = disk.size
        self._layer = XvaLayer(disk.label, reader)

    def layers(self) -> Iterator[tuple[int, XvaLayer]]:
        """Yield the disk."""
        yield 0, self._layer


def _read_manifest(upcoming: chunks.Upcoming,
                   ) -> tuple[str, ova_xml.Manifest]:
    """Return the folder that the export is in, and what it describes."""
    item = upcoming.take()
    if item is None or not ova_xml.is_manifest(item.path):
        if item is not None:
            chunks.name_of(item, '', ())
        raise not_first()
    if item.size > strict_xml.MAX_SIZE:
        raise exceptions.DamagedExport(
            f'it has more than {text.size(strict_xml.MAX_SIZE)}',
            member=ova_xml.NAME)
    return (ova_xml.folder_of(item.path),
            ova_xml.parse(item.data.read(item.size)))


def not_first() -> exceptions.DamagedExport:
    """Make the error for an archive that does not begin with ``ova.xml``."""
    return exceptions.DamagedExport(
        'it is not the first file of the archive, as it must be; '
        + chunks.REPACK, member=ova_xml.NAME)

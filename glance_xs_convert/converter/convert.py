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

"""From an archive to a raw disk: composition, and nothing else."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import hashlib
import io
import os
from typing import BinaryIO
from typing import TYPE_CHECKING

from glance_xs_convert.converter.containers import tar
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import raw_disk
from glance_xs_convert.converter import survey
from glance_xs_convert.converter.vhd import chain as chain_
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import reader
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The archive is read in pieces of this size.
_SOURCE_BUFFER = 64 * 1024


@dataclasses.dataclass(frozen=True)
class ConversionResult:
    """What came out.

    :ivar virtual_size: of the raw disk, in bytes: the leaf's current_size
    :ivar layers: the chain, from the leaf to the base
    :ivar bytes_written: to the raw disk; the rest of it is holes
    :ivar source_size: bytes of the archive
    :ivar source_sha256: of the archive, in hexadecimal digits; empty if it
                         was not asked for
    """

    virtual_size: int
    layers: list[chain_.Layer]
    bytes_written: int
    source_size: int
    source_sha256: str


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What would come out, and what it would take.

    :ivar virtual_size: of the raw disk, in bytes: the leaf's current_size
    :ivar layers: the chain, from the leaf to the base
    :ivar source_size: bytes of the archive
    :ivar allocated: bytes that the raw disk would occupy
    :ivar room: bytes that have to be free for it, lest it is not begun
    :ivar disk_map: which layer each sector comes from
    """

    virtual_size: int
    layers: list[chain_.Layer]
    source_size: int
    allocated: int
    room: int
    disk_map: dry_run.DiskMap


def convert(source: BinaryIO, target: int, *,
            limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None, bare: bool = False,
            digest: bool = False) -> ConversionResult:
    """Convert a XenServer archive to a raw disk.

    :param source: the archive, open for reading. Where it is not seekable,
                   archives that have to be read twice are refused.
    :param target: the descriptor of a new file, open for reading and
                   writing
    :param progress: kept up to date
    :param bare: whether the source is one VHD without an archive around it,
                 which must be seekable
    :param digest: whether the source's SHA-256 is wanted
    :raises XsConvertError: the archive is refused, or a file cannot be read
                            or written
    """
    progress = progress or _new_progress()
    opener = tar.open_bare_vhd if bare else tar.open_archive
    with _counted(source, progress, digest) as file:
        raw = raw_disk.SparseFile(target)
        layers = _convert(io.BufferedReader(file, _SOURCE_BUFFER), raw,
                          limits, progress, opener)
        return ConversionResult(layers[0].current_size, layers,
                                raw.bytes_written, progress.source_read,
                                file.digest())


def check(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
          progress: progress.Progress | None = None) -> CheckResult:
    """Do all that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param progress: kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or _new_progress()
    with _counted(source, progress) as file:
        raw = dry_run.Footprint()
        layers = _convert(io.BufferedReader(file, _SOURCE_BUFFER), raw,
                          limits, progress, tar.open_archive)
    size = layers[0].current_size
    return CheckResult(size, layers, progress.source_read, raw.allocated,
                       raw.room, raw.disk_map(size))


def inspect(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None) -> survey.Survey:
    """Find out what an archive holds; all of it is read.

    :param source: see :func:`convert`
    :param progress: kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    with _counted(source, progress or _new_progress()) as file:
        return survey.survey(io.BufferedReader(file, _SOURCE_BUFFER), limits)


def _new_progress() -> progress.Progress:
    return progress.Progress()


def _convert(source: io.BufferedReader, raw: raw_disk.File,
             limits: limits.Limits, progress: progress.Progress,
             opener: tar.Opener) -> list[chain_.Layer]:
    """In one pass if the archive is in order, or else with a survey."""
    start = source.tell() if source.seekable() else None
    try:
        with opener(source, limits) as opened:
            return _Pass(raw, limits, progress).run(opened, None)
    except reader.NotInOrder:
        if start is None:
            raise survey.not_seekable() from None
    except (exceptions.DamagedVhd, exceptions.NoVhd,
            exceptions.NotDifferencing):
        if start is None:
            raise
    source.seek(start)
    surveyed = survey.survey(source, limits, opener)
    surveyed.layers(limits)
    source.seek(start)
    raw.restart()
    try:
        with opener(source, limits) as opened:
            return _Pass(raw, limits, progress).run(opened, surveyed)
    except reader.NotInOrder:
        raise exceptions.DamagedVhd(
            'the structures of a VHD contradict each other',
            member=progress.layer) from None


class _Pass:
    """One pass over the archive."""

    def __init__(self, raw: raw_disk.File, limits: limits.Limits,
                 progress: progress.Progress) -> None:
        self._limits = limits
        self._progress = progress
        self._chain = chain_.Chain(limits)
        self._file = raw
        self._disk = raw_disk.RawDisk(raw)

    def run(self, opened: tar.Members, surveyed: survey.Survey | None,
            ) -> list[chain_.Layer]:
        """Read the archive to its end and write the disk.

        :param surveyed: what is known from earlier passes
        :returns: the chain, from the leaf to the base
        :raises NotInOrder: more has to be known
        """
        self._progress.layers = 0
        for member in opened.members():
            if surveyed is None:
                place, structures = self._place(member), None
            elif member.index in surveyed.vhds:
                vhd = surveyed.vhds[member.index]
                place, structures = vhd.place, vhd.structures
            else:
                place, structures = None, None
            if place is None:
                opened.ignore(member)
            else:
                self._add_layer(member, place, structures)
        layers = self._chain.layers()
        self._file.set_size(layers[0].current_size)
        return layers

    def _place(self, member: tar.Member) -> chain_.Place | None:
        """A member's place, as far as can be told when it comes."""
        place = chain_.place_of(member.path)
        naming = self._chain.naming
        if place is None or naming is None or place.naming is naming:
            return place
        if place.naming is chain_.Naming.SINGLE:
            return None
        if naming is chain_.Naming.SINGLE:
            raise reader.NotInOrder
        return place

    def _add_layer(self, member: tar.Member, place: chain_.Place,
                   structures: reader.Structures | None) -> None:
        self._chain.claim(place, member.name)
        self._progress.layer = member.name
        self._progress.layers = len(self._chain)
        vhd = reader.VhdStream(member.name, member.size, member.data,
                               self._limits, structures)
        vhd.read_structures()
        if not vhd.is_differencing:
            self._chain.set_base(place.rank)
        self._disk.begin_layer(place.rank, vhd.current_size,
                               vhd.is_differencing)
        self._disk.check_room(vhd.blocks())
        for extent in vhd.extents():
            self._disk.write(extent, vhd.data)
            self._progress.bytes_written = self._file.bytes_written
        self._disk.end_layer()
        vhd.read_end()
        self._chain.add(place.rank, survey.layer(
            member.name, member.size, vhd.known))
        self._progress.layer = None


class _Digest:
    """The SHA-256 of what passes by, computed by a thread of its own."""

    #: Pieces that may wait to be hashed.
    _AHEAD = 8

    def __init__(self) -> None:
        self._executor = futures.ThreadPoolExecutor(1)
        self.restart()

    def restart(self) -> None:
        """Forget what has passed by."""
        self._hash = hashlib.sha256()
        self._waiting: collections.deque[futures.Future[None]] = (
            collections.deque())

    def update(self, data: memoryview) -> None:
        """Add a piece, which is copied."""
        if len(self._waiting) == self._AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(
            self._executor.submit(self._hash.update, bytes(data)))

    def result(self) -> str:
        """In hexadecimal digits; nothing can be added any more."""
        self._executor.shutdown()
        return self._hash.hexdigest()


class _CountingFile(io.RawIOBase):
    """A file that reports how much has been read of it.

    :param digest: whether to compute the SHA-256 of what is read
    """

    def __init__(self, file: BinaryIO, progress: progress.Progress,
                 digest: bool) -> None:
        self._file = file
        self._progress = progress
        self._digest = _Digest() if digest else None
        self._readinto: Callable[[memoryview], int | None] = getattr(
            file, 'readinto', self._read_and_copy)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._progress.source_read = 0
        if self._digest is not None:
            self._digest.restart()
        return self._file.seek(offset, whence)

    def readinto(self, buffer: 'WriteableBuffer') -> int:
        """As much as comes, but no less than a sector before the end."""
        view = memoryview(buffer).cast('B')
        size = 0
        while size < min(layout.SECTOR_SIZE, len(view)):
            count = self._readinto(view[size:])
            if not count:
                break
            size += count
        self._progress.source_read += size
        if self._digest is not None:
            self._digest.update(view[:size])
        return size

    def digest(self) -> str:
        """The SHA-256 in hexadecimal digits; empty if it is not computed."""
        return '' if self._digest is None else self._digest.result()

    def _read_and_copy(self, view: memoryview) -> int:
        data = self._file.read(len(view))
        view[:len(data)] = data
        return len(data)


@contextlib.contextmanager
def _counted(source: BinaryIO, progress: progress.Progress,
             digest: bool = False) -> Iterator[_CountingFile]:
    """Count what is read of the source."""
    if progress.source_size is None:
        progress.source_size = _size(source)
    yield _CountingFile(source, progress, digest)


def _size(source: BinaryIO) -> int | None:
    """How many bytes a file has that can tell; None if it cannot."""
    if not source.seekable():
        return None
    start = source.tell()
    size = source.seek(0, os.SEEK_END) - start
    source.seek(start)
    return size

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

"""The raw disk: which sectors are decided, and the sparse file.

A newer layer's sector hides the same sector of all older ones. Layers may
come in any order: what a layer may write is what no newer layer has decided
yet, and what it writes replaces what older ones have written.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import ctypes
import dataclasses
import errno
import os
from typing import Protocol

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.disk import sectors
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions

_SECTOR = sectors.SECTOR_SIZE
_ZEROS = bytes(sectors.REGION_SIZE)
#: The unit of ``st_blocks``, whatever the file system's block size.
_STAT_BLOCK = 512

#: Modes of fallocate(2), from linux/falloc.h.
_KEEP_SIZE = 1
_PUNCH_HOLE = 2


@dataclasses.dataclass(eq=False)
class _Span:
    """Layers that follow each other in the chain.

    :ivar first: the rank of the newest one
    :ivar last: the rank of the oldest one
    :ivar size: of the smallest one; no older layer shows beyond it
    :ivar decided: what they decide for older layers
    :ivar has_base: no layer is older than the last
    """

    first: int
    last: int
    size: int
    decided: sectors.SectorMap
    has_base: bool

    def joined(self, older: '_Span') -> '_Span':
        """Both together."""
        decided = self.decided
        if older.has_base:
            decided = sectors.SectorMap()
        elif older.decided is not decided:
            decided.update(older.decided)
        return _Span(self.first, older.last, min(self.size, older.size),
                     decided, older.has_base)


class File(Protocol):
    """What a raw disk is written to, or pretends to be.

    :ivar end: where the last byte that was written ends
    :ivar bytes_written: without the zeros that are left out
    """

    end: int
    bytes_written: int

    def restart(self) -> None:
        """Forget all that was written."""

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        """What is written from now on belongs to one layer.

        :param rank: its place in the chain, 0 for the leaf
        :param overwrites: there may be data where is written
        """

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        """Write the next ``size`` bytes of ``data``."""

    def clear(self, offset: int, size: int) -> None:
        """Make a stretch zeros, and take no room for it."""

    def set_size(self, size: int) -> None:
        """Give the file its final size, in bytes."""

    def check_room(self, size: int) -> None:
        """Whether so many bytes can be written to the layer that was begun.

        :raises OutOfSpace: they can not
        """


class RawDisk:
    """A raw disk that is put together from layers, in any order."""

    def __init__(self, file: File) -> None:
        self._file = file
        #: The layers that are complete, and the one that is being written.
        self._spans: list[_Span] = []
        self._layer = _Span(0, 0, 0, sectors.SectorMap(), False)
        #: The regions in which something was written.
        self._touched = bytearray()
        #: Of the latter: what newer ones have decided, its own map if older
        #: ones are still to come, and where it ends.
        self._newer: list[sectors.SectorMap] = []
        self._decides: sectors.SectorMap | None = None
        self._size = 0

    def begin_layer(self, rank: int, size: int, has_parent: bool) -> None:
        """What is written from now on belongs to one layer.

        :param rank: its place in the chain, 0 for the leaf
        :param size: of its disk, in bytes
        :param has_parent: older layers may show through
        """
        newer = [span for span in self._spans if span.last < rank]
        older = [span for span in self._spans if span.first > rank]
        self._newer = [span.decided for span in newer]
        self._size = min([size, *(span.size for span in newer)])
        self._file.begin_layer(rank, bool(older))
        if older:
            self._clear_from(size)
        decided = next((span.decided for span in newer
                        if span.last == rank - 1), sectors.SectorMap())
        self._layer = _Span(rank, rank, size, decided, not has_parent)
        is_lowest = self._layer.has_base or any(
            span.first == rank + 1 and span.has_base for span in older)
        self._decides = None if is_lowest else decided

    def check_room(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Whether the file system has room for what shows of some blocks.

        :param blocks: (offset, size) of each, in bytes
        :raises OutOfSpace: it has not
        """
        self._file.check_room(
            sum(self._undecided(offset, size) for offset, size in blocks))

    def _undecided(self, offset: int, size: int) -> int:
        """How many bytes of a block no newer layer has decided."""
        count = size // _SECTOR
        visible = (1 << count) - 1 if offset < self._size else 0
        return self._visible(offset, count, visible).bit_count() * _SECTOR

    def _visible(self, offset: int, count: int, written: int) -> int:
        """Which sectors of a block no newer layer has decided."""
        region, shift = _in_region(offset, count)
        for decided in self._newer:
            written &= ~(decided[region] >> shift)
        return written

    def end_layer(self) -> None:
        """The layer that was begun is complete."""
        layer = self._layer
        apart = []
        for span in self._spans:
            if span.last == layer.first - 1:
                layer = span.joined(layer)
            elif span.first == layer.last + 1:
                layer = layer.joined(span)
            else:
                apart.append(span)
        self._spans = [*apart, layer]

    def write(self, extent: extents.Extent, data: forward.Reader,
              ) -> None:
        """Write what shows of an extent of the layer that was begun.

        :param data: read on by exactly the extent's size
        """
        count = extent.sectors
        visible = self._visible(extent.offset, count, extent.written)
        region, shift = _in_region(extent.offset, count)
        if self._decides is not None and extent.written:
            self._decides.add(region, extent.written << shift)
        if visible:
            self._touch(region)
        size = max(0, min(extent.size, self._size - extent.offset))
        done = 0
        for first, end in sectors.runs(visible, count):
            start = first * _SECTOR
            stop = min(end * _SECTOR, size)
            if start >= stop:
                break
            data.skip(start - done)
            self._file.write(extent.offset + start, stop - start, data)
            done = stop
        data.skip(extent.size - done)

    def _clear_from(self, offset: int) -> None:
        """Remove all that older layers have written from there on."""
        end = self._file.end
        if not self._newer:
            self._file.clear(offset, end - offset)
            return
        region = self._touched.find(1, offset // sectors.REGION_SIZE)
        while region >= 0:
            undecided = sectors.WHOLE_REGION
            for decided in self._newer:
                undecided &= ~decided[region]
            region_start = region * sectors.REGION_SIZE
            for first, last in sectors.runs(undecided, sectors.REGION_SECTORS):
                start = max(offset, region_start + first * _SECTOR)
                stop = region_start + last * _SECTOR
                self._file.clear(start, stop - start)
            region = self._touched.find(1, region + 1)

    def _touch(self, region: int) -> None:
        """There may be data in a region now."""
        if region >= len(self._touched):
            self._touched.extend(bytes(region + 1 - len(self._touched)))
        self._touched[region] = 1


class SparseFile:
    """A new file in which zeros take no room.

    :param descriptor: of an empty regular file, open for writing
    :ivar end: where the last byte that was written ends
    :ivar bytes_written: as handed to the operating system
    """

    def __init__(self, descriptor: int) -> None:
        self.end = 0
        self.bytes_written = 0
        self._overwrites = False
        self._descriptor = descriptor
        self._punch_hole = _hole_puncher()

    def restart(self) -> None:
        self.set_size(0)
        self.end = 0
        self.bytes_written = 0

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        self._overwrites = overwrites

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        """Write the next ``size`` bytes of ``data``.

        :raises OutOfSpace: the file system is full
        :raises UnwritableTarget: the operating system refuses otherwise
        """
        for buffer, start, end in data.pieces(size):
            view = memoryview(buffer)
            for is_data, first, last in split_zeros(
                    buffer, start, end, offset - start):
                if is_data:
                    self._write(view[first:last], offset - start + first)
                elif self._overwrites:
                    self.clear(offset - start + first, last - first)
            offset += end - start

    def clear(self, offset: int, size: int) -> None:
        end = min(offset + size, self.end)
        with writable():
            while offset < end:
                offset = self._next_data(offset)
                if offset >= end:
                    return
                if self._punch_hole(self._descriptor, offset, end - offset):
                    return
                length = min(end - offset, len(_ZEROS))
                self._write(memoryview(_ZEROS)[:length], offset)
                offset += length

    def set_size(self, size: int) -> None:
        with writable():
            os.ftruncate(self._descriptor, size)

    def check_room(self, size: int) -> None:
        with writable():
            found = os.fstatvfs(self._descriptor)
            own = os.fstat(self._descriptor).st_blocks * _STAT_BLOCK
        if not found.f_blocks:
            return
        free = found.f_bavail if os.geteuid() else found.f_bfree
        room = free * found.f_frsize + (own if self._overwrites else 0)
        if size > room:
            raise exceptions.OutOfSpace(
                f'there is no space for the raw disk: a layer needs {size} '
                f'bytes, and {room} are left')

    def _next_data(self, offset: int) -> int:
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.end
            raise

    def _write(self, view: memoryview, offset: int) -> None:
        self.bytes_written += len(view)
        self.end = max(self.end, offset + len(view))
        with writable():
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view = view[written:]
                offset += written


def _in_region(offset: int, count: int) -> tuple[int, int]:
    """Where a block lies: the region, and the sectors behind it in that."""
    region, start = divmod(offset, sectors.REGION_SIZE)
    return region, sectors.REGION_SECTORS - start // _SECTOR - count


def split_zeros(buffer: bytes, start: int, end: int, shift: int,
                ) -> Iterator[tuple[bool, int, int]]:
    """Tell data from pages of zeros.

    :param shift: what has to be added to an index for its place on the disk
    :returns: (whether there are data, from index, up to index), in order and
              without gaps
    """
    data = start
    for first, last in _zero_pages(buffer, start, end, shift):
        if data < first:
            yield True, data, first
        yield False, first, last
        data = last
    if data < end:
        yield True, data, end


def _zero_pages(buffer: bytes, start: int, end: int, shift: int,
                ) -> Iterator[tuple[int, int]]:
    """The pages of zeros between two indices, and parts of pages at both.

    Only pages that begin with a zero are looked at.

    :returns: (from index, up to index), in order
    """
    view = memoryview(buffer)
    page = min(start + -(start + shift) % sectors.PAGE_SIZE, end)
    if start < page and _ZEROS.startswith(view[start:page]):
        yield start, page
    heads = buffer[page:end:sectors.PAGE_SIZE]
    index = heads.find(0)
    while index >= 0:
        most = len(heads[index:]) - len(heads[index:].lstrip(b'\0'))
        first = page + index * sectors.PAGE_SIZE
        count = _count_zero_pages(view[first:end], most)
        if count:
            yield first, min(first + count * sectors.PAGE_SIZE, end)
        index = heads.find(0, index + count + 1)


def _count_zero_pages(view: memoryview, most: int) -> int:
    """With how many pages of zeros a stretch begins, at the most."""
    if not _ZEROS.startswith(view[:sectors.PAGE_SIZE]):
        return 0
    low, high = 1, most
    count = most
    while low < high:
        if _ZEROS.startswith(view[:count * sectors.PAGE_SIZE]):
            low = count
        else:
            high = count - 1
        count = -(-(low + high) // 2)
    return low


@contextlib.contextmanager
def writable() -> Iterator[None]:
    """Turn the operating system's refusals into this package's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise exceptions.OutOfSpace(
                'there is no space left for the raw disk') from error
        if error.errno == errno.EFBIG:
            raise exceptions.LimitExceeded(
                'the raw disk is larger than the file system or a limit of '
                'the process allows') from error
        raise exceptions.UnwritableTarget(
            f'the raw disk cannot be written: {error.strerror}') from error


def _hole_puncher() -> Callable[[int, int, int], bool]:
    """Linux's fallocate(2); where there is none, a function that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fallocate = libc.fallocate
    except AttributeError:
        return lambda descriptor, offset, size: False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64,
                          ctypes.c_int64)

    def punch(descriptor: int, offset: int, size: int) -> bool:
        """Whether the stretch is a hole now."""
        return not fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE,
                             offset, size)

    return punch

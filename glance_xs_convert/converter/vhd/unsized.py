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

"""A VHD whose size is known at its end only: compressed, or from a pipe.

A dynamic VHD has everything at its front; what follows its blocks is read to
the end, where the footer must agree. A fixed VHD is written as it arrives,
except for the last bytes, which must be its footer.
"""

import collections
from collections.abc import Iterator
import dataclasses
import sys

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import layer
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import leftover
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text

_MAX_FILE_SIZE = 2 * image_limits.MAX_VIRTUAL_SIZE


class NotVhd(Exception):
    """The data is not a VHD, as its end has shown."""


class UnsizedVhd:
    """The disk of one VHD (see ``layers.Image``).

    :param name: name of the VHD
    :param data: its bytes
    :param limits: bounds on the disk
    :ivar vhds: the VHD; empty until it has been read
    :ivar notes: what was not read of the file
    """

    def __init__(self, name: str, data: member.ArchiveReader,
                 limits: image_limits.Limits) -> None:
        self.vhds: list[results.Vhd] = []
        self.notes: list[str] = []
        self._name = name
        self._data = data
        self._limits = limits

    @property
    def size(self) -> int:
        """The size of the disk, in bytes."""
        return self.vhds[0].current_size

    def layers(self) -> Iterator[tuple[int, layers.Layer]]:
        """Yield the VHD.

        :raises NotVhd: it is none
        :raises NotInOrder: the size of the file has to be known first
        :raises MissingBase: it is a differencing disk
        """
        file = _OpenEnded(self._name, self._data, self._limits)
        known = structures.Structures()
        for grown in structures.read_front(file):
            known = grown
            if grown.footer is not None and grown.footer.is_differencing:
                raise exceptions.MissingBase(
                    'it is a differencing disk, but its parent is not there',
                    member=self._name)
        if known.footer is None:
            fixed = _FixedVhd(file, self._data)
            yield 0, fixed
            footer = fixed.footer()
            known = structures.Structures(footer)
            gap = fixed.data.position - footer.current_size
            if gap > 0:
                self.notes.append(leftover.note_of_gap(self._name, gap))
        else:
            yield 0, layer.VhdLayer(file, known)
            self._check_tail(known.footer)
            if known.table is not None and (
                    known.table.end > self._data.position):
                # Nobody has needed the block: it is beyond the disk's end.
                raise layers.NotInOrder(self._name)
        self.vhds = [chain.describe(
            self._name, self._data.position, known)]

    def _check_tail(self, known: layout.Footer) -> None:
        """Read the VHD to its end and compare the footer there.

        :raises NotInOrder: the footer contradicts its copy at the front
        """
        tail = b''
        rest = leftover.Leftover(known)
        while not self._data.at_end():
            for position, piece in self._data.stored_pieces(
                    self._data.available):
                rest.look_through(position, piece)
                buffer, start, end = piece
                start = max(start, end - layout.Footer.SIZE)
                tail = (tail + buffer[start:end])[-layout.Footer.SIZE:]
        if rest.found is not None:
            self.notes.append(leftover.note_of_footer(self._name, rest.found))
        try:
            found = layout.Footer.unpack(tail)
        except layout.LayoutError:
            return
        if not found.agrees_with(known):
            raise layers.NotInOrder(self._name)


class _OpenEnded(stream.VhdStream):
    """A file that may have any size."""

    def __init__(self, name: str, data: member.ArchiveReader,
                 limits: image_limits.Limits) -> None:
        self._rest = data
        super().__init__(name, _MAX_FILE_SIZE, data, dataclasses.replace(
            limits, max_ignored_size=sys.maxsize))

    def has_bytes(self, offset: int, size: int) -> bool:
        self.go_to(offset)
        return len(self._rest.peek(size)) == size

    def check_limit(self, size: int) -> None:
        # The size of the file does not tell that of the disk.
        if size < self.data_end:
            super().check_limit(size)


class _FixedVhd:
    """A fixed VHD as a layer, which ends where its data ends."""

    has_parent = False

    def __init__(self, file: _OpenEnded, rest: member.ArchiveReader) -> None:
        self._file = file
        start = file.data.read(rest.position - file.data.position)
        self.name = file.name
        self.size = file.limits.largest_disk
        self.data = _HeldBack(start, rest)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield nothing: a fixed disk does not say which blocks have data."""
        return iter(())

    def extents(self) -> Iterator[extents.Extent]:
        """Yield all data but the footer.

        :raises LimitExceeded, DiskTooLarge: the disk is larger than allowed
        """
        while size := self.data.gather(layer.FIXED_EXTENT):
            offset = self.data.position
            self._file.check_limit(offset + size)
            layers.check_disk(offset + size, self.name, self._file.limits)
            yield extents.Extent(offset, size, extents.all_written(size))

    def footer(self) -> layout.Footer:
        """Return the footer, once the data has been read.

        :raises NotVhd: there is none
        :raises NotInOrder: it is not that of a fixed disk, or begins one byte
                            earlier than expected
        :raises DamagedVhd: the disk would be larger than the data
        """
        try:
            found = layout.Footer.unpack(
                self.data.rest().ljust(layout.Footer.SIZE, b'\0'))
        except layout.LayoutError:
            if layout.Footer.at_end_of(self.data.last + self.data.rest()):
                # The disk, not its footer, lacks the last byte of a sector.
                raise layers.NotInOrder(self.name) from None
            raise NotVhd from None
        if not found.is_fixed:
            raise layers.NotInOrder(self.name)
        if not 0 < found.current_size <= self.data.position:
            raise self._file.damaged(
                f'the fixed disk has {text.exact_size(found.current_size)}, '
                'but the file holds only '
                f'{text.exact_size(self.data.position)}')
        return found


def _footer_size(file_size: int) -> int:
    """Return the size of the footer at the end of a file.

    Virtual PC before 2004 left out the last byte, which is zero.
    """
    short = layout.Footer.SIZE - 1
    return short if file_size % layout.SECTOR_SIZE == short else (
        layout.Footer.SIZE)


class _HeldBack(forward.PieceReader):
    """A Reader of data whose last bytes, which may be a footer, are kept.

    :param start: bytes that have been read already
    :ivar position: number of bytes that have been read or skipped
    :ivar last: the last of these bytes
    """

    def __init__(self, start: bytes, data: member.ArchiveReader) -> None:
        self.position = 0
        self.last = b''
        self._data = data
        self._pieces: collections.deque[forward.Piece] = collections.deque()
        self._gathered = 0
        self._keep((start, 0, len(start)))

    def gather(self, size: int) -> int:
        """Return how many bytes can be read, at most ``size``.

        They are fewer at the end only.
        """
        wanted = size + layout.Footer.SIZE
        while self._gathered < wanted and not self._data.at_end():
            for piece in self._data.pieces(
                    min(self._data.available, wanted - self._gathered)):
                self._keep(piece)
        end = self.position + self._gathered
        left = self._gathered - _footer_size(end)
        return max(0, min(size, left))

    def rest(self) -> bytes:
        """Return the bytes behind those that can be read."""
        return b''.join(buffer[start:end]
                        for buffer, start, end in self._pieces)

    def pieces(self, size: int) -> Iterator[forward.Piece]:
        while size:
            if not self._pieces:
                raise forward.EndOfData
            buffer, start, end = self._pieces.popleft()
            stop = min(start + size, end)
            if stop < end:
                self._pieces.appendleft((buffer, stop, end))
            size -= stop - start
            self._gathered -= stop - start
            self.position += stop - start
            self.last = buffer[stop - 1:stop]
            yield buffer, start, stop

    def _keep(self, piece: forward.Piece) -> None:
        _, start, end = piece
        if start < end:
            self._pieces.append(piece)
            self._gathered += end - start

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


"""Members that tar stored without their holes.

Source for the format: the GNU tar manual, "Sparse Formats".
"""

from collections.abc import Iterator

from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import text

_ZEROS = bytes(64 * 1024)


class SparseReader(forward.PieceReader):
    """A Reader of a member that tar stored without its holes.

    :param stored: the stored extents, one after the other
    :param size: size of the member with its holes, in bytes
    :param extents: (offset in the member, size), in ascending order
    :param name: name of the member
    :param limit: number of bytes of holes that may be read; skipping them
                  costs nothing
    """

    def __init__(self, stored: forward.Reader, size: int,
                 extents: list[tuple[int, int]], name: str, limit: int,
                 ) -> None:
        self.position = 0
        self._name = name
        self._limit = limit
        self._zeros_read = 0
        self._stored = stored
        self._extents = iter([*extents, (size, 0)])
        self._start, self._end = 0, 0
        self._next_extent()

    def skip(self, size: int) -> None:
        for reader, part in self._parts(size):
            if reader is not None:
                reader.skip(part)

    def pieces(self, size: int) -> Iterator[forward.Piece]:
        for reader, part in self._parts(size):
            if reader is not None:
                yield from reader.pieces(part)
                continue
            self._count(part)
            while part:
                length = min(part, len(_ZEROS))
                yield _ZEROS, 0, length
                part -= length

    def stored_pieces(self, size: int) -> Iterator[forward.Located]:
        for reader, part in self._parts(size):
            if reader is not None:
                place = self.position - part
                for buffer, start, end in reader.pieces(part):
                    yield place, (buffer, start, end)
                    place += end - start

    def _count(self, size: int) -> None:
        """:raises LimitExceeded: too much of the member is holes"""
        self._zeros_read += size
        if self._zeros_read > self._limit:
            raise exceptions.LimitExceeded(
                f'tar left out more than {text.exact_size(self._limit)} of it '
                'as holes, which is the limit', member=self._name)

    def _parts(self, size: int) -> Iterator[
            tuple[forward.Reader | None, int]]:
        """Split the next ``size`` bytes into stored parts and holes."""
        while size:
            hole = self._start - self.position
            if hole > 0:
                reader, part = None, min(size, hole)
            else:
                reader = self._stored
                part = min(size, self._end - self.position)
            if part:
                size -= part
                self.position += part
                yield reader, part
            else:
                self._next_extent()

    def _next_extent(self) -> None:
        try:
            start, size = next(self._extents)
        except StopIteration:
            raise forward.EndOfData from None
        self._start, self._end = start, start + size


def checked_map(extents: list[tuple[int, int]], size: int, stored: int,
                name: str) -> list[tuple[int, int]]:
    """The stored extents of a member: (offset in the member, size).

    :param extents: as ``tarfile`` has read them
    :param size: of the member with its holes, in bytes
    :param stored: bytes of it in the archive
    :param name: of the member
    :raises DamagedArchive: the extents contradict the sizes
    """
    end = 0
    for offset, length in extents:
        if (offset, length) == (0, 0):
            continue
        if not end <= offset <= offset + length <= size:
            break
        end = offset + length
    else:
        if 0 <= sum(length for _, length in extents) <= stored:
            return [extent for extent in extents if extent[1]]
    raise exceptions.DamagedArchive(
        'the map of its holes in the tar header is damaged', member=name)

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

"""A map of a disk: which layer each sector comes from."""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import struct

#: An extent: offset and size in bytes, and the rank of its layer.
_EXTENT = struct.Struct('<QQH')


@dataclasses.dataclass(frozen=True)
class DiskMap:
    """The layer that each byte of a raw disk comes from.

    An extent comes from one layer. Zeros that a layer has written belong to
    it, and what no layer has written belongs to none.

    :ivar size: size of the disk, in bytes
    :ivar layers: number of layers
    :ivar packed: the extents in the order of their offsets
    """

    size: int
    layers: int
    packed: bytes

    @classmethod
    def of(cls, size: int, layers: int,
           extents: Iterable[tuple[int, int, int]]) -> 'DiskMap':
        """Make a map of extents in order: (offset, size, rank).

        Extents that touch and come from the same layer become one.
        """
        packed = bytearray()
        first = last = rank = 0
        for offset, length, layer in extents:
            if offset != last or layer != rank:
                if first != last:
                    packed += _EXTENT.pack(first, last - first, rank)
                first, rank = offset, layer
            last = offset + length
        if first != last:
            packed += _EXTENT.pack(first, last - first, rank)
        return cls(size, layers, bytes(packed))

    def is_sound(self) -> bool:
        """Whether the extents are in order, in the disk and of its layers."""
        if len(self.packed) % _EXTENT.size:
            return False
        end = 0
        for offset, size, rank in self:
            if offset < end or not size or rank >= self.layers:
                return False
            end = offset + size
        return end <= self.size

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield the extents in order: (offset, size, rank)."""
        return _EXTENT.iter_unpack(self.packed)

    def extents(self, rank: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of the disk that come from one layer.

        :param rank: rank of the layer; 0 for the leaf
        :returns: (offset, size) in bytes, in order, no two of them adjacent
        """
        for offset, size, layer in self:
            if layer == rank:
                yield offset, size

    def sizes(self) -> list[int]:
        """Return the number of bytes that come from each layer."""
        sizes = [0] * self.layers
        for _, size, rank in self:
            sizes[rank] += size
        return sizes

    def cells(self, cell_size: int) -> list[list[int]]:
        """Cut the disk into cells, and count each layer's bytes in them.

        :param cell_size: in bytes
        :returns: for each cell, the number of bytes from each layer
        """
        cells = [[0] * self.layers for _ in range(-(-self.size // cell_size))]
        for offset, size, rank in self:
            end = offset + size
            while offset < end:
                cell, inside = divmod(offset, cell_size)
                amount = min(cell_size - inside, end - offset)
                cells[cell][rank] += amount
                offset += amount
        return cells

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

from collections.abc import Iterator
import dataclasses

from glance_xs_convert.converter.disk import sectors

_SECTOR = sectors.SECTOR_SIZE
_REGION = sectors.REGION_SIZE


@dataclasses.dataclass(frozen=True)
class DiskMap:
    """The layer that each sector of a raw disk comes from.

    :ivar size: size of the disk, in bytes
    :ivar layers: the sectors of each layer, from the leaf to the base. A
                  sector belongs to at most one layer: zeros that a layer has
                  written belong to it, and sectors that no layer has written
                  belong to none.
    """

    size: int
    layers: list[sectors.SectorMap]

    def cells(self, cell_size: int) -> list[list[int]]:
        """Cut the disk into cells, and count each layer's bytes in them.

        :param cell_size: in bytes, a power of two and at least a sector
        :returns: for each cell, the number of bytes from each layer
        """
        cells = [[0] * len(self.layers)
                 for _ in range(-(-self.size // cell_size))]
        for rank, owned in enumerate(self.layers):
            for region, mask in owned.regions():
                for offset, size in _amounts(region, mask, cell_size):
                    cells[offset // cell_size][rank] += size
        self._cut_last_sector(cells)
        return cells

    def sizes(self) -> list[int]:
        """Return the number of bytes that come from each layer."""
        cell_size = 1 << max(self.size, _SECTOR).bit_length()
        return self.cells(cell_size)[0]

    def extents(self, rank: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of the disk that come from one layer.

        :param rank: rank of the layer; 0 for the leaf
        :returns: (offset, size) in bytes, in order, no two of them adjacent
        """
        first, last = 0, 0
        for region, mask in sorted(self.layers[rank].regions()):
            for start, end in sectors.runs(mask, sectors.REGION_SECTORS):
                offset = region * _REGION + start * _SECTOR
                if offset != last:
                    if first != last:
                        yield first, last - first
                    first = offset
                last = region * _REGION + end * _SECTOR
        if first != last:
            yield first, min(last, self.size) - first

    def _cut_last_sector(self, cells: list[list[int]]) -> None:
        """Correct the counts if the disk ends inside a sector."""
        excess = -self.size % _SECTOR
        region, inside = divmod(self.size - 1, _REGION)
        last = 1 << ((_REGION - 1 - inside) // _SECTOR)
        for rank, owned in enumerate(self.layers):
            if excess and owned[region] & last:
                cells[-1][rank] -= excess


def _amounts(region: int, mask: int, cell_size: int,
             ) -> Iterator[tuple[int, int]]:
    """Count a region's bytes in a set, by cells: (offset, bytes)."""
    start = region * _REGION
    if cell_size >= _REGION:
        yield start, mask.bit_count() * _SECTOR
        return
    count = cell_size // _SECTOR
    for offset in range(_REGION - cell_size, -1, -cell_size):
        amount = mask & ((1 << count) - 1)
        if amount:
            yield start + offset, amount.bit_count() * _SECTOR
        mask >>= count

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


"""The raw disk: which sectors are decided.

A sector of a newer layer hides the same sector of all older ones. Layers may
come in any order: a layer writes the sectors that no newer layer has decided
yet, and they replace those that older layers have written.
"""

from collections.abc import Iterable
import dataclasses

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.disk import file as disk_file
from glance_xs_convert.converter.disk import sectors
from glance_xs_convert.converter.streams import forward

_SECTOR = sectors.SECTOR_SIZE


@dataclasses.dataclass(eq=False)
class _Span:
    """Layers that follow each other in the chain.

    :ivar first: the rank of the newest one
    :ivar last: the rank of the oldest one
    :ivar size: the size of the smallest one in bytes; no older layer shows
                beyond it
    :ivar decided: the sectors that they decide for older layers
    :ivar has_base: whether the last one is the base of the chain
    """

    first: int
    last: int
    size: int
    decided: sectors.SectorMap
    has_base: bool

    def joined(self, older: '_Span') -> '_Span':
        """Join this span and the one that follows it."""
        decided = self.decided
        if older.has_base:
            decided = sectors.SectorMap()
        elif older.decided is not decided:
            decided.update(older.decided)
        return _Span(self.first, older.last, min(self.size, older.size),
                     decided, older.has_base)


class RawDisk:
    """A raw disk that is assembled from layers in any order."""

    def __init__(self, file: disk_file.DiskFile) -> None:
        self._file = file
        #: The complete layers, and the one that is being written.
        self._spans: list[_Span] = []
        self._layer = _Span(0, 0, 0, sectors.SectorMap(), False)
        #: The regions in which something has been written.
        self._touched = bytearray()
        #: For the layer that is being written: the maps of newer layers, its
        #: own map if it is needed for older ones, and where the layer ends.
        self._newer: list[sectors.SectorMap] = []
        self._decides: sectors.SectorMap | None = None
        self._size = 0

    def begin_layer(self, rank: int, size: int, has_parent: bool) -> None:
        """Begin a layer, to which everything written from now on belongs.

        :param rank: its place in the chain, 0 for the leaf
        :param size: size of its disk, in bytes
        :param has_parent: whether older layers may show through
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
        """Check that there is space for the undecided sectors of blocks.

        :param blocks: (offset, size) of each, in bytes
        :raises OutOfSpace: the file system does not have enough
        """
        self._file.check_room(
            sum(self._undecided(offset, size) for offset, size in blocks))

    def _undecided(self, offset: int, size: int) -> int:
        """Count the bytes of a block that no newer layer has decided."""
        count = size // _SECTOR
        visible = (1 << count) - 1 if offset < self._size else 0
        return self._visible(offset, count, visible).bit_count() * _SECTOR

    def _visible(self, offset: int, count: int, written: int) -> int:
        """Return the sectors of a block that no newer layer has decided."""
        region, shift = _in_region(offset, count)
        for decided in self._newer:
            written &= ~(decided[region] >> shift)
        return written

    def end_layer(self) -> None:
        """Complete the current layer."""
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
        """Write the undecided sectors of an extent of the current layer.

        :param data: is read on by exactly the extent's size
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
        if size == extent.size and sectors.are_scattered(visible):
            self._file.write_sectors(extent.offset, size, visible, data)
            return
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
        """Remove everything that older layers have written after an offset."""
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
        """Note that a region may hold data."""
        if region >= len(self._touched):
            self._touched.extend(bytes(region + 1 - len(self._touched)))
        self._touched[region] = 1


def _in_region(offset: int, count: int) -> tuple[int, int]:
    """Return a block's region and the number of sectors that follow in it."""
    region, start = divmod(offset, sectors.REGION_SIZE)
    return region, sectors.REGION_SECTORS - start // _SECTOR - count

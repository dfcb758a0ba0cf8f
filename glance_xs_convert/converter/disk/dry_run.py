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

"""What a conversion would write, without writing it."""

from collections.abc import Iterator

from glance_xs_convert.converter.disk import first_sectors
from glance_xs_convert.converter.disk import sectors
from glance_xs_convert.converter.disk import zeros
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import maps

_SECTOR = sectors.SECTOR_SIZE
_PAGE = sectors.PAGE_SIZE
_REGION = sectors.REGION_SIZE


class DryRun:
    """Stands in for a ``SparseFile`` and keeps no data.

    :ivar end: the end of the last byte written, zeros included
    :ivar allocated: bytes that the file would occupy now on a file system with
                     blocks of 4 KiB; at most one block too many
    :ivar room: bytes of free space that the conversion requires
    :ivar start: first bytes of the disk
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.end = 0
        self.bytes_written = 0
        self.allocated = 0
        self.room = 0
        self.start = bytearray(first_sectors.SIZE)
        self._overwrites = False
        self._rank = 0
        self._pages = sectors.SectorMap()
        self._layers: dict[int, sectors.SectorMap] = {}

    def layer_map(self, size: int) -> maps.DiskMap:
        """Return a map of the layers that have written each sector.

        :param size: size of the disk, in bytes
        """
        return maps.DiskMap.of(
            size, len(self._layers), self._extents(size))

    def _extents(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield (offset, size, index of the layer), by offset."""
        layers = [dict(self._layers[rank].regions())
                  for rank in sorted(self._layers)]
        for region in sorted(set().union(*layers)):
            runs = sorted(
                (first, last, index) for index, layer in enumerate(layers)
                if region in layer for first, last in sectors.runs(
                    layer[region], sectors.REGION_SECTORS))
            for first, last, index in runs:
                start = region * _REGION + first * _SECTOR
                end = min(region * _REGION + last * _SECTOR, size)
                yield start, end - start, index

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        self._rank = rank
        self._overwrites = overwrites
        self._layers[rank] = sectors.SectorMap()

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        if self._overwrites:
            self._disown(offset, offset + size)
        self._own(offset, offset + size)
        for buffer, start, end in data.pieces(size):
            shift = offset - start
            for is_data, first, last in zeros.split(
                    buffer, start, end, shift):
                if is_data:
                    self._allocate(shift + first, shift + last)
                    self.bytes_written += last - first
                elif self._overwrites:
                    self._free(shift + first, shift + last)
            if offset < len(self.start):
                self._keep(offset, buffer[start:min(
                    end, start + len(self.start) - offset)])
            offset += end - start

    def write_sectors(self, offset: int, size: int, wanted: int,
                      data: forward.Reader) -> None:
        new = bytearray(size)
        sectors.overlay(new, data.read(size), wanted)
        count = -(-size // _SECTOR)
        region, inside = divmod(offset, _REGION)
        shift = sectors.REGION_SECTORS - inside // _SECTOR - count
        touched = wanted << shift
        if self._overwrites:
            for layer in self._layers.values():
                if layer[region] & touched:
                    layer.remove(region, touched)
        self._layers[self._rank].add(region, touched)
        last = (wanted & -wanted).bit_length() - 1
        self.end = max(self.end, offset + min(size, (count - last) * _SECTOR))
        data_sectors = 0
        for is_data, first, end in zeros.split(new, 0, size, offset):
            if is_data:
                [(_, mask)] = _masks(offset + first, offset + end)
                data_sectors |= mask
        self.bytes_written += (touched & data_sectors).bit_count() * _SECTOR
        self._allocate_pages(region, touched & data_sectors)
        if self._overwrites:
            self._free_pages(region, touched & ~data_sectors)
        for first, end in sectors.runs(wanted, count):
            start = offset + first * _SECTOR
            if start >= len(self.start):
                break
            self._keep(start, bytes(new[first * _SECTOR:end * _SECTOR])[
                :len(self.start) - start])

    def clear(self, offset: int, size: int) -> None:
        end = min(offset + size, self.end)
        self._disown(offset + -offset % _SECTOR, end)
        beyond = -end % _PAGE if end == self.end else 0
        self._free(offset, end + beyond)
        self._keep(offset, bytes(max(
            0, min(end, len(self.start)) - offset)))

    def _keep(self, offset: int, data: bytes) -> None:
        """Keep part of the first bytes."""
        self.start[offset:offset + len(data)] = data

    def set_size(self, size: int) -> None:
        self.clear(size, self.end - size)

    def check_room(self, size: int) -> None:
        """Record the space that is required; there is always enough."""
        if not self._overwrites:
            size += self.allocated
        self.room = max(self.room, size)

    def _own(self, start: int, end: int) -> None:
        self.end = max(self.end, end)
        layer = self._layers[self._rank]
        for region, touched in _masks(start, end):
            layer.add(region, touched)

    def _disown(self, start: int, end: int) -> None:
        for region, touched in _masks(start, end):
            for layer in self._layers.values():
                if layer[region] & touched:
                    layer.remove(region, touched)

    def _allocate(self, start: int, end: int) -> None:
        """Occupy all pages that the stretch touches."""
        for region, touched in _masks(start, end):
            self._allocate_pages(region, touched)

    def _allocate_pages(self, region: int, touched: int) -> None:
        new = sectors.all_pages(touched) & ~self._pages[region]
        if new:
            self._pages.add(region, new)
            self.allocated += new.bit_count() * _SECTOR
        self.room = max(self.room, self.allocated)

    def _free(self, start: int, end: int) -> None:
        """Give up the pages that lie wholly in the stretch."""
        for region, touched in _masks(start + -start % _SECTOR,
                                      end - end % _SECTOR):
            self._free_pages(region, touched)

    def _free_pages(self, region: int, touched: int) -> None:
        old = sectors.whole_pages(touched) & self._pages[region]
        if old:
            self._pages.remove(region, old)
            self.allocated -= old.bit_count() * _SECTOR


def _masks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """A stretch as regions and the sectors that it touches in each."""
    while start < end:
        region, first = divmod(start, _REGION)
        last = min(_REGION, first + end - start)
        count = -(-last // _SECTOR) - first // _SECTOR
        shift = (_REGION - last) // _SECTOR
        yield region, ((1 << count) - 1) << shift
        start += last - first

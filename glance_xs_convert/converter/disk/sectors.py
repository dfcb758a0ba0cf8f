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

"""Sets of sectors of a disk."""

from collections.abc import Iterator
import re

from glance_xs_convert.converter.disk import extents

SECTOR_SIZE = extents.SECTOR_SIZE
#: Sets of sectors are kept region by region, so that layers whose extents
#: differ in size can be compared.
REGION_SIZE = extents.REGION_SIZE
REGION_SECTORS = REGION_SIZE // SECTOR_SIZE
WHOLE_REGION = (1 << REGION_SECTORS) - 1
#: The unit in which a file system allocates space: zeros that fill a page of
#: the disk are left out of the file.
PAGE_SIZE = 4096

_SET_BITS = re.compile('1+')

#: In masks of whole regions, the first and the last sector of each page.
_FIRST_OF_PAGES = int.from_bytes(
    b'\x80' * (REGION_SIZE // PAGE_SIZE), 'big')
_LAST_OF_PAGES = int.from_bytes(b'\x01' * (REGION_SIZE // PAGE_SIZE), 'big')
_WHOLE_PAGE = 0xFF
#: From this number on, it is better to write runs that begin or end inside of
#: pages together: writing them one by one takes about 10 µs each, putting a
#: block together about 1 ms.
_MANY = 128


class SectorMap:
    """A set of sectors of the disk.

    Its memory grows with the number of regions that are partly in the set, not
    with the size of the disk.
    """

    def __init__(self) -> None:
        self._whole = bytearray()
        self._partly: dict[int, int] = {}

    def __getitem__(self, region: int) -> int:
        """Return the sectors of a region that are in the set.

        The most significant bit stands for the first sector.
        """
        if region < len(self._whole) and self._whole[region]:
            return WHOLE_REGION
        return self._partly.get(region, 0)

    def add(self, region: int, sectors: int) -> None:
        sectors |= self._partly.get(region, 0)
        if sectors != WHOLE_REGION:
            self._partly[region] = sectors
            return
        self._partly.pop(region, None)
        if region >= len(self._whole):
            self._whole.extend(bytes(region + 1 - len(self._whole)))
        self._whole[region] = 1

    def remove(self, region: int, sectors: int) -> None:
        left = self[region] & ~sectors
        if region < len(self._whole):
            self._whole[region] = 0
        self._partly.pop(region, None)
        if left:
            self.add(region, left)

    def regions(self) -> Iterator[tuple[int, int]]:
        """Yield each region with sectors in the set, and these sectors.

        The regions come in any order.
        """
        yield from self._partly.items()
        for region, whole in enumerate(self._whole):
            if whole:
                yield region, WHOLE_REGION

    def update(self, other: 'SectorMap') -> None:
        for region, sectors in other._partly.items():
            if self[region] != WHOLE_REGION:
                self.add(region, sectors)
        for region, whole in enumerate(other._whole):
            if whole:
                self.add(region, WHOLE_REGION)


def are_scattered(sectors: int) -> bool:
    """Whether many runs of a set of sectors begin or end inside of pages.

    :param sectors: mask whose last sector is the last one of a page
    """
    starts = sectors & ~(sectors >> 1) & ~_FIRST_OF_PAGES
    ends = sectors & ~(sectors << 1) & ~_LAST_OF_PAGES
    return starts.bit_count() + ends.bit_count() >= _MANY


def whole_pages(sectors: int) -> int:
    """Return those sectors of a region whose page is wholly in the set."""
    for shift in (1, 2, 4):
        sectors &= sectors >> shift
    return (sectors & _LAST_OF_PAGES) * _WHOLE_PAGE


def all_pages(sectors: int) -> int:
    """Return all sectors of the pages that have some in the set."""
    for shift in (1, 2, 4):
        sectors |= sectors >> shift
    return (sectors & _LAST_OF_PAGES) * _WHOLE_PAGE


def overlay(old: bytearray, new: bytes, sectors: int) -> None:
    """Copy those sectors of ``new`` that are in a set.

    :param old: as long as ``new``; the last sector may be shorter
    """
    source, target = memoryview(new), memoryview(old)
    for first, end in runs(sectors, -(-len(new) // SECTOR_SIZE)):
        part = slice(first * SECTOR_SIZE, end * SECTOR_SIZE)
        target[part] = source[part]


def runs(sectors: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of set bits among ``count`` as (start, end)."""
    if not sectors:
        return
    if sectors == (1 << count) - 1:
        yield 0, count
        return
    for run in _SET_BITS.finditer(format(sectors, f'0{count}b')):
        yield run.span()

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

"""Sets of sectors, against sets of numbers."""

import random
import unittest

import ddt

from glance_xs_convert.converter.disk import sectors

COUNT = sectors.REGION_SECTORS


def mask(numbers):
    """Sectors of one region as an integer; the first is the highest bit."""
    return sum(1 << (COUNT - 1 - number) for number in numbers)


def members(tested):
    """What is in a set, as (region, sector)."""
    return {(region, number)
            for region, found in tested.regions()
            for number, bit in enumerate(f'{found:0{COUNT}b}') if bit == '1'}


def some(rng):
    """Some sectors of a region: a few, many, all or none."""
    first = rng.randrange(COUNT)
    return rng.choice((
        (), range(COUNT), range(first, min(COUNT, first + 9)),
        range(first), range(first, COUNT), rng.sample(range(COUNT), 5)))


@ddt.ddt
class SectorMap(unittest.TestCase):

    @ddt.data(*range(10))
    def test_as_a_set(self, seed):
        rng = random.Random(seed)
        tested, wanted = sectors.SectorMap(), set()
        for _ in range(30):
            region, numbers = rng.randrange(4), some(rng)
            pairs = {(region, number) for number in numbers}
            if rng.randrange(3):
                tested.add(region, mask(numbers))
                wanted |= pairs
            else:
                tested.remove(region, mask(numbers))
                wanted -= pairs
            self.assertEqual(
                mask(number for place, number in wanted if place == region),
                tested[region])
        self.assertEqual(wanted, members(tested))

    @ddt.data(*range(10))
    def test_update(self, seed):
        rng = random.Random(seed)
        maps = [sectors.SectorMap(), sectors.SectorMap()]
        for _ in range(12):
            rng.choice(maps).add(rng.randrange(4), mask(some(rng)))
        wanted = members(maps[0]) | members(maps[1])
        untouched = members(maps[1])
        maps[0].update(maps[1])
        self.assertEqual(wanted, members(maps[0]))
        self.assertEqual(untouched, members(maps[1]))

    def test_regions_are_not_told_twice(self):
        tested = sectors.SectorMap()
        for numbers in (range(9), range(COUNT)):
            tested.add(3, mask(numbers))
        self.assertEqual([(3, sectors.WHOLE_REGION)], list(tested.regions()))

    def test_a_region_holds_the_largest_block(self):
        self.assertEqual(2 * 1024 ** 2, 512 * COUNT)


@ddt.ddt
class Runs(unittest.TestCase):

    @ddt.data(
        (0, 8, []), (0xFF, 8, [(0, 8)]), (0x80, 8, [(0, 1)]),
        (0x01, 8, [(7, 8)]), (0b0110_1011, 8, [(1, 3), (4, 5), (6, 8)]),
        (0b101, 12, [(9, 10), (11, 12)]), (1, 1, [(0, 1)]))
    @ddt.unpack
    def test_runs(self, bits, count, runs):
        self.assertEqual(runs, list(sectors.runs(bits, count)))

    @ddt.data(*range(20))
    def test_every_sector_once(self, seed):
        bits = random.Random(seed).getrandbits(COUNT)
        found = [number for start, end in sectors.runs(bits, COUNT)
                 for number in range(start, end)]
        self.assertEqual(
            [number for number in range(COUNT)
             if bits >> (COUNT - 1 - number) & 1], found)


@ddt.ddt
class Masks(unittest.TestCase):
    """What is said of whole masks, sector by sector."""

    COUNT = 4096

    def random(self, seed):
        rng = random.Random(seed)
        mask = rng.getrandbits(self.COUNT)
        for _ in range(seed % 4):
            mask |= rng.getrandbits(self.COUNT)
        return mask

    def pages(self, mask):
        return [mask >> shift & 0xFF for shift in range(0, self.COUNT, 8)]

    @ddt.data(*range(8))
    def test_pages(self, seed):
        mask = self.random(seed)
        for name, wanted in (
                ('whole_pages', lambda page: page if page == 0xFF else 0),
                ('all_pages', lambda page: 0xFF if page else 0)):
            self.assertEqual([*map(wanted, self.pages(mask))],
                             self.pages(getattr(sectors, name)(mask)))

    def test_scattered(self):
        every_other = int('01' * 2048, 2)
        self.assertTrue(sectors.are_scattered(every_other))
        self.assertTrue(sectors.are_scattered(int('00000001' * 512, 2)))
        for mask in (0, sectors.WHOLE_REGION, 1, int('0111' * 8, 2),
                     int(('0' * 8 + '1' * 8) * 256, 2)):
            self.assertFalse(sectors.are_scattered(mask))

    @ddt.data(8192, 8192 - 100)
    def test_overlay(self, size):
        old, new = bytearray(b'o' * size), b'n' * size
        sectors.overlay(old, new, 0b1000000000000101)
        self.assertEqual(
            (b'n' * 512 + b'o' * 6144 + b'n' * 512 + b'o' * 512
             + b'n' * 512)[:size], bytes(old))

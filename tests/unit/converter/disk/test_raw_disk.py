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


"""What shows of layers in any order, judged by painting sector by sector."""

import itertools
import random
import tempfile
import unittest

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.disk import raw_disk
from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter.streams import forward

SECTOR = 512
BLOCK = 8 * SECTOR


class Layer:
    """A layer of which each sector says whose it is.

    :ivar written: the sectors that are written, each with a number that is
                   zero for one of zeros
    """

    def __init__(self, rng, rank, blocks, has_parent):
        self.rank = rank
        self.size = blocks * BLOCK - rng.choice((0, 0, 3 * SECTOR, 100))
        self.has_parent = has_parent
        self.written = {
            sector: rng.choice((0, 1 + rank, 1 + rank))
            for sector in range(blocks * BLOCK // SECTOR)
            if rng.random() < 0.4}

    def write(self, disk):
        disk.begin_layer(self.rank, self.size, self.has_parent)
        for start in range(0, self.size, BLOCK):
            first = start // SECTOR
            mask, data = 0, b''
            for sector in range(first, first + BLOCK // SECTOR):
                mask = mask << 1 | (sector in self.written)
                # What was not written is stale.
                data += bytes([self.written.get(sector, 99)]) * SECTOR
            disk.write(extents.Extent(start, BLOCK, mask),
                       forward.ForwardReader([data]))
        disk.end_layer()


def painted(layers):
    """The disk that XenServer shows: a byte for each sector."""
    size = layers[0].size
    disk = bytearray(size)
    for sector in range(-(-size // SECTOR)):
        limit = size
        for layer in layers:
            limit = min(limit, layer.size)
            if sector * SECTOR >= limit:
                break
            if sector in layer.written:
                end = min((sector + 1) * SECTOR, limit)
                start = sector * SECTOR
                disk[start:end] = bytes(
                    [layer.written[sector]]) * (end - start)
                break
    return bytes(disk)


class RawDisk(unittest.TestCase):

    def compose(self, layers, order):
        with tempfile.TemporaryFile() as file:
            target = sparse_file.SparseFile(file.fileno())
            disk = raw_disk.RawDisk(target)
            for rank in order:
                layers[rank].write(disk)
            target.set_size(layers[0].size)
            file.seek(0)
            return file.read()

    def test_any_order_gives_what_is_painted(self):
        rng = random.Random('raw disk')
        for count in (1, 2, 3, 4):
            for _ in range(6):
                layers = [Layer(rng, rank, rng.randint(1, 6),
                                rank < count - 1) for rank in range(count)]
                expected = painted(layers)
                for order in itertools.permutations(range(count)):
                    with self.subTest(order=order):
                        self.assertEqual(expected,
                                         self.compose(layers, order))

    def test_regions_side_by_side(self):
        region = 2 * 1024 ** 2
        with tempfile.TemporaryFile() as file:
            target = sparse_file.SparseFile(file.fileno())
            disk = raw_disk.RawDisk(target)
            disk.begin_layer(0, 2 * region, False)
            for number, fill in enumerate((b'a', b'b')):
                disk.write(extents.Extent(
                    number * region, region, extents.all_written(region)),
                    forward.ForwardReader([fill * region]))
            disk.end_layer()
            file.seek(region - 1)
            self.assertEqual(b'ab', file.read(2))
            self.assertEqual(2 * region, target.bytes_written)

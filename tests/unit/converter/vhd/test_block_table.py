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


"""The table of blocks, and where it may say that they are."""

import dataclasses
import io
import struct
import unittest

import ddt

from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import block_table
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import vhd

SECTOR = 512
#: Of a block in the file: a sector of bitmap and eight of data.
STRIDE = 9 * SECTOR
UNUSED = 0xFFFFFFFF

LAYER = vhd.Layer(40 * 4096, block_size=4096)
FOOTER = layout.Footer.unpack(LAYER.tobytes()[:512])
HEADER = layout.DynamicHeader.unpack(LAYER.tobytes()[512:1536])


def read(entries, *, size=1 << 20, bounds=image_limits.DEFAULT):
    """Read a table with these entries, in sectors."""
    table = struct.pack(f'>{len(entries)}I', *entries)
    data = bytes(HEADER.table_offset) + table
    file = stream.VhdStream('0.vhd', size, forward.ForwardReader(
        iter(io.BytesIO(data).read, b'')), bounds)
    return block_table.read(file, FOOTER, dataclasses.replace(
        HEADER, max_table_entries=len(entries)))


@ddt.ddt
class Tables(unittest.TestCase):

    def test_blocks_come_in_the_order_of_the_file(self):
        table = read([UNUSED, 100, 50, UNUSED, 59])
        self.assertEqual(3, len(table))
        self.assertEqual([(50 * SECTOR, 2), (59 * SECTOR, 4),
                          (100 * SECTOR, 1)], list(table))

    def test_long_table(self):
        places = [16 * 1024 + number * 9 for number in range(9000)]
        entries = [UNUSED] * 5000 + places[::-1]
        table = read(entries, size=1 << 30)
        self.assertEqual(
            [(place * SECTOR, 5000 + number) for number, place in zip(
                reversed(range(9000)), places)], list(table))

    def test_empty(self):
        table = read([UNUSED] * 40)
        self.assertEqual([], list(table))
        self.assertIsNone(table.block_in(0, 1 << 20))

    @ddt.data((0, 50, None), (0, 51, 50), (50, 51, 50), (58, 59, 50),
              (59, 60, None), (59, 70, 60), (68, 69, 60), (69, 99, None),
              (0, 99, 60))
    def test_block_in(self, expected):
        start, end, sector = expected
        table = read([50, UNUSED, 60])
        found = table.block_in(start * SECTOR, end * SECTOR)
        self.assertEqual(
            None if sector is None else sector * SECTOR,
            None if found is None else found[0])

    @ddt.data(
        ([50, 58], 'blocks 0 and 1 overlap'),
        ([50, 50], 'blocks 0 and 1 overlap'),
        ([0], 'block 0 overlaps the copy of the footer'),
        ([UNUSED, 1], 'block 1 overlaps the header'),
        ([HEADER.table_offset // SECTOR], 'overlaps the block allocation'),
        ([2040], 'but the file has only 1 MiB'),
        ([UNUSED - 1], 'but the file has only 1 MiB'))
    @ddt.unpack
    def test_damaged(self, entries, message):
        with self.assertRaisesRegex(exceptions.DamagedVhd, message) as caught:
            read(entries)
        self.assertEqual('0.vhd', caught.exception.member)

    def test_no_room_for_so_many(self):
        with self.assertRaisesRegex(exceptions.DamagedVhd,
                                    'more than 21 blocks'):
            read([50 + number for number in range(40)], size=100_000)

    def test_slack(self):
        """What would be there with all blocks is no slack."""
        entries = [50, *[UNUSED] * 19]
        room = 20 * (4 + HEADER.size_in_file)
        bounds = dataclasses.replace(
            image_limits.DEFAULT, max_ignored_size=1000)
        read(entries, size=room + 1000, bounds=bounds)
        with self.assertRaisesRegex(exceptions.LimitExceeded, '1001 .* 1000'):
            read(entries, size=room + 1001, bounds=bounds)

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

"""The structures of a VHD, byte by byte."""

import unittest
import uuid

import ddt

from glance_xs_convert.converter.vhd import layout

from testbed.images import chains
from testbed.images import vhd

MIB = vhd.MIB


def footer(**fields):
    """The footer of a fixed disk of 64 KiB, as it lies in the file."""
    layer = vhd.Layer(64 * 1024, disk_type=vhd.FIXED, **fields)
    return layer.tobytes()[-512:]


def dynamic(**fields):
    """The footer copy and the header of a dynamic disk."""
    data = vhd.Layer(**{'current_size': 8 * MIB, **fields}).tobytes()
    return data[:512], data[512:1536]


@ddt.ddt
class Footer(unittest.TestCase):

    def test_fields(self):
        unique_id = uuid.UUID(int=0x0123456789ABCDEF)
        found = layout.Footer.unpack(footer(
            unique_id=unique_id, hidden=1, saved_state=1,
            original_size=1 << 33, time_stamp=77,
            creator_application=b'vs  ', creator_version=0x50003,
            creator_host_os=b'Wi2k'))
        self.assertEqual(
            (64 * 1024, 1 << 33, 2, unique_id, 1, 1, 77, b'vs  ', 0x50003,
             b'Wi2k', vhd.NO_OFFSET, vhd.geometry(64 * 1024)),
            (found.current_size, found.original_size, found.disk_type,
             found.unique_id, found.hidden, found.saved_state,
             found.time_stamp, found.creator_application,
             found.creator_version, found.creator_host_os,
             found.data_offset, found.disk_geometry))

    def test_packed_as_it_was(self):
        for data in (footer(), footer(hidden=1, unique_id=uuid.UUID(int=7)),
                     dynamic()[0]):
            self.assertEqual(data, layout.Footer.unpack(data).pack())

    def test_packed_with_the_right_checksum(self):
        data = footer()
        changed = data[:64] + b'\0\0\0\0' + data[68:]
        self.assertRaises(layout.LayoutError, layout.Footer.unpack, changed)
        hidden = layout.Footer.unpack(footer(
            hidden=1, hidden_unsummed=True, creator_version=1))
        self.assertEqual(footer(hidden=1, creator_version=1), hidden.pack())

    @ddt.data(0, 7, 8, 40, 64, 67, 68, 84, 85, 86, 511)
    def test_each_byte_is_summed(self, place):
        data = bytearray(footer())
        data[place] ^= 1
        self.assertRaises(layout.LayoutError, layout.Footer.unpack,
                          bytes(data))

    @ddt.data(0, 1, 5, 6, 0xFFFFFFFF)
    def test_disk_types_that_there_are_not(self, number):
        data = footer(footer_fields={'disk_type': number})
        with self.assertRaisesRegex(layout.LayoutError, str(number)):
            layout.Footer.unpack(data)

    def test_without_its_last_byte(self):
        """Virtual PC before 2004 wrote it so."""
        data = footer()
        self.assertEqual(layout.Footer.unpack(data),
                         layout.Footer.unpack(data[:-1]))
        self.assertEqual(data, layout.Footer.unpack(data[:-1]).pack())

    @ddt.data((1023, True), (511, True), (1024, False), (1022, False))
    @ddt.unpack
    def test_files_that_may_end_with_511_bytes(self, file_size, expected):
        self.assertEqual(expected, layout.Footer.may_be_short(file_size))

    def test_at_the_end_of_a_file(self):
        data = footer()
        found = layout.Footer.unpack(data)
        for end in (data, data[:-1], b'x' + data[:-1], b'xy' + data):
            self.assertEqual(found, layout.Footer.at_end_of(end))
        for end in (b'', data[:-2], data + b'x', bytes(512)):
            self.assertIsNone(layout.Footer.at_end_of(end))

    @ddt.data(0, 510, 513)
    def test_length(self, size):
        data = footer().ljust(size, b'\0')[:size]
        with self.assertRaisesRegex(layout.LayoutError, str(size)):
            layout.Footer.unpack(data)

    @ddt.data((b'tap\0', 1, True), (b'tap\0', 0x10001, True),
              (b'tap\0', 0x10003, False), (b'vs  ', 1, False))
    @ddt.unpack
    def test_hidden_after_it_was_summed(self, creator, version, is_right):
        data = footer(hidden=1, hidden_unsummed=True,
                      creator_application=creator, creator_version=version)
        if is_right:
            self.assertEqual(1, layout.Footer.unpack(data).hidden)
        else:
            self.assertRaises(layout.LayoutError, layout.Footer.unpack, data)

    @ddt.data((b'tap\0', 1, True), (b'tap\0', 0x10001, False),
              (b'qemu', 1, False))
    @ddt.unpack
    def test_order_of_the_bits(self, creator, version, is_lsb_first):
        found = layout.Footer.unpack(footer(
            creator_application=creator, creator_version=version))
        self.assertEqual(is_lsb_first, found.has_lsb_first_bitmaps)

    @ddt.data(
        ({'hidden': 1, 'time_stamp': 1}, True),
        ({'footer_fields': {'current_size': 512}}, False),
        ({'unique_id': chains.layer_id(3)}, False),
        ({'footer_fields': {'disk_type': 4}}, False),
        ({'layout': ('bat', 'header', 'blocks')}, False))
    @ddt.unpack
    def test_agreement(self, fields, agrees):
        one = layout.Footer.unpack(dynamic()[0])
        other = layout.Footer.unpack(dynamic(**fields)[0])
        self.assertEqual(agrees, one.agrees_with(other))

    def test_offset_does_not_count_for_a_fixed_disk(self):
        one = layout.Footer.unpack(footer())
        other = layout.Footer.unpack(footer(
            footer_fields={'data_offset': 512}))
        self.assertTrue(one.agrees_with(other))


@ddt.ddt
class DynamicHeader(unittest.TestCase):

    def test_fields(self):
        parent = uuid.UUID(int=42)
        _, data = dynamic(
            parent_unique_id=parent, parent_unicode_name='b\xe4se.vhd',
            block_size=512 * 1024, disk_type=vhd.DIFFERENCING)
        found = layout.DynamicHeader.unpack(data)
        self.assertEqual(
            (parent, 'b\xe4se.vhd', 512 * 1024, 16, 1536, vhd.NO_OFFSET),
            (found.parent_unique_id, found.parent_unicode_name,
             found.block_size, found.max_table_entries, found.table_offset,
             found.data_offset))

    @ddt.data(*range(9, 22))
    def test_sizes(self, exponent):
        """A bit for each sector of the block, and whole sectors of bits."""
        size = 1 << exponent
        found = layout.DynamicHeader.unpack(dynamic(
            block_size=size, current_size=size)[1])
        self.assertEqual(size // 512, found.sectors_per_block)
        self.assertEqual(512, found.bitmap_size)
        self.assertEqual(512 + size, found.size_in_file)

    @ddt.data((1, 512), (128, 512), (129, 1024), (1024, 4096))
    @ddt.unpack
    def test_table(self, entries, size):
        found = layout.DynamicHeader.unpack(dynamic(
            header_fields={'max_table_entries': entries})[1])
        self.assertEqual(4 * entries, found.table_size)
        self.assertEqual(found.table_offset + size, found.table_end)

    @ddt.data(0, 256, 511, 513, 1536, 3 * MIB, 4 * MIB, 1 << 31)
    def test_block_sizes_that_there_are_not(self, size):
        data = dynamic(header_fields={'block_size': size})[1]
        with self.assertRaisesRegex(layout.LayoutError, str(size)):
            layout.DynamicHeader.unpack(data)

    @ddt.data(0, 8, 36, 39, 64, 575, 576, 1023)
    def test_each_byte_is_summed(self, place):
        data = bytearray(dynamic()[1])
        data[place] ^= 1
        self.assertRaises(layout.LayoutError, layout.DynamicHeader.unpack,
                          bytes(data))

    @ddt.data(0, 1023, 1025)
    def test_length(self, size):
        data = dynamic()[1].ljust(size, b'\0')[:size]
        with self.assertRaisesRegex(layout.LayoutError, str(size)):
            layout.DynamicHeader.unpack(data)


class BatmapHeader(unittest.TestCase):

    def test_encryption(self):
        for encrypted in (False, True):
            data = vhd.Layer(8 * MIB, batmap=True,
                             encrypted=encrypted).tobytes()
            found = layout.BatmapHeader.unpack(data[2048:2560])
            self.assertEqual(encrypted, found.is_encrypted)

    def test_no_batmap(self):
        self.assertRaises(layout.LayoutError, layout.BatmapHeader.unpack,
                          bytes(512))


@ddt.ddt
class SectorMask(unittest.TestCase):

    @ddt.data(
        (b'\x80' + bytes(511), 4096, False, 1 << 4095),
        (b'\x01' + bytes(511), 4096, True, 1 << 4095),
        (b'\xa0' + b'\xff' * 511, 4, False, 0b1010),
        (b'\x05' + b'\xff' * 511, 4, True, 0b1010),
        (b'\xc1\x80' + bytes(510), 16, False, 0b11000001_10000000),
        (b'\x83\x01' + bytes(510), 16, True, 0b11000001_10000000),
        (b'\x80' + bytes(511), 1, False, 1),
        (b'\x7f' + bytes(511), 1, False, 0))
    @ddt.unpack
    def test_mask(self, bitmap, sectors, lsb_first, mask):
        self.assertEqual(
            mask, layout.sector_mask(bitmap, sectors, lsb_first))

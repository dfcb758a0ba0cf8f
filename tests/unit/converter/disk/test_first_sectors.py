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

"""What the first sectors of a disk show."""

import struct
import unittest
import uuid

import ddt

from glance_xs_convert.converter.disk import first_sectors

SECTOR = 512
EFI_SYSTEM = uuid.UUID('c12a7328-f81f-11d2-ba4b-00a0c93ec93b')
LINUX = uuid.UUID('0fc63daf-8483-4772-8e79-3d69d8477de4')


def mbr(*kinds, code=b''):
    """A master boot record with partitions of some kinds."""
    entries = b''.join(
        struct.pack('<BBBBBBBBII', 0x80 if number == 0 else 0, 0, 2, 0, kind,
                    0, 0, 0, 2048 * (number + 1), 2048)
        for number, kind in enumerate(kinds))
    return (code.ljust(440, b'\0') + bytes(6) + entries.ljust(64, b'\0')
            + b'\x55\xaa')


def gpt(*types, code=b'', size=128, count=128):
    """A GUID partition table with partitions of some types."""
    header = (b'EFI PART' + bytes(64)
              + struct.pack('<QIII', 2, count, size, 0)).ljust(SECTOR, b'\0')
    entries = b''.join(
        (kind.bytes_le + uuid.uuid4().bytes).ljust(size, b'\0')
        for kind in types)
    return mbr(0xEE, code=code) + header + entries


@ddt.ddt
class FirstSectors(unittest.TestCase):

    def check(self, data, table, has_efi, has_code):
        found = first_sectors.examine(data)
        self.assertEqual(
            (table, has_efi, has_code),
            (found.partition_table, found.has_efi_system_partition,
             found.has_boot_code))

    def test_mbr(self):
        self.check(mbr(0x83, code=b'\xeb\x63'), 'MBR', False, True)
        self.check(mbr(0x83), 'MBR', False, False)
        self.check(mbr(0x83, 0x82, 0x8E, 0xEF), 'MBR', True, False)

    def test_gpt(self):
        self.check(gpt(LINUX, LINUX), 'GPT', False, False)
        self.check(gpt(LINUX, code=b'\xeb\x63'), 'GPT', False, True)
        self.check(gpt(LINUX, EFI_SYSTEM), 'GPT', True, False)
        self.check(gpt(*[LINUX] * 127, EFI_SYSTEM), 'GPT', True, False)
        self.check(gpt(LINUX, EFI_SYSTEM, size=256), 'GPT', True, False)

    def test_a_gpt_without_its_protective_record(self):
        self.check(bytes(SECTOR) + gpt(EFI_SYSTEM)[SECTOR:], 'GPT', True,
                   False)

    @ddt.data((0, 128), (128, 0), (1, 1), (2 ** 32 - 1, 2 ** 32 - 1))
    @ddt.unpack
    def test_numbers_that_make_no_sense(self, count, size):
        data = bytearray(gpt(EFI_SYSTEM))
        struct.pack_into('<II', data, SECTOR + 80, count, size)
        self.assertEqual('GPT',
                         first_sectors.examine(bytes(data)).partition_table)

    def test_a_table_somewhere_else(self):
        data = bytearray(gpt(EFI_SYSTEM))
        struct.pack_into('<Q', data, SECTOR + 72, 2 ** 64 - 1)
        self.check(bytes(data), 'GPT', False, False)

    def test_nothing(self):
        self.check(b'', None, False, False)
        self.check(bytes(first_sectors.SIZE), None, False, False)
        self.check(b'\xff' * first_sectors.SIZE, None, False, False)

    def test_file_systems_without_a_table(self):
        fat = bytearray(mbr(code=b'\xeb\x58\x90mkfs.fat'))
        fat[82:87] = b'FAT32'
        fat[446:510] = b'no partition table, but text that is shown'.ljust(64)
        self.check(bytes(fat), None, False, True)
        ntfs = bytearray(mbr(0x83, code=b'\xeb\x52\x90NTFS    code'))
        self.check(bytes(ntfs), None, False, True)

    def test_more_than_is_looked_at(self):
        data = gpt(LINUX).ljust(first_sectors.SIZE, b'\0')
        self.check(data + EFI_SYSTEM.bytes_le * 1000, 'GPT', False, False)

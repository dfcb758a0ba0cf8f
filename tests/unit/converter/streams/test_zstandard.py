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

"""Zstandard data, sound and hostile."""

import io
import random
import time
import unittest

import ddt

from glance_xs_convert.converter.streams import zstandard
from glance_xs_convert import exceptions

from testbed.images import archive

MIB = 1 << 20
DATA = random.Random('zstandard').randbytes(3 * MIB)
SKIPPABLE = b'\x5a\x2a\x4d\x18\x04\0\0\0skip'
PARAMETERS = archive.zstd.CompressionParameter


def decompress(packed):
    reader = zstandard.decompressor(
        io.BufferedReader(io.BytesIO(packed)))
    found = []
    while data := reader.read(MIB):
        found.append(data)
    return b''.join(found)


@ddt.ddt
class Zstandard(unittest.TestCase):

    def test_frames(self):
        packed = archive.zstandard([DATA, 5 * MIB, DATA], frame_size=MIB)
        self.assertEqual(DATA + bytes(5 * MIB) + DATA,
                         decompress(packed))

    def test_frames_that_are_to_be_skipped(self):
        packed = archive.zstandard([DATA])
        for data in (SKIPPABLE + packed, packed + SKIPPABLE,
                     packed + SKIPPABLE + packed):
            self.assertTrue(zstandard.is_zstandard(data))
            self.assertEqual(DATA * data.count(packed[:1000]),
                             decompress(data))

    def test_what_is_zstandard(self):
        self.assertTrue(zstandard.is_zstandard(archive.zstandard([b'x'])))
        for other in (b'', b'\x28\xb5\x2f', b'\x4f\x2a\x4d\x18',
                      b'\x60\x2a\x4d\x18', b'\x1f\x8b\x08\0', bytes(9)):
            self.assertFalse(zstandard.is_zstandard(other))

    def test_cut(self):
        packed = archive.zstandard([DATA])
        for size in (0, 3, 4, 9, len(packed) // 2, len(packed) - 1):
            with self.assertRaisesRegex(exceptions.DamagedArchive, 'cut'):
                decompress(packed[:size])

    @ddt.data(4, 1000, -3)
    def test_damaged(self, place):
        packed = bytearray(archive.zstandard([DATA]))
        packed[place] ^= 0x40
        with self.assertRaises(exceptions.XsConvertError):
            decompress(bytes(packed))

    def test_what_follows_has_to_be_a_frame(self):
        with self.assertRaises(exceptions.DamagedArchive):
            decompress(archive.zstandard([DATA]) + bytes(20))

    def test_windows(self):
        packed = archive.zstandard(
            [DATA], options={PARAMETERS.window_log: 27})
        self.assertEqual(DATA, decompress(packed))
        for log in (28, 30):
            packed = archive.zstandard(
                [DATA], options={PARAMETERS.window_log: log})
            with self.assertRaisesRegex(exceptions.LimitExceeded, '128 MiB'):
                decompress(packed)

    def test_a_bomb(self):
        frame = archive.zstandard([256 * MIB])
        reader = zstandard.decompressor(
            io.BufferedReader(io.BytesIO(frame * 1000)))
        start = time.process_time()
        with self.assertRaises(exceptions.LimitExceeded):
            while reader.read(MIB):
                pass
        self.assertLess(time.process_time() - start, 20)

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

"""Bzip2 and xz data, sound and hostile."""

import bz2
import io
import lzma
import random
import time
import unittest
from unittest import mock

import ddt

from glance_xs_convert.converter.streams import bzip2
from glance_xs_convert.converter.streams import frames
from glance_xs_convert.converter.streams import xz
from glance_xs_convert import exceptions

MIB = 1 << 20
#: More than one block of bzip2's, at the level of the tests.
DATA = random.Random('frames').randbytes(300_000)
FORMATS = {
    'bzip2': (bzip2, lambda data: bz2.compress(data, 1)),
    'xz': (xz, lambda data: lzma.compress(data, preset=1))}


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, data, step):
        super().__init__()
        self._data = io.BytesIO(data)
        self._step = step

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(memoryview(buffer)[:self._step])


def decompress(module, packed, size=MIB, step=1 << 20):
    reader = module.decompressor(
        io.BufferedReader(Trickle(packed, step)))
    found = []
    while data := reader.read(size):
        found.append(data)
        if len(data) > size:
            raise AssertionError('more than was asked for')
    return b''.join(found)


@ddt.ddt
class Frames(unittest.TestCase):

    @ddt.data(*FORMATS)
    def test_streams(self, name):
        module, compress = FORMATS[name]
        packed = (compress(DATA) + compress(b'') + compress(bytes(9 * MIB))
                  + compress(DATA))
        wanted = DATA + bytes(9 * MIB) + DATA
        self.assertEqual(wanted, decompress(module, packed))
        self.assertEqual(wanted, decompress(module, packed, 70_001, 977))

    @ddt.data(*FORMATS)
    def test_zeros_may_follow_a_stream(self, name):
        module, compress = FORMATS[name]
        packed = compress(b'one')
        for zeros in (1, 4, 511, 700_000):
            self.assertEqual(b'one', decompress(
                module, packed + bytes(zeros)))
            self.assertEqual(b'oneone', decompress(
                module, packed + bytes(zeros) + packed + bytes(zeros)))

    @ddt.data(*FORMATS)
    def test_nothing_else_may_follow(self, name):
        module, compress = FORMATS[name]
        packed = compress(b'one')
        for garbage in (b'x', b'garbage ' * 9, packed[:10],
                        bytes(8) + b'garbage ' * 9):
            with self.assertRaises(exceptions.DamagedArchive):
                decompress(module, packed + garbage)

    @ddt.data(*FORMATS)
    def test_cut(self, name):
        module, compress = FORMATS[name]
        packed = compress(DATA)
        for size in (0, 5, 12, len(packed) // 2, len(packed) - 1):
            with self.assertRaisesRegex(
                    exceptions.DamagedArchive, f'the {name} data .*cut'):
                decompress(module, packed[:size])

    @ddt.data(*FORMATS)
    def test_damaged(self, name):
        module, compress = FORMATS[name]
        for place in (4, 40, 1000, -3):
            packed = bytearray(compress(DATA))
            packed[place] ^= 0x40
            with self.assertRaisesRegex(
                    exceptions.DamagedArchive, f'the {name} data is damaged'):
                decompress(module, bytes(packed))

    @ddt.data(*FORMATS)
    def test_a_bomb(self, name):
        """So much is free, and the rest has to be in proportion."""
        module, compress = FORMATS[name]
        packed = compress(bytes(32 * MIB))
        read = 0
        with (mock.patch.object(frames, '_FREE', 64 * MIB),
              self.assertRaisesRegex(
                  exceptions.LimitExceeded, 'out of proportion')):
            reader = module.decompressor(
                io.BufferedReader(Trickle(packed * 1000, 1000)))
            while data := reader.read(MIB):
                read += len(data)
        self.assertLessEqual(64 * MIB, read)
        self.assertLess(read, 128 * MIB)

    @ddt.data(*FORMATS)
    def test_many_empty_streams(self, name):
        module, compress = FORMATS[name]
        start = time.process_time()
        self.assertEqual(
            b'', decompress(module, compress(b'') * 50_000))
        self.assertLess(time.process_time() - start, 10)

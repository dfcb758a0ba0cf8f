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

"""Gzip data, with either of the libraries that may be installed."""

import gzip
import io
import random
import unittest
from unittest import mock
import zlib

import ddt

from glance_xs_convert.converter.streams import decompress
from glance_xs_convert import exceptions

DATA = random.Random('gzip').randbytes(200_000)
PACKED = gzip.compress(DATA, 1)
LIBRARIES = {
    'installed': (decompress._GzipFile, decompress._error),
    'standard': (gzip.GzipFile, zlib.error)}


class Trickle:
    """Gives a few bytes at a time, and none that is not there yet."""

    def __init__(self, data, step):
        self._data = io.BytesIO(data)
        self._step = step
        self.position = 0

    def read1(self, size):
        data = self._data.read(min(size, self._step))
        self.position += len(data)
        return data


@ddt.ddt
class Gunzip(unittest.TestCase):

    def unpack(self, library, packed, step=1 << 20, size=70_001):
        file, error = LIBRARIES[library]
        with (mock.patch.object(decompress, '_GzipFile', file),
              mock.patch.object(decompress, '_error', error)):
            reader = decompress.Gunzip(Trickle(packed, step))
            found = []
            while data := reader.read(size):
                self.assertLessEqual(len(data), size)
                found.append(data)
            return b''.join(found)

    @ddt.data(*LIBRARIES)
    def test_members(self, library):
        packed = PACKED + gzip.compress(b'') + PACKED
        for step in (977, 1 << 20):
            self.assertEqual(DATA * 2, self.unpack(library, packed, step))

    @ddt.data(*LIBRARIES)
    def test_zeros_may_follow(self, library):
        self.assertEqual(DATA, self.unpack(library, PACKED + bytes(5000)))

    @ddt.data(*LIBRARIES)
    def test_garbage_must_not_follow(self, library):
        for garbage in (b'garbage' * 9, bytes(8) + b'garbage' * 9):
            with self.assertRaises(exceptions.DamagedArchive):
                self.unpack(library, PACKED + garbage)

    @ddt.data(*LIBRARIES)
    def test_cut(self, library):
        for size in (1, 9, 10, len(PACKED) // 2, len(PACKED) - 9,
                     len(PACKED) - 1):
            with self.assertRaisesRegex(exceptions.DamagedArchive,
                                        'the gzip data '):
                self.unpack(library, PACKED[:size])

    @ddt.data(*LIBRARIES)
    def test_damaged(self, library):
        """The method, the stream, its checksum, and its length."""
        for place in (2, 11, -5, -1):
            packed = bytearray(PACKED)
            packed[place] ^= 0x04
            with self.assertRaises(exceptions.DamagedArchive):
                self.unpack(library, bytes(packed))

    def test_waits_for_no_more_than_it_needs(self):
        """What a slow client has sent so far is decompressed."""
        source = Trickle(PACKED, 1000)
        reader = decompress.Gunzip(source)
        found = reader.read(100)
        self.assertEqual(DATA[:len(found)], found)
        self.assertLess(0, len(found))
        self.assertLess(source.position, len(PACKED) // 2)

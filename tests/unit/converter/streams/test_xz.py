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

"""Xz data that needs much memory, and what only resembles it."""

import io
import lzma
import random
import unittest

from glance_xs_convert.converter.streams import xz
from glance_xs_convert import exceptions

MIB = 1 << 20
DATA = b'data of an image' * 1000
NOISE = random.Random('xz').randbytes(1000)


def decompress(packed):
    reader = xz.decompressor(io.BufferedReader(io.BytesIO(packed)))
    return b''.join(iter(lambda: reader.read(MIB), b''))


def xz_with_dictionary(size):
    return lzma.compress(b'x', filters=[
        {'id': lzma.FILTER_LZMA2, 'preset': 0, 'dict_size': size}])


class Xz(unittest.TestCase):

    def test_dictionaries(self):
        self.assertEqual(
            b'x', decompress(xz_with_dictionary(128 * MIB)))
        for size in (129, 192, 1536):
            with self.assertRaisesRegex(
                    exceptions.LimitExceeded, '128 MiB'):
                decompress(xz_with_dictionary(size * MIB))

    def test_lzma_is_not_xz(self):
        with self.assertRaises(exceptions.DamagedArchive):
            decompress(lzma.compress(DATA, lzma.FORMAT_ALONE))

    def test_checksums(self):
        """What cannot be made smaller is stored as it is."""
        for check in (lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64,
                      lzma.CHECK_SHA256):
            packed = lzma.compress(DATA, check=check)
            self.assertEqual(DATA, decompress(packed))
            stored = bytearray(lzma.compress(NOISE, check=check))
            stored[stored.index(NOISE[500:510])] ^= 1
            if check != lzma.CHECK_NONE:
                with self.assertRaises(exceptions.DamagedArchive):
                    decompress(bytes(stored))

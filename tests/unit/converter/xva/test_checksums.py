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

import hashlib
import os
import threading
import unittest

import ddt
import xxhash

from glance_xs_convert.converter.xva import checksums


@ddt.ddt
class Checksums(unittest.TestCase):

    def sums_of(self, pieces, kinds=('xxhash', 'checksum')):
        with checksums.Checksums() as sums:
            sums.begin(kinds)
            for piece in pieces:
                sums.update(memoryview(piece))
            return [sums.hexdigest(kind) for kind in kinds]

    @ddt.data([], [b''], [b'abc'], [b'x' * 65535, b'y' * 65536, b'z'],
              [bytes(1 << 20)] * 9 + [b'end'])
    def test_order_is_kept(self, pieces):
        """Small pieces are added here, large ones by a thread."""
        data = b''.join(pieces)
        self.assertEqual(
            [xxhash.xxh64(data).hexdigest(),
             hashlib.sha1(data, usedforsecurity=False).hexdigest()],
            self.sums_of(pieces))

    def test_chunks_are_apart(self):
        with checksums.Checksums() as sums:
            for data in (os.urandom(100_000), b'small', b''):
                sums.begin(['xxhash'])
                sums.update(memoryview(data))
                self.assertEqual(xxhash.xxh64(data).hexdigest(),
                                 sums.hexdigest('xxhash'))

    def test_what_was_not_begun(self):
        with checksums.Checksums() as sums:
            sums.begin(['checksum'])
            with self.assertRaises(KeyError):
                sums.hexdigest('xxhash')

    def test_the_thread_ends(self):
        before = {*threading.enumerate()}
        with self.assertRaises(ZeroDivisionError), checksums.Checksums() as it:
            it.begin(['xxhash'])
            it.update(memoryview(bytes(1 << 20)))
            raise ZeroDivisionError
        self.assertEqual(set(), {*threading.enumerate()} - before)

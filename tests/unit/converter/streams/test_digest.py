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
import threading
import unittest

from glance_xs_convert.converter.streams import digest


class Digest(unittest.TestCase):

    def test_pieces(self):
        pieces = [bytes([number]) * 70_000 for number in range(30)]
        with digest.Digest() as found:
            for piece in pieces:
                found.update(memoryview(piece))
            self.assertEqual(hashlib.sha256(b''.join(pieces)).hexdigest(),
                             found.hexdigest())
            # It can go on.
            found.update(memoryview(b'end'))
            self.assertEqual(
                hashlib.sha256(b''.join([*pieces, b'end'])).hexdigest(),
                found.hexdigest())

    def test_nothing(self):
        with digest.Digest() as found:
            self.assertEqual(hashlib.sha256().hexdigest(), found.hexdigest())

    def test_data_may_change_afterwards(self):
        buffer = bytearray(b'before')
        with digest.Digest() as found:
            for _ in range(5):
                buffer[:] = b'before'
                found.update(memoryview(buffer))
                buffer[:] = b'behind'
            self.assertEqual(hashlib.sha256(b'before' * 5).hexdigest(),
                             found.hexdigest())

    def test_restart_with_other_algorithms(self):
        with digest.Digest() as found:
            found.update(memoryview(b'forgotten'))
            found.restart('sha1', 'sha512')
            found.update(memoryview(b'data'))
            self.assertEqual(
                {'sha1': hashlib.sha1(
                    b'data', usedforsecurity=False).hexdigest(),
                 'sha512': hashlib.sha512(b'data').hexdigest()},
                found.hexdigests())

    def test_unknown_algorithm(self):
        with digest.Digest() as found, self.assertRaises(ValueError):
            found.restart('rot13')

    def test_the_thread_ends(self):
        before = {*threading.enumerate()}
        with digest.Digest() as found:
            found.update(memoryview(b'data'))
        self.assertEqual(set(), {*threading.enumerate()} - before)

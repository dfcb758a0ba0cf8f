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


"""What a sparse file holds, how much room it takes, and how it fails."""

import os
import resource
import signal
import tempfile
import unittest

from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions

PAGE = 4096


class SparseFile(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)
        self.target = sparse_file.SparseFile(self.file.fileno())

    def write(self, offset, data):
        self.target.write(offset, len(data), forward.ForwardReader([data]))

    def content(self):
        self.file.seek(0)
        return self.file.read()

    def data(self):
        """Where the file has data, as the operating system says."""
        found = []
        end = 0
        size = os.fstat(self.file.fileno()).st_size
        while end < size:
            try:
                start = os.lseek(self.file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(self.file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))
        return found

    def test_zeros_become_holes(self):
        self.write(PAGE, b'a' * PAGE + bytes(64 * PAGE) + b'b' * PAGE)
        self.target.set_size(100 * PAGE)
        self.assertEqual(
            bytes(PAGE) + b'a' * PAGE + bytes(64 * PAGE) + b'b' * PAGE
            + bytes(33 * PAGE), self.content())
        self.assertEqual([(PAGE, 2 * PAGE), (66 * PAGE, 67 * PAGE)],
                         self.data())
        self.assertEqual(2 * PAGE, self.target.bytes_written)

    def test_zeros_over_data_give_it_up(self):
        self.target.begin_layer(1, overwrites=False)
        self.write(0, b'a' * (64 * PAGE))
        self.target.begin_layer(0, overwrites=True)
        self.write(8 * PAGE, bytes(32 * PAGE))
        self.assertEqual(b'a' * (8 * PAGE) + bytes(32 * PAGE)
                         + b'a' * (24 * PAGE), self.content())
        self.assertEqual([(0, 8 * PAGE), (40 * PAGE, 64 * PAGE)],
                         self.data())

    def test_clear(self):
        self.write(0, b'a' * (4 * PAGE))
        self.target.clear(100, PAGE)
        self.target.clear(3 * PAGE, 1000 * PAGE)
        self.assertEqual(
            b'a' * 100 + bytes(PAGE) + b'a' * (2 * PAGE - 100)
            + bytes(PAGE), self.content())

    def test_restart(self):
        self.write(0, b'a' * PAGE)
        self.target.restart()
        self.assertEqual(b'', self.content())
        self.assertEqual(0, self.target.bytes_written)
        self.assertEqual(0, self.target.end)

    def test_room(self):
        self.target.check_room(PAGE)
        with self.assertRaisesRegex(exceptions.OutOfSpace,
                                    rf'needs 1048576 TiB \({1 << 60} bytes\)'):
            self.target.check_room(1 << 60)

    def test_limit_of_the_process(self):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, ignored)
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, before[1]))
        try:
            with self.assertRaises(exceptions.LimitExceeded):
                self.write(PAGE, b'a' * PAGE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_descriptor_that_cannot_be_written(self):
        with (tempfile.NamedTemporaryFile() as file,
              open(file.name, 'rb') as readable):
            self.target = sparse_file.SparseFile(readable.fileno())
            with self.assertRaisesRegex(exceptions.UnwritableTarget,
                                        'Bad file descriptor'):
                self.write(0, b'a')

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

"""A file is written to the disk while it grows."""

import os
import threading
import time
from unittest import mock

from glance_xs_convert import publish
from glance_xs_convert import writeback

from tests.unit import cases
from tests.unit import files


class WrittenBack(files.FilesCase):

    def test_written_back_meanwhile(self):
        """A slow disk does not take its time at the end only."""
        calls = []
        seen = threading.Event()

        def begin(*arguments):
            calls.append(arguments)
            seen.set()
            return 0

        with (mock.patch.object(writeback, '_write_starter', lambda: begin),
              mock.patch.object(writeback, '_INTERVAL', 0.001),
              publish.new_file(self.target) as descriptor):
            self.assertTrue(seen.wait(cases.PATIENCE))
        self.assertEqual((descriptor, 0, 0, 2), calls[0])
        before = len(calls)
        time.sleep(0.05)
        self.assertEqual(before, len(calls))

    def test_kernel_begins_to_write(self):
        begin = writeback._write_starter()
        descriptor = os.open(self.target, os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, descriptor)
        os.write(descriptor, b'data')
        self.assertEqual(0, begin(descriptor, 0, 0, 2))

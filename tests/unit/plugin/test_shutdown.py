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

"""Finding out that Glance's process is about to end."""

import subprocess
import sys
import threading
import unittest
from unittest import mock

from glance_xs_convert.plugin import shutdown

#: A thread of a pool that asks until the process waits for it to end.
_PROCESS = '''
from concurrent import futures
import time

from glance_xs_convert.plugin import shutdown

def ask():
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if shutdown.has_begun():
            print('has begun')
            return
        time.sleep(0.01)

pool = futures.ThreadPoolExecutor()
pool.submit(ask)
time.sleep(0.2)
print('ends', flush=True)
'''


class Shutdown(unittest.TestCase):

    def test_process_that_ends(self):
        ended = subprocess.run(
            [sys.executable, '-c', _PROCESS], capture_output=True, text=True,
            env={'PYTHONPATH': ':'.join(sys.path)}, check=True)
        self.assertEqual(['ends', 'has begun'], ended.stdout.split('\n')[:2])

    def test_process_that_lives(self):
        """Asking often starts no more than the one thread."""
        start = threading.Thread.start
        with mock.patch.object(threading.Thread, 'start', autospec=True,
                               side_effect=start) as started:
            for _ in range(100):
                self.assertFalse(shutdown.has_begun())
        self.assertLessEqual(started.call_count, 1)

    def test_thread_that_cannot_be_started(self):
        """That a system is short of threads does not mean that it ends."""
        with (mock.patch.object(shutdown, '_pool',
                                shutdown.futures.ThreadPoolExecutor(1)),
              mock.patch.object(
                  threading.Thread, 'start', autospec=True,
                  side_effect=RuntimeError("can't start new thread"))):
            self.assertFalse(shutdown.has_begun())

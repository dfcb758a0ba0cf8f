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

import os
import pathlib
import subprocess
import time

from glance_xs_convert import exceptions
from glance_xs_convert.worker import priority

from tests.unit.worker import base


def own_niceness():
    """The niceness of the tests."""
    return os.getpriority(os.PRIO_PROCESS, 0)


class Priority(base.WorkerCase):

    def test_steps_back(self):
        """All its processes do, from the start."""
        found = set()

        def look(progress):
            started = base.children()
            found.update(os.getpriority(os.PRIO_PROCESS, pid)
                         for pid in (*started, *base.children(*started)))

        self.assert_ends(exceptions.LimitExceeded, 'processor time',
                         base.slow_archive(), max_cpu_time=1,
                         niceness=own_niceness() + 2, on_progress=look)
        self.assertEqual({own_niceness() + 2}, found)

    def test_session_steps_back(self):
        autogroup = pathlib.Path('/proc/self/autogroup')
        if not autogroup.exists():
            self.skipTest('Linux does not schedule by session here')
        with subprocess.Popen(['cat'], stdin=subprocess.PIPE,
                              start_new_session=True) as process:
            priority.step_back(process.pid, 19)
            self.assertEqual(19, os.getpriority(os.PRIO_PROCESS, process.pid))
            self.assertRegex(
                pathlib.Path(f'/proc/{process.pid}/autogroup').read_text(),
                ' nice 19$')
            process.stdin.close()

    def test_does_not_step_forward(self):
        with subprocess.Popen(['nice', '-n', '5', 'cat'],
                              stdin=subprocess.PIPE) as process:
            before = own_niceness() + 5
            while os.getpriority(os.PRIO_PROCESS, process.pid) != before:
                time.sleep(0.01)
            priority.step_back(process.pid, 0)
            self.assertEqual(
                before, os.getpriority(os.PRIO_PROCESS, process.pid))
            process.stdin.close()

    def test_process_is_gone(self):
        with subprocess.Popen(['true']) as process:
            pass
        priority.step_back(process.pid, 19)

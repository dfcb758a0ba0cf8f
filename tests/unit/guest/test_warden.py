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
"""The warden by itself, with and without namespaces of its own."""

import json
import pathlib
import subprocess
import sys
import time

from tests import processes
from tests.unit import cases

#: Where the kernel permits no namespaces, it is as if they had not been asked
#: for.
_WITHOUT = ('import sys\n'
            'from glance_xs_convert.guest import warden\n'
            'warden._isolate = lambda libc: None\n'
            'sys.exit(warden.main())\n')
_WITH = ('import sys\n'
         'from glance_xs_convert.guest import warden\n'
         'sys.exit(warden.main())\n')
#: A tool that leaves a process in a session of its own.
_LEAVES = 'setsid sleep {} & exec sleep {}'


class Warden(cases.ScratchCase):

    def begin(self, program, script, **limits):
        scratch = self.scratch / 'scratch'
        scratch.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, '-c', program], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env={'PYTHONPATH': ':'.join(sys.path)}, cwd=cases.ROOT,
            start_new_session=True)
        for pipe in (process.stdin, process.stdout, process.stderr):
            self.addCleanup(pipe.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdin.write(json.dumps({
            'command': ['/bin/sh', '-c', script], 'scratch': str(scratch),
            'environment': {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'},
            'limits': limits}).encode() + b'\n')
        return process

    def wait_for(self, condition):
        deadline = time.monotonic() + cases.PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_status(self):
        for program in (_WITH, _WITHOUT):
            for script, expected in (('exit 0', 0), ('exit 7', 7),
                                     ('kill -KILL $$', 137)):
                process = self.begin(program, script)
                self.assertEqual(expected, process.wait(cases.PATIENCE))
                self.assertTrue((self.scratch / 'scratch').exists())

    def test_program_that_is_missing(self):
        process = self.begin(_WITH, 'exec /no/such/program')
        self.assertEqual(127, process.wait(cases.PATIENCE))

    def test_limits(self):
        process = self.begin(_WITH, 'ulimit -c; ulimit -f',
                             RLIMIT_CORE=0, RLIMIT_FSIZE=512 * 1000)
        process.wait(cases.PATIENCE)
        self.assertEqual(b'0\n1000\n', process.stdout.read())

    def test_standard_input_is_empty(self):
        process = self.begin(_WITH, 'cat; echo over')
        self.assertEqual(0, process.wait(cases.PATIENCE))
        self.assertEqual(b'over\n', process.stdout.read())

    def test_nothing_is_left_when_the_tool_ends(self):
        for program in (_WITH, _WITHOUT):
            seconds = processes.unmistakable()
            process = self.begin(program, f'setsid sleep {seconds} &'
                                          'sleep 0.2')
            self.assertEqual(0, process.wait(cases.PATIENCE))
            self.assertEqual([], processes.running(seconds))

    def test_parent_is_gone(self):
        for program in (_WITH, _WITHOUT):
            seconds = processes.unmistakable()
            process = self.begin(program, _LEAVES.format(seconds, seconds))
            self.wait_for(
                lambda: len(processes.running(seconds)) == 2)  # noqa: B023
            process.stdin.close()
            self.assertEqual(137, process.wait(cases.PATIENCE))
            self.assertEqual([], processes.running(seconds))
            self.assertFalse((self.scratch / 'scratch').exists())

    def test_parent_has_had_enough(self):
        """It removes the directory itself, if it wants to."""
        seconds = processes.unmistakable()
        process = self.begin(_WITH, f'exec sleep {seconds}')
        self.wait_for(lambda: processes.running(seconds))
        process.stdin.write(b'.')
        self.assertEqual(137, process.wait(cases.PATIENCE))
        self.assertEqual([], processes.running(seconds))
        self.assertTrue((self.scratch / 'scratch').exists())

    def test_warden_is_killed(self):
        seconds = processes.unmistakable()
        process = self.begin(_WITHOUT, f'exec sleep {seconds}')
        self.wait_for(lambda: processes.running(seconds))
        process.kill()
        self.wait_for(lambda: not processes.running(seconds))

    def test_network_leads_nowhere(self):
        process = self.begin(_WITH, 'cat /proc/net/dev | wc -l')
        process.wait(cases.PATIENCE)
        lines = int(process.stdout.read())
        own = len(pathlib.Path('/proc/net/dev').read_text().splitlines())
        if own > 3:
            # Two lines are titles, and one is the loopback device.
            self.assertEqual(3, lines)

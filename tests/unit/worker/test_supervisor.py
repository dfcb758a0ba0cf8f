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

"""The process that waits for the one that reads the image."""

import os
import signal
import subprocess
import sys
import time
import unittest

from tests import processes
from tests.unit import cases

CODE = '''
import os, signal, sys, time
from glance_xs_convert.worker import protocol, supervisor
protocol.GRACE = float(sys.argv[1])
first = os.getpid()
supervisor.divide()
'''


class Supervisor(unittest.TestCase):
    """Runs code in the copy."""

    def start(self, code, grace=cases.PATIENCE, **options):
        child = subprocess.Popen(
            [sys.executable, '-c', CODE + code, str(grace)],
            cwd=cases.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, **options)
        self.addCleanup(self.end, child)
        return child

    def end(self, child):
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            pipe.close()

    def run_code(self, code):
        """Run it, and give the exit status and what it printed."""
        child = self.start(code)
        said = child.stdout.read()
        return child.wait(cases.PATIENCE), said

    def test_status(self):
        self.assertEqual((7, 'x'), self.run_code(
            'print("x", end="", flush=True)\nos._exit(7)'))

    def test_signal(self):
        """The parent sees what the copy has died of."""
        for number in (signal.SIGKILL, signal.SIGXCPU, signal.SIGTERM):
            self.assertEqual(-number, self.run_code(
                f'os.kill(os.getpid(), {int(number)})\ntime.sleep(60)')[0])

    def test_copy(self):
        """It is a child of the process that the parent has started."""
        self.assertEqual((0, 'True True'), self.run_code(
            'print(os.getppid() == first, os.getpid() != first, end="")'))

    def test_signals_are_let_through(self):
        """Whatever the process that started them has blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        self.assertEqual((0, 'set()'), self.run_code(
            'print(signal.pthread_sigmask(signal.SIG_BLOCK, []), end="")'))

    def test_descendants(self):
        """Those that have left their session and their parent, too."""
        seconds = processes.unmistakable()
        status, _ = self.run_code(f'''
import subprocess
if not os.fork():
    os.setsid()
    subprocess.Popen(["sleep", "{seconds}"], stdout=subprocess.DEVNULL)
    os._exit(0)
os.wait()
os._exit(4)
''')
        self.assertEqual(4, status)
        self.assertEqual([], processes.running(seconds))

    def test_parent_closes_the_pipe(self):
        """A copy that does not end by itself is killed."""
        child = self.start('print(os.getpid(), flush=True)\ntime.sleep(600)',
                           grace=0.4)
        pid = int(child.stdout.readline())
        child.stdin.close()
        self.assertEqual(-signal.SIGKILL, child.wait(cases.PATIENCE))
        self.assertFalse(os.path.exists(f'/proc/{pid}'))

    def test_copy_that_ends_when_the_pipe_closes(self):
        """It has time to do so."""
        child = self.start('print(flush=True)\nsys.stdin.read()\nos._exit(3)')
        child.stdout.readline()
        child.stdin.close()
        self.assertEqual(3, child.wait(cases.PATIENCE))

    def test_supervisor_is_killed(self):
        """Nobody reads an image without it."""
        child = self.start('print(os.getpid(), flush=True)\ntime.sleep(600)')
        pid = int(child.stdout.readline())
        child.kill()
        child.wait()
        deadline = time.monotonic() + cases.PATIENCE
        while self.is_alive(pid):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def is_alive(self, pid):
        try:
            with open(f'/proc/{pid}/stat') as stat:
                return stat.read().rpartition(')')[2].split()[0] != 'Z'
        except OSError:
            return False

    def test_holds_no_file(self):
        """The copy alone has the archive and the disk."""
        ends = os.pipe()
        with open(ends[0]) as reader:
            child = self.start(
                f'os.close(1)\nos.close({ends[1]})\ntime.sleep(600)',
                pass_fds=[ends[1]])
            os.close(ends[1])
            self.assertEqual(('', ''), (reader.read(), child.stdout.read()))
        self.assertIsNone(child.poll())

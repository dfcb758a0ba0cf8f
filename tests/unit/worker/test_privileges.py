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

"""What the kernel says of processes that give up privileges."""

import os
import pathlib
import subprocess
import sys
import time

from tests.unit import cases


def begin(code, *arguments):
    return subprocess.Popen(
        [sys.executable, '-c', 'from glance_xs_convert.worker import '
         f'privileges\n{code}', *arguments], cwd=cases.ROOT,
        stdout=subprocess.PIPE, text=True)


class Privileges(cases.ScratchCase):

    def run_code(self, code):
        with begin(code) as process:
            stdout, _ = process.communicate(timeout=cases.PATIENCE)
        self.assertEqual(0, process.returncode)
        return stdout

    def test_drop(self):
        # The status is opened before: afterwards the process is not dumpable.
        found = dict(line.split(':\t', 1) for line in self.run_code(
            'status = open("/proc/self/status")\nprivileges.drop()\n'
            'print(status.read())').splitlines() if ':\t' in line)
        for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
            self.assertEqual(0, int(found[name], 16), name)
        if not os.geteuid():
            self.assertEqual(0, int(found['CapBnd'], 16))
        self.assertEqual('1', found['NoNewPrivs'].strip())

    def test_drop_twice(self):
        self.run_code('privileges.drop()\nprivileges.drop()')

    def test_refuse_inspection(self):
        """The kernel then gives the process's files to root."""
        ask = ('import ctypes\n'
               'print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n')
        self.assertEqual('1', self.run_code(ask).strip())
        self.assertEqual('0', self.run_code(
            f'privileges.refuse_inspection()\n{ask}').strip())

    def test_empty_network(self):
        """Where that is permitted, no interface but the loopback is there."""
        before, after = self.run_code(
            'import os\n'
            'print(os.readlink("/proc/self/ns/net"))\n'
            'privileges.enter_empty_network()\n'
            'print(os.readlink("/proc/self/ns/net"), '
            '*os.listdir("/proc/self/net/dev_snmp6") '
            'if os.path.isdir("/proc/self/net/dev_snmp6") else "")'
        ).splitlines()
        namespace, *interfaces = after.split()
        if namespace == before:
            self.skipTest('a new network is not permitted')
        self.assertLessEqual(set(interfaces), {'lo'})

    def test_end_with_parent(self):
        with begin(
                'import subprocess, sys, time\n'
                'child = subprocess.Popen([sys.executable, "-c", "from '
                'glance_xs_convert.worker import privileges; import time; '
                'privileges.end_with_parent(); print(flush=True); '
                'time.sleep(3600)"], stdout=subprocess.PIPE)\n'
                'child.stdout.readline()\n'
                'print(child.pid, flush=True)\ntime.sleep(3600)') as parent:
            child = pathlib.Path(f'/proc/{int(parent.stdout.readline())}')
            self.assertTrue(child.exists())
            parent.kill()
        deadline = time.monotonic() + cases.PATIENCE
        while is_alive(child):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_adopt_descendants(self):
        code = ('import os, sys, time\n'
                'privileges.adopt_descendants()\n'
                'reader, writer = os.pipe()\n'
                'is_begun, begun = os.pipe()\n'
                'if not os.fork():\n'
                '    if not os.fork():\n'
                '        middle = os.getppid()\n'
                '        os.write(begun, b"1")\n'
                '        while os.getppid() == middle:\n'
                '            time.sleep(0.01)\n'
                '        os.write(writer, str(os.getppid()).encode())\n'
                '        os._exit(0)\n'
                '    os.read(is_begun, 1)\n'
                '    os._exit(0)\n'
                'os.wait()\n'
                'print(os.read(reader, 20).decode() == str(os.getpid()))')
        self.assertEqual('True', self.run_code(code).strip())


def is_alive(process):
    """Whether a process runs; a zombie does not."""
    try:
        stat = process.joinpath('stat').read_text()
    except OSError:
        return False
    return stat.rpartition(')')[2].split()[0] != 'Z'

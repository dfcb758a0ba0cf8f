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

"""What the kernel allows a process behind the filter."""

import errno
import json
import subprocess
import sys
import unittest

import ddt

from glance_xs_convert.worker import seccomp

from tests.unit import cases

#: Tries one expression behind the filter, and tells what came of it. What
#: needs more than open files and memory is loaded before.
PROGRAM = '''
import concurrent.futures.thread, ctypes, json, mmap, os, resource, select
import socket, sys
from glance_xs_convert.worker import seccomp
file = open('/proc/self/status', 'rb')
output = open(sys.argv[2], 'r+b', buffering=0)
libc = ctypes.CDLL(None, use_errno=True)
words = sys.argv[1]
code = compile(words, 'words', 'eval')
seccomp.Filter().load()
try:
    found = eval(code)
except OSError as error:
    found = {'errno': error.errno}
except RuntimeError as error:
    found = {'error': str(error)}
print(json.dumps(found, default=str))
'''
EPERM = {'errno': errno.EPERM}


def missing():
    try:
        seccomp.Filter()
    except seccomp.Unavailable as error:
        return str(error)
    return None


@ddt.ddt
@unittest.skipIf(missing(), f'no filter: {missing()}')
class Filter(cases.ScratchCase):

    def attempt(self, words):
        path = self.scratch / 'output'
        path.write_bytes(b'output')
        ended = subprocess.run(
            [sys.executable, '-c', PROGRAM, words, path], cwd=cases.ROOT,
            capture_output=True, check=True, text=True)
        return json.loads(ended.stdout)

    @ddt.data(
        "open('/etc/passwd')", "os.listdir('/')", "os.stat('/')",
        "os.unlink('/nowhere')", 'os.fork()', "os.execv('/bin/true', ['x'])",
        'socket.socket()', 'os.pipe()', 'os.kill(1, 0)', 'os.kill(-1, 0)',
        'os.posix_fallocate(output.fileno(), 0, 4096)',
        'mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)')
    def test_refused(self, words):
        self.assertEqual(EPERM, self.attempt(words))

    @ddt.data(
        ("output.write(b'more')", 4), ('len(os.pread(3, 1, 0))', 1),
        ('os.ftruncate(output.fileno(), 9)', None),
        ('os.fstat(output.fileno()).st_size', 6),
        ('len(bytearray(64 << 20))', 64 << 20),
        ('len(os.urandom(5))', 5), ('os.kill(os.getpid(), 0)', None),
        ('len(resource.getrlimit(resource.RLIMIT_CPU))', 2),
        ('len(mmap.mmap(-1, 4096))', 4096),
        ('concurrent.futures.ThreadPoolExecutor(1).submit(sum, [1, 2])'
         '.result()', 3),
        ('select.select([], [], [], 0.01)', [[], [], []]))
    @ddt.unpack
    def test_allowed(self, words, wanted):
        self.assertEqual(wanted, self.attempt(words))

    def test_limits_cannot_be_set(self):
        self.assertEqual([-1, errno.EPERM], self.attempt(
            '[libc.setrlimit(resource.RLIMIT_CPU, (ctypes.c_uint64 * 2)(9, '
            '9)), ctypes.get_errno()]'))

    def test_threads_that_run_already(self):
        """They are behind the filter, too."""
        ended = subprocess.run(
            [sys.executable, '-c', '''
import threading
from glance_xs_convert.worker import seccomp
is_loaded, found = threading.Event(), []
def work():
    is_loaded.wait()
    try:
        open('/etc/passwd')
    except OSError as error:
        found.append(error.errno)
thread = threading.Thread(target=work)
thread.start()
seccomp.Filter().load()
is_loaded.set()
thread.join()
print(*found)
'''], cwd=cases.ROOT, capture_output=True, check=True, text=True)
        self.assertEqual(str(errno.EPERM), ended.stdout.strip())

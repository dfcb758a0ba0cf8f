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

"""What the kernel allows a process that has given up its rights."""

import errno
import json
import subprocess
import sys

from glance_xs_convert.worker import landlock

from tests.unit import cases

PROGRAM = '''
import json, os, socket, sys
from glance_xs_convert.worker import landlock
from glance_xs_convert.worker import privileges
directory = sys.argv[1]
server = socket.create_server(('127.0.0.1', 0))
file = open(directory + '/file')
privileges.drop()
try:
    lacks = landlock.restrict()
except landlock.Unavailable as error:
    print(json.dumps({'unavailable': str(error)}))
    sys.exit()
found = {'lacks': lacks, 'read': file.read()}
for name, attempt in {
        'open': lambda: open(directory + '/file'),
        'list': lambda: os.listdir(directory),
        'create': lambda: open(directory + '/new', 'w'),
        'unlink': lambda: os.unlink(directory + '/file'),
        'connect': lambda: socket.create_connection(
            server.getsockname())}.items():
    try:
        attempt()
    except OSError as error:
        found[name] = error.errno
print(json.dumps(found))
'''


class Landlock(cases.ScratchCase):

    def test_restrict(self):
        file = self.scratch / 'file'
        file.write_text('content')
        ended = subprocess.run(
            [sys.executable, '-c', PROGRAM, self.scratch], cwd=cases.ROOT,
            capture_output=True, check=True, text=True)
        found = json.loads(ended.stdout)
        if 'unavailable' in found:
            self.skipTest(f'no Landlock: {found["unavailable"]}')
        self.assertEqual('content', found['read'])
        for name in ('open', 'list', 'create', 'unlink'):
            self.assertEqual(errno.EACCES, found.get(name), name)
        self.assertEqual(None if 'TCP' in found['lacks'] else errno.EACCES,
                         found.get('connect'))
        self.assertTrue(file.exists())

    def test_a_call_that_fails(self):
        """No kernel has a system call of this number."""
        with self.assertRaisesRegex(landlock.Unavailable, 'not support'):
            landlock._call(100_000)

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

"""What the tests have in common that write files."""

import os
import subprocess
import sys

from glance_xs_convert import publish

from tests.unit import cases

#: Writes a target until it is killed; its argument is the path.
WRITER = '''
import os, sys, time
from glance_xs_convert import publish

with publish.new_file(sys.argv[1]) as descriptor:
    os.write(descriptor, b'half')
    print('begun', flush=True)
    time.sleep(600)
'''


class FilesCase(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.target = self.scratch / 'disk'
        self.partial = self.scratch / 'disk.part'

    def write(self, content, **options):
        with publish.new_file(self.target, **options) as descriptor:
            os.write(descriptor, content)

    def begin(self):
        """Have another process write the target."""
        cases.heed_signals(self)
        process = subprocess.Popen(
            [sys.executable, '-c', WRITER, self.target],
            stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertEqual(b'begun\n', process.stdout.readline())
        return process

    def assert_refused(self, error, message, **options):
        before = self.everything()
        descriptors = os.listdir('/proc/self/fd')
        with self.assertRaisesRegex(error, message):
            self.write(b'new', **options)
        self.assertEqual(before, self.everything())
        self.assertEqual(descriptors, os.listdir('/proc/self/fd'))

    def everything(self):
        return {path.name: (os.lstat(path).st_ino, path.is_symlink()
                            or not path.is_file() or path.read_bytes())
                for path in self.scratch.iterdir()}

    def assert_only(self, content):
        self.assertEqual([self.target.name], os.listdir(self.scratch))
        self.assertEqual(content, self.target.read_bytes())

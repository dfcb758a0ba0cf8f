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

"""Parent and child load nothing of each other's half."""

import os
import subprocess
import sys
import tempfile

from glance_xs_convert import exceptions

from tests.unit.worker import base

PACKAGE = 'glance_xs_convert'

#: Runs the child as the interpreter would, and writes what it has loaded.
CHILD = '''
import atexit, os, runpy, sys
file = os.open({loaded!r}, os.O_WRONLY | os.O_CREAT)
atexit.register(lambda: os.write(file, ' '.join(sys.modules).encode()))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
'''

#: Runs a conversion; its arguments are the source and the target.
PARENT = '''
import sys

from glance_xs_convert import image_limits
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

parent.convert_file(*sys.argv[1:], protocol.Request(image_limits.DEFAULT),
                    python=sys.executable, on_progress=id)
print(*sys.modules)
'''


class Halves(base.WorkerCase):

    def child_modules(self, data, error=None):
        """What a real child has loaded when it ends."""
        loaded = self.scratch / 'loaded'
        script = self.scratch / 'child.py'
        script.write_text(CHILD.format(loaded=str(loaded)))
        python = self.program(f'exec {sys.executable} {script} "$@"')
        if error is None:
            self.run_child(data, python=python)
        else:
            with self.assertRaises(error):
                self.run_child(data, python=python)
        return set(loaded.read_text().split())

    def test_child(self):
        for data, error in ((b'text', exceptions.NotAnArchive),
                            (base.small_archive(), None)):
            loaded = self.child_modules(data, error)
            self.assertIn(f'{PACKAGE}.converter.convert', loaded)
            for module in ('parent', 'process', 'replies'):
                self.assertNotIn(f'{PACKAGE}.worker.{module}', loaded)
            for module in ('socket', f'{PACKAGE}.publish',
                           f'{PACKAGE}.plugin'):
                self.assertNotIn(module, loaded)
            if sys.version_info >= (3, 11):
                # Before, the standard library's uuid loads them.
                self.assertNotIn('subprocess', loaded)
                self.assertNotIn('selectors', loaded)

    def test_parent(self):
        self.source.write_bytes(base.small_archive())
        ended = subprocess.run(
            [sys.executable, '-c', PARENT, self.source, self.target],
            cwd=tempfile.gettempdir(), text=True, check=True,
            stdout=subprocess.PIPE,
            env={'PYTHONPATH': os.pathsep.join(sys.path)})
        loaded = ended.stdout.split()
        self.assertIn(f'{PACKAGE}.worker.parent', loaded)
        self.assertNotIn(f'{PACKAGE}.api', loaded)
        for module in ('child', 'resources', 'sandbox', 'seccomp'):
            self.assertNotIn(f'{PACKAGE}.worker.{module}', loaded)
        self.assertEqual([], [module for module in loaded if
                              module.startswith(f'{PACKAGE}.converter')])

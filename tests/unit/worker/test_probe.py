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

"""What a process finds that it can still do."""

import json
import subprocess
import sys
import unittest

from tests.unit import cases

CODE = '''
import dataclasses, errno, json, os, resource
from glance_xs_convert.worker import probe
def look():
    print(json.dumps(dataclasses.asdict(probe.look())), flush=True)
def refuse(*arguments):
    raise OSError(errno.EPERM, 'no')
'''


class Probe(unittest.TestCase):
    """Looks around in processes of its own."""

    def look(self, code):
        ended = subprocess.run(
            [sys.executable, '-c', CODE + code], cwd=cases.ROOT, text=True,
            capture_output=True, check=True)
        return json.loads(ended.stdout)

    def test_free_process(self):
        found = self.look('look()')
        self.assertEqual((True, True, True), (
            found['files'], found['programs'], found['processes']))

    def test_no_descriptors(self):
        found = self.look(
            'resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\nlook()')
        self.assertEqual((False, False), (found['files'], found['network']))

    def test_no_processes(self):
        """It can still replace itself by a program, and it does not."""
        found = self.look('os.fork = os.kill = refuse\nlook()')
        self.assertEqual((True, False), (found['programs'],
                                         found['processes']))

    def test_no_programs(self):
        found = self.look('os.fork = os.execv = refuse\nlook()')
        self.assertFalse(found['programs'])

    def test_no_programs_in_a_copy(self):
        found = self.look('os.execv = refuse\nlook()')
        self.assertEqual((False, True), (found['programs'],
                                         found['processes']))

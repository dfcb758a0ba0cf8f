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


"""The public API: what the package says of itself is so."""

import doctest
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import glance_xs_convert
from testbed.images import chains
from tests.unit import cases

#: What the package may load when it is only imported, or named.
_LOADED = """
import sys
import {module}
print(*sorted(name for name in sys.modules
              if name.startswith('glance_xs_convert')))
"""


class PublicApi(unittest.TestCase):

    def test_example(self):
        with tempfile.TemporaryDirectory() as scratch:
            story = chains.story_chain()
            pathlib.Path(scratch, 'snapshot.tgz').write_bytes(story.archive)
            self.addCleanup(os.chdir, os.getcwd())
            os.chdir(scratch)
            result = doctest.testmod(glance_xs_convert)
            os.chdir(os.path.sep)
        self.assertEqual(0, result.failed)
        self.assertLess(0, result.attempted)

    def test_all_names_are_there(self):
        for name in glance_xs_convert.__all__:
            with self.subTest(name):
                self.assertIsNotNone(getattr(glance_xs_convert, name))
                self.assertIn(name, dir(glance_xs_convert))

    def test_other_names_are_not(self):
        with self.assertRaisesRegex(AttributeError, "'quietly'"):
            _ = glance_xs_convert.quietly

    def test_errors_can_be_caught_by_their_root(self):
        with self.assertRaises(glance_xs_convert.XsConvertError):
            glance_xs_convert.check(os.devnull)

    def test_importing_loads_nothing(self):
        for module, expected in (
                ('glance_xs_convert', ['glance_xs_convert']),
                ('glance_xs_convert.text',
                 ['glance_xs_convert', 'glance_xs_convert.text'])):
            with self.subTest(module):
                loaded = subprocess.run(
                    [sys.executable, '-c', _LOADED.format(module=module)],
                    cwd=cases.ROOT, text=True, check=True,
                    capture_output=True)
                self.assertEqual(expected, loaded.stdout.split())

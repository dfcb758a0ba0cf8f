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

"""``glance-xs-convert recover``; see also the functional tests."""

import importlib.util
import json
import os
import unittest
from unittest import mock

from glance_xs_convert.cli import recover

from tests.unit.cli import base

HAS_GLANCE = importlib.util.find_spec('glance') is not None


class Recover(base.CommandCase):

    ROW = ('6761fb1f', 'd8a54', 'returning the image to queued')

    def setUp(self):
        super().setUp()
        self.function = mock.Mock(return_value=[self.ROW])
        load = mock.patch.object(recover, '_load', autospec=True,
                                 return_value=self.function)
        load.start()
        self.addCleanup(load.stop)
        environment = mock.patch.dict(
            os.environ, OS_GLANCE_CONFIG_DIR='/elsewhere')
        environment.start()
        self.addCleanup(environment.stop)

    def test_table(self):
        ended = self.run_here('recover')
        self.assertEqual((0, ''), (ended.status, ended.stderr))
        for text in self.ROW:
            self.assertIn(text, ended.stdout)
        self.function.assert_called_once_with(
            [], [], ['/elsewhere/glance-api.conf'], False)

    def test_json(self):
        ended = self.run_here('recover', '--dry-run', '-f', 'json')
        self.assertEqual(
            [dict(zip(('Image', 'Task', 'Result'), self.ROW))],
            json.loads(ended.stdout))
        self.assertTrue(self.function.call_args[0][-1])

    def test_configuration(self):
        self.run_here('recover', '--config-file', 'a', '--config-file', 'b',
                      '--config-dir', 'c')
        self.assertEqual((['a', 'b'], ['c']), self.function.call_args[0][:2])

    def test_failure(self):
        self.function.side_effect = RuntimeError('it is not possible')
        self.assert_fails(self.run_here('recover'), 'it is not possible')


class Load(base.CommandCase):

    @unittest.skipIf(HAS_GLANCE, 'Glance is installed')
    def test_no_glance(self):
        self.assert_fails(self.run_here('recover'),
                          'Glance is not installed')

    @unittest.skipUnless(HAS_GLANCE, 'Glance is not installed')
    def test_glance(self):
        self.assertEqual('recover', recover._load().__name__)

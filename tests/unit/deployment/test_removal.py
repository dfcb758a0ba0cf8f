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

"""What still needs the package, in all kinds of configurations."""

import os
import unittest

from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import removal

from tests.unit import cases
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.recovery import tickets

FILTER = ('[filter:uploads]\n'
          'use = egg:glance-xs-convert#xs_convert_upload\n')


class Removal(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.staging = self.scratch / 'staging'
        self.staging.mkdir()
        self.paste('default = cors rootapp')
        self.options = ''

    def paste(self, *pipelines):
        """Write pipelines, the first of which Glance uses."""
        lines = '\n'.join(pipelines)
        self.scratch.joinpath('glance-api-paste.ini').write_text(
            f'[composite:api]\n{lines}\n{FILTER}[filter:cors]\nuse = egg:x\n')

    def find(self):
        """What is found: the codes by place, and the details."""
        path = self.scratch / 'glance-api.conf'
        path.write_text(
            f'[DEFAULT]\nnode_staging_uri = file://{self.staging}\n'
            f'{self.options}[paste_deploy]\nconfig_file = '
            f'{self.scratch}/glance-api-paste.ini\n')
        found = removal.find_all(
            configuration.Deployment([str(path)], [], {}))
        self.details = {name: result.details for name, result in found}
        return {name: result.code.name for name, result in found}

    def assert_only(self, place, code):
        self.assertEqual(
            {'Upload filter': 'SUCCESS', 'Import plugins': 'SUCCESS',
             'Imports': 'SUCCESS', 'Options': 'SUCCESS', place: code},
            self.find())

    def test_nothing(self):
        self.assert_only('Options', 'SUCCESS')

    def test_filter(self):
        self.paste('default = cors uploads rootapp')
        self.assert_only('Upload filter', 'FAILURE')
        self.assertIn('would not start', self.details['Upload filter'])

    def test_filter_that_is_not_used(self):
        self.paste('default = cors rootapp',
                   'keystone = cors uploads rootapp')
        self.assert_only('Upload filter', 'WARNING')
        self.assertIn('keystone', self.details['Upload filter'])

    def test_no_pipelines(self):
        os.unlink(self.scratch / 'glance-api-paste.ini')
        self.assert_only('Upload filter', 'WARNING')
        self.assertIn('was not found', self.details['Upload filter'])

    def test_plugins(self):
        self.options = ('[image_import_opts]\nimage_import_plugins = '
                        '[inject_image_metadata, xs_convert, xs_adapt]\n')
        self.assert_only('Import plugins', 'FAILURE')
        self.assertIn('take xs_convert and xs_adapt out',
                      self.details['Import plugins'])

    def test_plugin_that_adapts_guests(self):
        self.options = ('[image_import_opts]\n'
                        'image_import_plugins = [xs_adapt]\n')
        self.assert_only('Import plugins', 'FAILURE')
        self.assertIn('not adapt guests: take xs_adapt out',
                      self.details['Import plugins'])

    def test_other_plugins(self):
        self.options = ('[image_import_opts]\nimage_import_plugins = '
                        '[image_conversion]\n')
        self.assert_only('Import plugins', 'SUCCESS')

    def test_plugins_without_brackets(self):
        self.options = ('[image_import_opts]\n'
                        'image_import_plugins = xs_convert\n')
        self.assert_only('Import plugins', 'WARNING')
        self.assertIn('brackets', self.details['Import plugins'])

    def test_options(self):
        self.options = '[xs_convert]\nmax_memory = 512\n[other]\nx = y\n'
        self.assert_only('Options', 'WARNING')
        self.assertIn('[xs_convert]', self.details['Options'])
        self.assertNotIn('[other]', self.details['Options'])

    def draw(self, count):
        """Draw tickets for imports, which somebody holds."""
        directory = self.scratch / 'lock'
        self.options = f'[xs_convert]\nlock_path = {directory}\n'
        box = tickets.Box(str(directory / 'one'), '.import')
        drawn = [box.draw() for _ in range(count)]
        for ticket in drawn:
            self.addCleanup(ticket.drop)
        return drawn

    @unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
    def test_imports(self):
        drawn = self.draw(2)
        for left, wanted in (
                (2, '2 imports of this host are running'),
                (1, '1 import of this host is running'),
                (0, '2 imports of this host were interrupted: run')):
            self.assertEqual('FAILURE', self.find()['Imports'])
            self.assertIn(wanted, self.details['Imports'])
            if left:
                drawn.pop().drop()
        self.draw(1)[0].release()

    def test_tickets_that_cannot_be_read(self):
        path = self.scratch / 'lock'
        path.touch()
        self.options = f'[xs_convert]\nlock_path = {path}\n'
        self.assertEqual('WARNING', self.find()['Imports'])
        self.assertIn('cannot be read', self.details['Imports'])

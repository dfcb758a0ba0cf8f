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

"""``glance-xs-convert migrate report``."""

import csv
import io
import os
import pathlib
import tempfile

from tests.unit.cli.migrate import base
from tests.unit.migrate import glance

uid = base.uid


class TestReport(base.MigrateCase):
    """It shows what was migrated."""

    def test_report(self):
        self.cloud.add('a', name='web')
        new_id = self.migrate('run')[0][0]['new_id']
        row, = self.migrate('report')[0]
        self.assertEqual((uid('a'), new_id, glance.DISK, 'hidden'),
                         (row['old_id'], row['new_id'], row['disk'],
                          row['old_image']))

    def test_page(self):
        self.cloud.add('a', name='web')
        self.migrate('run')
        self.cloud.add('b', name='signed', img_signature='x')
        with tempfile.TemporaryDirectory() as scratch:
            page = pathlib.Path(scratch) / 'page.html'
            self.migrate('report', '--html', page)
            text = page.read_text()
            for part in ('web', uid('a'), uid('b'), self.cloud.name,
                         '--drop-signature'):
                self.assertIn(part, text)
            self.assertEqual(['page.html'], os.listdir(scratch))
            page.write_text('mine')
            self.assert_fails(self.run_here(
                'migrate', 'report', '--html', page), '--force overwrites it')
            self.assertEqual('mine', page.read_text())
            self.migrate('report', '--html', page, '--force')
            self.assertEqual(text, page.read_text())

    def test_page_that_cannot_be_written(self):
        self.assert_fails(self.run_here(
            'migrate', 'report', '--html', '/nowhere/page'),
            'cannot be created')

    def test_output_is_safe(self):
        self.cloud.add('a', name=base.EVIL)
        self.migrate('run')
        for form, ended in self.outputs('report'):
            self.assertEqual(0, ended.status)
            self.assert_safe(ended)
            if form == 'csv':
                row, = csv.DictReader(io.StringIO(ended.stdout))
                self.assertTrue(row['name'].startswith("'="), row)
                self.assertEqual('1000', row['archive'])

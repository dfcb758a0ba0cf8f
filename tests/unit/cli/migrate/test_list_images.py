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

"""``glance-xs-convert migrate list``."""

import csv
import io

from tests.unit.cli.migrate import base

uid = base.uid


class TestList(base.MigrateCase):
    """It shows the images, and whether the cloud can convert them."""

    def test_list(self):
        self.cloud.add('a', name='web')
        rows, said = self.migrate('list')
        self.assertEqual([{
            'id': uid('a'), 'name': 'web', 'project': 'p1', 'size': 1000,
            'state': 'waiting', 'new_id': None, 'reason': ''}], rows)
        self.assertIn('ok: import method glance-download', said)
        self.cloud.methods = lambda: ['web-download']
        _, said = self.migrate('list', status=1)
        self.assertIn('OBSTACLE: this cloud does not enable the import method '
                      'glance-download or glance-direct', said)

    def test_missing_image(self):
        self.cloud.add('a')
        self.assert_fails(self.run_here('migrate', 'list', 'b'),
                          'these XenServer images do not exist: b')

    def test_members_that_must_accept(self):
        self.cloud.is_admin = False
        self.cloud.shares[self.cloud.add('a')] = {'p2': 'accepted'}
        rows, _ = self.migrate('list')
        self.assertIn('p2', rows[0]['reason'])

    def test_output_is_safe(self):
        self.add_failed(base.EVIL * 5000)
        for form, ended in self.outputs('list'):
            with self.subTest(form):
                self.assertEqual(1, ended.status)
                self.assert_safe(ended)
                self.assertLess(len(ended.stdout), 60000)
                if form == 'csv':
                    for row in csv.reader(io.StringIO(ended.stdout)):
                        self.assertFalse(any(
                            cell[:1] in ('=', '+', '-', '@')
                            for cell in row), row)

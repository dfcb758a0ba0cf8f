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

"""Images belong together by their ids and their project."""

from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from tests.unit.migrate import glance
from tests.unit.migrate import migrations


class TestPairs(migrations.MigrationCase):
    """A converted image is a pair with the old one, and nothing else is."""

    def setUp(self):
        super().setUp()
        self.new_id = self.migrate().new_id
        self.new = self.cloud.records[self.new_id]

    def test_pair(self):
        self.assertTrue(pairs.is_complete(self.old, self.new))
        self.assertEqual(self.new_id, pairs.replacement(self.old))

    def test_strangers(self):
        for change in ({'id': glance.uid('snapshot')}, {'owner': 'evil'},
                       {names.SOURCE: glance.uid('other')},
                       {names.SOURCE: '../x'},
                       {'id': names.new_id(glance.uid('other'), 0)}):
            stranger = self.new | change
            self.assertFalse(pairs.belongs(self.old, stranger), change)
            self.assertFalse(pairs.is_current(self.old, stranger))
            self.assertFalse(pairs.is_complete(self.old, stranger))

    def test_old_image_that_names_another(self):
        for other in (glance.uid('other'), 'x', names.new_id(
                migrations.OLD, 1)):
            old = self.old | {names.REPLACED_BY: other}
            self.assertTrue(pairs.belongs(old, self.new))
            self.assertFalse(pairs.is_complete(old, self.new))
        self.assertIsNone(pairs.replacement(
            self.old | {names.REPLACED_BY: glance.uid('other')}))

    def test_withdrawn_image(self):
        new = dict(self.new)
        del new[names.SOURCE]
        new[names.UNDONE] = migrations.OLD
        self.assertTrue(pairs.belongs(self.old, new))
        self.assertFalse(pairs.is_current(self.old, new))

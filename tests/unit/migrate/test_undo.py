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

"""Everything is as it was."""

from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import undo
from tests.unit.migrate import glance
from tests.unit.migrate import migrations


class UndoCase(migrations.MigrationCase):
    """Undoes the migration of the image."""

    def undo(self, found=migrations.NOBODY, **options):
        return undo.undo(self.cloud, self.row(), found, **options)


class TestUndo(UndoCase):
    """The old image is restored, and the new one deleted."""

    def test_killed_at_every_request(self):
        for old in (choices.HIDE, choices.DEACTIVATE):
            self.setUp()
            before = self.old | {'updated_at': None}
            self.migrate(old=old)
            self.cloud.requests = 0
            self.undo()
            self.assertEqual(before, self.old | {'updated_at': None})
            for kill_at in range(1, self.cloud.requests + 1):
                for first in (False, True):
                    self.check(before, old, kill_at, first)

    def check(self, before, old, kill_at, first):
        self.setUp()
        self.migrate(old=old)
        self.cloud.requests = 0
        self.cloud.kill_at = kill_at
        self.cloud.kill_before = first
        with self.assertRaises(glance.Killed):
            self.undo()
        if self.row().state != inventory.WAITING:
            self.undo()
        self.assertEqual(before | {'created_at': None},
                         self.old | {'updated_at': None, 'created_at': None})
        self.assertEqual([], self.news())

    def test_what_is_used_is_left(self):
        for found, reason in (
                (migrations.SOMEBODY, 'used by server 1'),
                (migrations.UNKNOWN, r'could not see.*servers: 503'),
                (migrations.NOBODY, 'in use')):
            self.setUp()
            first = self.migrate().new_id
            self.cloud.records[first]['used'] = found is migrations.NOBODY
            self.assertRegex(self.undo(found).kept, reason)
            self.assertTrue(self.cloud.records[first]['os_hidden'])
            self.assertEqual(inventory.WAITING, self.row().state)
            second = self.migrate().new_id
            self.assertNotEqual(first, second)
            self.assertEqual(second, self.old[names.REPLACED_BY])
            self.assertEqual(inventory.DONE, self.row().state)

    def test_what_is_unknown_can_be_deleted(self):
        self.migrate()
        self.assertEqual(
            '', self.undo(migrations.UNKNOWN, delete_blindly=True).kept)
        self.assertEqual([], self.news())

    def test_failed_image(self):
        self.cloud.failures = [migrations.BROKEN]
        before = dict(self.old)
        with self.assertRaises(errors.Refused):
            self.migrate()
        self.undo()
        self.assertEqual([], self.news())
        self.assertEqual(before, self.old)

    def test_nothing_to_undo(self):
        with self.assertRaisesRegex(errors.Skipped, 'not migrated'):
            self.undo()

    def test_old_image_is_gone(self):
        self.migrate()
        row = self.row()
        del self.cloud.records[migrations.OLD]
        with self.assertRaisesRegex(errors.Skipped, 'deleted'):
            undo.undo(self.cloud, row, migrations.NOBODY)

    def test_new_image_is_gone(self):
        self.migrate()
        new, = self.news()
        self.cloud.delete(new['id'])
        row = self.row()
        self.assertEqual(inventory.SKIPPED, row.state)
        self.assertIn('undo', row.reason)
        self.undo()
        self.assertEqual(inventory.WAITING, self.row().state)
        self.assertFalse(self.old['os_hidden'])


class TestStrangers(UndoCase):
    """Nothing is done to images that do not belong together."""

    def check_untouched(self, row, reason):
        before = dict(self.cloud.records)
        requests = []
        self.cloud.meanwhile = lambda name, *arguments: requests.append(name)
        with self.assertRaisesRegex(errors.Skipped, reason):
            undo.undo(self.cloud, row, migrations.NOBODY)
        self.assertEqual(before, self.cloud.records)
        self.assertEqual({'_get'}, set(requests))

    def test_image_that_is_not_the_new_one(self):
        self.migrate()
        row = self.row()
        new, = self.news()
        for change in ({'owner': 'evil'}, {names.SOURCE: glance.uid('x')}):
            self.cloud.records[new['id']] = new | change
            self.check_untouched(row, 'not its new image')

    def test_complete_image_that_the_old_one_does_not_name(self):
        self.migrate()
        row = self.row()
        del self.old[names.REPLACED_BY]
        self.check_untouched(row, 'complete it with run')

    def test_deactivated_image_is_not_made_active_for_a_property(self):
        """Its owner may want that, but an administrator does not."""
        self.old.update({
            'status': 'deactivated', names.RETIRED: 'deactivated hidden',
            names.REPLACED_BY: names.new_id(migrations.OLD, 0)})
        result = self.undo()
        self.assertEqual('deactivated', self.old['status'])
        self.assertIn('deactivated', result.note)
        self.assertNotIn(names.REPLACED_BY, self.old)

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

"""The old image is replaced, and changed last."""

from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import runner
from tests.unit.migrate import migrations


class TestOld(migrations.MigrationCase):
    """What happens to the old image."""

    def test_choices(self):
        for old, hidden, status in ((choices.KEEP, False, 'active'),
                                    (choices.HIDE, True, 'active'),
                                    (choices.DEACTIVATE, True, 'deactivated')):
            self.setUp()
            self.migrate(old=old)
            self.assertEqual((hidden, status),
                             (self.old['os_hidden'], self.old['status']))

    def test_made_up_annotation(self):
        self.old.update({names.RETIRED: 'deactivated hidden',
                         names.REPLACED_BY: names.new_id(migrations.OLD, 7)})
        self.cloud.add(image_id=names.new_id(migrations.OLD, 7))
        self.migrate()
        self.assertEqual('hidden', self.old[names.RETIRED])

    def test_protected_image_is_hidden(self):
        self.old['protected'] = True
        with migrations.verified(migrations.SUM):
            result = self.migrate(old=choices.DELETE)
        self.assertIn('protected', result.notes[0])
        self.assertTrue(self.old['os_hidden'])

    def test_image_that_is_in_use_is_hidden(self):
        self.old['used'] = 'yes'
        with migrations.verified(migrations.SUM):
            result = self.migrate(old=choices.DELETE)
        self.assertIn('in use', result.notes[0])
        self.assertTrue(self.old['os_hidden'])


class TestAnswers(migrations.MigrationCase):
    """An administrator repeats the answers of members."""

    def retire(self, answers):
        """The answers after a second run, which finds these."""
        self.migrate()
        new, = self.news()
        self.cloud.shares[new['id']] = answers
        self.migration(old=choices.HIDE).retire()
        return self.cloud.shares[new['id']]

    def test_who_has_not_answered(self):
        self.assertEqual({'p2': 'accepted', 'p3': 'pending'},
                         self.retire({'p2': 'pending', 'p3': 'pending'}))

    def test_who_has_answered_otherwise(self):
        self.assertEqual({'p2': 'rejected'}, self.retire({'p2': 'rejected'}))

    def test_who_is_no_member_any_longer(self):
        self.assertEqual({}, self.retire({}))


class TestMembers(migrations.MigrationCase):
    """A member of a project cannot accept for others."""

    def setUp(self):
        super().setUp()
        self.cloud.is_admin = False

    def retire(self, **options):
        return self.migration(**options).retire()

    def accept(self):
        new, = self.news()
        self.cloud.shares[new['id']]['p2'] = 'accepted'

    def test_old_image_stays_until_they_have_accepted(self):
        result = self.migrate()
        self.assertIn('p2', result.notes[0])
        self.assertFalse(self.old['os_hidden'])
        row = self.row()
        self.assertEqual((inventory.DONE, True), (row.state, row.is_awaiting))
        self.assertIn('accepted', row.reason)
        self.assertEqual([row], list(runner.to_do(
            [row], self.settings())))
        self.assertIn('p2', self.retire().notes[0])
        self.assertFalse(self.old['os_hidden'])
        self.accept()
        self.assertEqual((), self.retire().notes)
        self.assertTrue(self.old['os_hidden'])
        self.assertEqual('hidden', self.old[names.RETIRED])
        self.assertEqual([], list(runner.to_do(
            [self.row()], self.settings())))

    def test_members_that_lost_interest(self):
        self.migrate()
        self.cloud.shares[migrations.OLD]['p2'] = 'rejected'
        self.retire()
        self.assertTrue(self.old['os_hidden'])

    def test_administrator_accepts_later(self):
        self.migrate()
        self.cloud.is_admin = True
        self.retire()
        self.assert_done()
        self.assertTrue(self.old['os_hidden'])

    def test_operator_who_chooses(self):
        self.assertEqual((), self.migrate(old=choices.HIDE).notes)
        self.assertTrue(self.old['os_hidden'])

    def test_operator_who_chooses_later(self):
        self.migrate()
        self.retire(old=choices.KEEP)
        self.assertNotIn(names.RETIRED, self.old)
        self.assertFalse(self.old['os_hidden'])

    def test_nobody_has_to_accept(self):
        self.cloud.shares[migrations.OLD] = {'p3': 'pending'}
        self.assertEqual((), self.migrate().notes)
        self.assertTrue(self.old['os_hidden'])

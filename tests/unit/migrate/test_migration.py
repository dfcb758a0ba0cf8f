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

"""One image's way, with all that may come between."""

from glance_xs_convert.migrate import attempts
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import undo
from tests.unit.migrate import glance
from tests.unit.migrate import migrations


class TestKilled(migrations.MigrationCase):
    """The command is killed at every request there is."""

    def test_run_again_completes_it(self):
        for method in migrations.METHODS:
            for old in (choices.KEEP, choices.HIDE, choices.DEACTIVATE):
                with (self.subTest(method=method.name, old=old),
                      migrations.passing(20)):
                    self.check(method=method, old=old)

    def check(self, **options):
        self.setUp()
        self.migrate(**options)
        self.assert_done()
        requests = self.cloud.requests
        for kill_at in range(1, requests + 1):
            for before in (False, True):
                self.setUp()
                self.cloud.kill_at = kill_at
                self.cloud.kill_before = before
                with self.assertRaises(glance.Killed):
                    self.migrate(**options)
                row = self.row()
                if row.state != inventory.DONE:
                    self.assertFalse(self.old['os_hidden'])
                    self.migrate(row.new_id, **options)
                self.assert_done()
                self.assertEqual(options['old'] != choices.KEEP,
                                 self.old['os_hidden'])

    def test_no_upload_is_repeated_under_the_same_id(self):
        """Glance would destroy the first one."""
        for kill_at in range(1, 20):
            self.setUp()
            self.cloud.kill_at = kill_at
            with migrations.passing(20):
                try:
                    self.migrate(method=migrations.DIRECT)
                except glance.Killed:
                    self.migrate(method=migrations.DIRECT)
            self.assertEqual(len(set(self.cloud.staged)),
                             len(self.cloud.staged))

    def test_few_requests(self):
        self.cloud.shares.clear()
        self.migrate()
        polls = 5
        self.assertLessEqual(self.cloud.requests - polls, 9)

    def test_old_image_is_untouched_until_the_last_request(self):
        before = dict(self.old)
        written = []

        def meanwhile(name, *arguments):
            if self.old != before:
                written.append(name)

        self.cloud.meanwhile = meanwhile
        self.migrate()
        self.assertEqual([], written)


class TestOthers(migrations.MigrationCase):
    """Somebody else is at it, too, and is faster at some request."""

    def test_another_command_at_any_request(self):
        for method in migrations.METHODS:
            self.setUp()
            self.migrate(method=method)
            for at in range(1, self.cloud.requests + 1):
                for others in migrations.METHODS:
                    with migrations.passing(20):
                        self.check(method, others, at)

    def check(self, method, others, at):
        self.setUp()
        other = self.migration(method=others)

        def meanwhile(name, *arguments):
            if self.cloud.requests == at:
                self.cloud.meanwhile = None
                other.run()

        self.cloud.meanwhile = meanwhile
        self.migrate(method=method)
        self.assert_done()

    def test_deleted_ids_are_not_used_again(self):
        for _ in range(3):
            self.migrate()
            new, = self.news()
            undo.undo(self.cloud, self.row(), migrations.NOBODY)
            self.assertEqual([], self.news())
            self.assertIn(new['id'], self.cloud.deleted)
        self.migrate()
        self.assert_done()

    def test_foreign_image_with_the_next_id(self):
        forged = names.new_id(migrations.OLD, 0)
        self.cloud.add(
            image_id=forged, owner='evil', disk_format='raw',
            container_format='bare', **{names.SOURCE: migrations.OLD})
        before = dict(self.cloud.records[forged])
        result = self.migrate()
        self.assertNotEqual(forged, result.new_id)
        self.assertEqual(result.new_id, self.old[names.REPLACED_BY])
        self.assertEqual(before, self.cloud.records[forged])

    def test_image_of_the_project_that_bears_no_annotation(self):
        other = names.new_id(migrations.OLD, 0)
        self.cloud.add(image_id=other)
        before = dict(self.cloud.records[other])
        self.assertNotEqual(other, self.migrate().new_id)
        self.assertEqual(before, self.cloud.records[other])

    def test_old_image_deleted_meanwhile(self):
        def meanwhile(name, *arguments):
            if name == '_tasks':
                self.cloud.records.pop(migrations.OLD, None)

        self.cloud.meanwhile = meanwhile
        with self.assertRaises(errors.Skipped):
            self.migrate()
        self.assertEqual({}, self.cloud.records)

    def test_old_image_changed_meanwhile(self):
        def meanwhile(name, *arguments):
            if name == '_tasks':
                self.old.update({'name': 'new name', 'more': 'new',
                                 'hw_disk_bus': 'virtio'})

        self.cloud.meanwhile = meanwhile
        self.migrate()
        new, = self.news()
        self.assertEqual(('new name', 'new', 'virtio'),
                         (new['name'], new['more'], new['hw_disk_bus']))
        self.assertNotIn('unwanted', new)


class TestFailures(migrations.MigrationCase):
    """The import fails."""

    def test_broken_archive_is_remembered(self):
        self.cloud.failures = [migrations.BROKEN]
        with self.assertRaisesRegex(errors.Refused, 'no layer 2'):
            self.migrate()
        row = self.row()
        self.assertEqual((inventory.FAILED, migrations.BROKEN, True),
                         (row.state, row.reason, row.is_refused))
        for new_id in (row.new_id, None):
            with self.assertRaises(errors.Refused):
                self.migrate(new_id)
        result = self.migrate(row.new_id, retry=True)
        self.assertEqual(row.new_id, result.new_id)
        self.assert_done()

    def test_refused_archive_is_uploaded_again(self):
        self.cloud.failures = [migrations.BROKEN]
        with self.assertRaises(errors.Refused):
            self.migrate(method=migrations.DIRECT)
        self.cloud.staged.clear()  # The failed import has removed it.
        self.migrate(self.row().new_id, method=migrations.DIRECT, retry=True)
        self.assert_done()

    def test_what_is_not_the_archives_fault_is_tried_again(self):
        for message in (migrations.FULL, migrations.ERROR, ''):
            self.setUp()
            self.cloud.failures = [message] * 2
            self.migrate()
            self.assert_done()
            self.setUp()
            self.cloud.failures = [message] * attempts.IMPORTS
            with self.assertRaises(errors.Failed):
                self.migrate()
            row = self.row()
            self.assertEqual((inventory.FAILED, False),
                             (row.state, row.is_refused))
            self.migrate(row.new_id)
            self.assert_done()

    def test_member_whose_name_sounds_like_a_fault_of_the_host(self):
        self.cloud.failures = ['The XenServer image cannot be converted: '
                               'memory.vhd: no space. [EncryptedVhd]']
        with self.assertRaises(errors.Refused):
            self.migrate()

    def test_what_a_store_holds_already(self):
        """Glance fails for ever, as long as the id is the same."""
        ids = [names.new_id(migrations.OLD, attempt) for attempt in range(3)]
        self.cloud.orphans = {*ids[:2]}
        self.assertEqual(ids[2], self.migrate().new_id)
        self.assert_done()

    def test_store_that_says_so(self):
        self.cloud.failures = ['The disk was not stored. [NotStored]'] * 2
        self.migrate()
        self.assert_done()

    def test_what_operators_have_to_change_is_not_tried_again(self):
        self.cloud.failures = ['There is a quota. [QuotaExceeded]'] * 2
        for _ in range(2):
            with self.assertRaisesRegex(errors.Failed, 'a quota'):
                self.migrate(self.row().new_id)
            self.assertFalse(self.row().is_refused)
        self.migrate(self.row().new_id)
        self.assert_done()

    def test_what_the_staging_area_holds_already(self):
        self.cloud.staged.append(names.new_id(migrations.OLD, 0))
        self.migrate(method=migrations.DIRECT)
        self.assert_done()

    def test_hosts_that_have_enough_to_convert(self):
        for method in migrations.METHODS:
            self.setUp()
            self.cloud.failures = [migrations.BUSY] * 5
            self.migrate(method=method)
            self.assert_done()

    def test_hosts_that_never_have_a_turn(self):
        self.cloud.failures = [migrations.BUSY] * 1000
        with (migrations.passing(30),
              self.assertRaisesRegex(errors.Failed, 'too many others')):
            self.migrate()
        self.assertFalse(self.row().is_refused)

    def test_plugin_is_not_on(self):
        self.cloud.converts = False
        with self.assertRaises(errors.NotConverted):
            self.migrate()
        self.assertEqual([], self.news())

    def test_quota(self):
        def refuse(*arguments):
            raise errors.OutOfQuota('Glance says: no more')

        begin, self.cloud.begin = self.cloud.begin, refuse
        with self.assertRaisesRegex(errors.Failed, 'no more'):
            self.migrate()
        self.assertEqual('Glance says: no more', self.row().reason)
        self.cloud.begin = begin
        self.migrate()
        self.assert_done()

    def test_failed_verification_does_not_lose_the_import(self):
        self.cloud.failures = []
        with self.assertRaisesRegex(errors.Failed, 'cannot be verified'):
            self.migrate(verify=True)
        row = self.row()
        with migrations.verified(migrations.SUM):
            result = self.migrate(row.new_id, verify=True)
        self.assertEqual(row.new_id, result.new_id)
        self.assert_done()


class TestMethods(migrations.MigrationCase):
    """The hosts cannot download from their region."""

    def test_other_method_is_used(self):
        self.cloud.download_fails = migrations.ERROR
        said = []
        settings = self.settings(fallback=migrations.DIRECT)
        settings.methods.say = said.append
        migration.Migration(self.cloud, settings, migrations.OLD, None,
                            lambda stage, fraction: None).run()
        self.assert_done()
        self.assertIn('allowed_ports', said[0])
        self.assertEqual(1, len(said))
        self.assertEqual(migrations.DIRECT, settings.methods.current)

    def test_chosen_method_is_not_changed(self):
        self.cloud.download_fails = migrations.ERROR
        with self.assertRaisesRegex(errors.Failed, 'allowed_ports'):
            self.migrate()
        self.assertIn('allowed_ports', self.row().reason)
        self.assertEqual([], self.cloud.staged)

    def test_broken_archive_says_nothing_about_the_method(self):
        self.cloud.failures = [migrations.BROKEN]
        settings = self.settings(fallback=migrations.DIRECT)
        with self.assertRaises(errors.Refused):
            migration.Migration(self.cloud, settings, migrations.OLD, None,
                                lambda stage, fraction: None).run()
        self.assertIsInstance(settings.methods.current, methods.Download)


class TestDelete(migrations.MigrationCase):
    """The old image goes, if the sums agree."""

    def test_right_sum(self):
        with migrations.verified(migrations.SUM):
            new_id = self.migrate(old=choices.DELETE).new_id
        self.assertIn(migrations.OLD, self.cloud.deleted)
        row = self.row()
        self.assertEqual((inventory.DONE, new_id, True),
                         (row.state, row.new_id, row.old_is_gone))
        self.assertEqual(f'sha512:{migrations.SUM}', row.new.notes.verified)

    def test_wrong_sum(self):
        with migrations.verified('something else'):
            with self.assertRaisesRegex(errors.Refused, 'something else'):
                self.migrate(old=choices.DELETE)
            with self.assertRaises(errors.Refused):
                self.migrate(self.row().new_id, old=choices.DELETE)
        self.assertNotIn(names.REPLACED_BY, self.old)
        wrong, = self.news()
        self.assertTrue(wrong['os_hidden'])
        with migrations.verified(migrations.SUM):
            self.migrate(wrong['id'], old=choices.DELETE, retry=True)
        self.assertIn(wrong['id'], self.cloud.deleted)
        self.assertIn(migrations.OLD, self.cloud.deleted)

    def test_later(self):
        self.migrate()
        with migrations.verified(migrations.SUM):
            self.migration(old=choices.DELETE).retire()
        self.assertIn(migrations.OLD, self.cloud.deleted)

    def test_made_up_verification(self):
        """It has to be that of the disk that Glance has."""
        self.migrate()
        new, = self.news()
        new[names.VERIFIED] = 'sha512:' + 'e' * 128
        with (migrations.verified('something else'),
              self.assertRaises(errors.Refused)):
            self.migration(old=choices.DELETE).retire()
        self.assertIn(migrations.OLD, self.cloud.records)

    def test_image_that_is_no_pair_is_not_retired(self):
        self.migrate()
        new, = self.news()
        new['owner'] = 'evil'
        with (migrations.verified(migrations.SUM),
              self.assertRaises(errors.Skipped)):
            self.migration(old=choices.DELETE).retire()
        self.assertIn(migrations.OLD, self.cloud.records)


class TestObstacle(migrations.MigrationCase):
    """Some images are not migrated."""

    def test_image_that_became_one(self):
        self.old['status'] = 'deactivated'
        with self.assertRaisesRegex(errors.Skipped, 'deactivated'):
            self.migrate()

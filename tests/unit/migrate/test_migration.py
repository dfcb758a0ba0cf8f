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

import unittest
from unittest import mock

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import undo
from tests.unit.migrate import glance

METHODS = (methods.Download('Region', 'public'), methods.Direct())
BROKEN = ('The XenServer image cannot be converted: 1.vhd: there is no layer '
          '2.vhd.')
FULL = ('The XenServer image cannot be converted: there is no space left for '
        'the raw disk.')


class MigrationCase(unittest.TestCase):
    """Migrates the image ``old``."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        self.cloud.add(name='web', hw_disk_bus='scsi', unwanted='x',
                       tags=['b', 'a'], os_glance_odd='not copied')
        self.cloud.shares['old'] = {'p2': 'accepted', 'p3': 'pending'}

    def settings(self, **options):
        return migration.Settings(**{'method': METHODS[0]} | options)

    def migrate(self, new_id=None, **options):
        return migration.Migration(
            self.cloud, self.settings(**options), 'old', new_id,
            lambda stage, fraction: None).run()

    def row(self):
        row, = candidates.Inventory(
            self.cloud, candidates.Selection()).rows()
        return row

    @property
    def old(self):
        return self.cloud.records['old']

    def news(self):
        return [image for image in self.cloud.records.values()
                if image['id'] != 'old']

    def assert_done(self):
        """There is one new image, and it is all that it has to be."""
        new, = self.news()
        self.assertEqual(
            ('web', 'scsi', ['a', 'b'], 'shared', 'active', False, 1),
            (new['name'], new['hw_disk_bus'], sorted(new['tags']),
             new['visibility'], new['status'], new['os_hidden'],
             new['min_disk']))
        self.assertNotIn('unwanted', new)
        self.assertNotIn('os_glance_odd', new)
        self.assertEqual([], [name for name in names.PROVISIONAL
                              if name in new])
        self.assertEqual({'p2': 'accepted', 'p3': 'pending'},
                         self.cloud.shares[new['id']])
        self.assertEqual(('old', new['id']),
                         (new[names.SOURCE], self.old[names.REPLACED_BY]))
        self.assertEqual(candidates.DONE, self.row().state)
        return new


class TestKilled(MigrationCase):
    """The command is killed at every request there is."""

    def test_run_again_completes_it(self):
        for method in METHODS:
            for old in (migration.KEEP, migration.HIDE,
                        migration.DEACTIVATE):
                with self.subTest(method=method.name, old=old):
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
                if row.state != candidates.DONE:
                    self.assertFalse(self.old['os_hidden'])
                    self.migrate(row.new_id, **options)
                self.assert_done()
                self.assertEqual(options['old'] != migration.KEEP,
                                 self.old['os_hidden'])

    def test_few_requests(self):
        self.cloud.shares.clear()
        self.migrate()
        polls = 3
        self.assertLessEqual(self.cloud.requests - polls, 8)

    def test_old_image_is_untouched_until_the_last_request(self):
        before = dict(self.old)
        written = []

        def meanwhile(name, *arguments):
            if self.old != before:
                written.append(name)

        self.cloud.meanwhile = meanwhile
        self.migrate()
        self.assertEqual([], written)


class TestOthers(MigrationCase):
    """Somebody else is at it, too, and is faster at some request."""

    def test_another_command_at_any_request(self):
        self.migrate()
        requests = self.cloud.requests
        for at in range(1, requests + 1):
            for method in METHODS:
                self.setUp()
                other = migration.Migration(
                    self.cloud, self.settings(method=method), 'old', None,
                    lambda stage, fraction: None)

                def meanwhile(name, *arguments, at=at, other=other):
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
            undo.undo(self.cloud, self.row(), NOBODY)
            self.assertEqual([], self.news())
            self.assertIn(new['id'], self.cloud.deleted)
        self.migrate()
        self.assert_done()

    def test_foreign_image_with_the_next_id(self):
        forged = names.new_id('old', 0)
        self.cloud.add(forged, owner='evil', disk_format='raw',
                       container_format='bare',
                       **{names.SOURCE: 'old'})
        result = self.migrate()
        self.assertNotEqual(forged, result.new_id)
        self.assertEqual(result.new_id, self.old[names.REPLACED_BY])

    def test_old_image_deleted_meanwhile(self):
        def meanwhile(name, *arguments):
            if name == '_newest_task':
                self.cloud.records.pop('old', None)

        self.cloud.meanwhile = meanwhile
        with self.assertRaises(errors.Skipped):
            self.migrate()
        self.assertEqual({}, self.cloud.records)

    def test_old_image_changed_meanwhile(self):
        def meanwhile(name, *arguments):
            if name == '_newest_task':
                self.old.update({'name': 'new name', 'more': 'new',
                                 'hw_disk_bus': 'virtio'})

        self.cloud.meanwhile = meanwhile
        self.migrate()
        new, = self.news()
        self.assertEqual(('new name', 'new', 'virtio'),
                         (new['name'], new['more'], new['hw_disk_bus']))
        self.assertNotIn('unwanted', new)


class TestFailures(MigrationCase):
    """The import fails."""

    def test_broken_archive_is_remembered(self):
        self.cloud.messages = [BROKEN]
        with self.assertRaisesRegex(errors.Refused, 'no layer 2'):
            self.migrate()
        row = self.row()
        self.assertEqual((candidates.FAILED, BROKEN, True),
                         (row.state, row.reason, row.refused))
        with self.assertRaises(errors.Refused):
            self.migrate()
        self.migrate(retry=True)
        self.assert_done()

    def test_what_is_not_the_archives_fault_is_tried_again(self):
        for message in (FULL, 'Task failed due to Internal Error', ''):
            self.setUp()
            self.cloud.messages = [message] * 2
            self.migrate()
            self.assert_done()
            self.setUp()
            self.cloud.messages = [message] * migration.IMPORTS
            with self.assertRaises(errors.Failed):
                self.migrate()
            row = self.row()
            self.assertEqual((candidates.FAILED, False),
                             (row.state, row.refused))
            self.migrate(row.new_id)
            self.assert_done()

    def test_plugin_is_not_on(self):
        self.cloud.converts = False
        with self.assertRaises(errors.NotConverted):
            self.migrate()
        self.assertEqual([], self.news())

    def test_stuck_import_is_begun_anew(self):
        go_on, self.cloud._go_on = self.cloud._go_on, lambda *args: None
        clock = iter(range(0, 10 ** 6, 1000))
        first = names.new_id('old', 0)

        def meanwhile(name, image_id, *arguments):
            if name == '_delete' and image_id == first:
                self.cloud._go_on = go_on

        self.cloud.meanwhile = meanwhile
        with mock.patch('time.monotonic', lambda: next(clock)):
            self.migrate(deadline=1500)
        self.assertIn(first, self.cloud.deleted)
        self.assert_done()

    def test_failed_import_that_leaves_its_image_locked(self):
        go_on = self.cloud._go_on
        first = names.new_id('old', 0)

        def fail(task, image):
            if image['id'] != first:
                go_on(task, image)
            else:
                image['status'] = 'importing'
                task |= {'status': 'failure', 'message': 'no luck'}

        self.cloud._go_on = fail
        clock = iter(range(0, 10 ** 6, 15))
        with mock.patch('time.monotonic', lambda: next(clock)):
            self.migrate(deadline=3600)
        self.assertIn(first, self.cloud.deleted)
        self.assert_done()

    def test_quota(self):
        def refuse(*arguments):
            raise errors.OutOfQuota('Glance says: no more')

        begin, self.cloud.begin_import = self.cloud.begin_import, refuse
        with self.assertRaisesRegex(errors.Failed, 'no more'):
            self.migrate()
        self.assertEqual('Glance says: no more', self.row().reason)
        self.cloud.begin_import = begin
        self.migrate()
        self.assert_done()

    def test_upload_that_was_cut_short(self):
        new_id = names.new_id('old', 0)
        self.cloud.create({'id': new_id, names.MIGRATING: 'old'})
        self.cloud.records[new_id] |= {'status': 'uploading', 'size': 400}
        self.migrate(method=METHODS[1])
        self.assertIn(new_id, self.cloud.deleted)
        self.assert_done()

    def test_upload_that_breaks_off(self):
        stage, refused = self.cloud.stage, []

        def once(*arguments):
            if not refused:
                refused.append(1)
                raise errors.Unreachable('reset')
            stage(*arguments)

        self.cloud.stage = once
        self.migrate(method=METHODS[1])
        self.assert_done()


class TestDelete(MigrationCase):
    """The old image goes, if the sums agree."""

    def verified(self, found):
        return mock.patch('glance_xs_convert.migrate.verify.sum_of_disk',
                          lambda *arguments: found)

    def test_right_sum(self):
        with self.verified('disk'):
            self.migrate(old=migration.DELETE)
        self.assertIn('old', self.cloud.deleted)
        row = self.row()
        self.assertEqual((candidates.DONE, 'old', True),
                         (row.state, row.id, row.old_is_gone))
        self.assertEqual('sha512:disk', row.new.verified)

    def test_wrong_sum(self):
        with self.verified('something else'):
            with self.assertRaisesRegex(errors.Refused, 'something else'):
                self.migrate(old=migration.DELETE)
            with self.assertRaises(errors.Refused):
                self.migrate(self.row().new_id, old=migration.DELETE)
        self.assertNotIn(names.REPLACED_BY, self.old)
        wrong, = self.news()
        self.assertTrue(wrong['os_hidden'])
        with self.verified('disk'):
            self.migrate(old=migration.DELETE, retry=True)
        self.assertIn(wrong['id'], self.cloud.deleted)
        self.assertIn('old', self.cloud.deleted)

    def test_protected_image_is_hidden(self):
        self.old['protected'] = True
        with self.verified('disk'):
            result = self.migrate(old=migration.DELETE)
        self.assertIn('protected', result.notes[0])
        self.assertTrue(self.old['os_hidden'])

    def test_later(self):
        self.migrate()
        with self.verified('disk'):
            migration.Migration(
                self.cloud, self.settings(old=migration.DELETE), 'old',
                None, lambda stage, fraction: None).retire()
        self.assertIn('old', self.cloud.deleted)

    def test_members_of_a_member_have_to_accept(self):
        self.cloud.is_admin = False
        result = self.migrate()
        self.assertIn('p2', result.notes[0])


def users(*used_by, unseen=()):
    return mock.Mock(spec=references.Users, of=lambda image_id: [*used_by],
                     unseen=[*unseen])


NOBODY = users()
SOMEBODY = users('server 1')
UNKNOWN = users(unseen=['servers: 503'])


class TestUndo(MigrationCase):
    """Everything is as it was."""

    def undo(self, found=NOBODY, **options):
        return undo.undo(self.cloud, self.row(), found, **options)

    def test_killed_at_every_request(self):
        for old in (migration.HIDE, migration.DEACTIVATE):
            self.setUp()
            before = dict(self.old)
            self.migrate(old=old)
            self.cloud.requests = 0
            self.undo()
            self.assertEqual(before, self.old)
            for kill_at in range(1, self.cloud.requests + 1):
                for first in (False, True):
                    self.setUp()
                    before = dict(self.old)
                    self.migrate(old=old)
                    self.cloud.requests = 0
                    self.cloud.kill_at = kill_at
                    self.cloud.kill_before = first
                    with self.assertRaises(glance.Killed):
                        self.undo()
                    if self.row().state != candidates.WAITING:
                        self.undo()
                    self.assertEqual(before, self.old)
                    self.assertEqual([], self.news())

    def test_what_is_used_is_left(self):
        for found, reason in ((SOMEBODY, 'used by server 1'),
                              (UNKNOWN, r'could not see.*servers: 503'),
                              (NOBODY, 'in use')):
            self.setUp()
            first = self.migrate().new_id
            self.cloud.records[first]['used'] = found is NOBODY
            self.assertRegex(self.undo(found).kept, reason)
            self.assertTrue(self.cloud.records[first]['os_hidden'])
            self.assertEqual(candidates.WAITING, self.row().state)
            second = self.migrate().new_id
            self.assertNotEqual(first, second)
            self.assertEqual(second, self.old[names.REPLACED_BY])
            self.assertEqual(candidates.DONE, self.row().state)

    def test_what_is_unknown_can_be_deleted(self):
        self.migrate()
        self.assertEqual('', self.undo(UNKNOWN, delete_blindly=True).kept)
        self.assertEqual([], self.news())

    def test_failed_image(self):
        self.cloud.messages = [BROKEN]
        with self.assertRaises(errors.Refused):
            self.migrate()
        self.undo()
        self.assertEqual([], self.news())

    def test_nothing_to_undo(self):
        with self.assertRaisesRegex(errors.Skipped, 'not migrated'):
            self.undo()

    def test_new_image_is_gone(self):
        self.migrate()
        new, = self.news()
        self.cloud.delete(new['id'])
        row = self.row()
        self.assertEqual(candidates.SKIPPED, row.state)
        self.assertIn('undo', row.reason)
        self.undo()
        self.assertEqual(candidates.WAITING, self.row().state)
        self.assertFalse(self.old['os_hidden'])

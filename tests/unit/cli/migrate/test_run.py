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

"""``glance-xs-convert migrate run``."""

import csv
import os
import pathlib
import signal
import tempfile
import time
from unittest import mock

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import runner
from tests.unit.cli.migrate import base
from tests.unit.migrate import migrations

uid = base.uid


class TestRun(base.MigrateCase):
    """It migrates, and says whether all is well."""

    def test_run(self):
        self.cloud.add('a')
        rows, said = self.migrate('run')
        self.assertEqual(['done'], [row['state'] for row in rows])
        self.assertIn('1 image migrated', said)

    def test_run_that_fails(self):
        self.cloud.add('a')
        self.cloud.add('b')
        self.cloud.failures = [base.BROKEN]
        rows, said = self.migrate('run', '--jobs', '1', status=1)
        self.assertEqual(['failed', 'done'], [row['state'] for row in rows])
        self.assertIn(f'Failed: {uid("a")} (', said)
        self.migrate('list', status=1)
        self.migrate('run', '--retry')

    def test_method_that_does_not_work(self):
        self.cloud.add('a')
        self.cloud.add('b')
        self.cloud.download_fails = migrations.ERROR
        _, said = self.migrate('run', '--jobs', '1')
        self.assertEqual(1, said.count('allowed_ports'), said)
        rows, said = self.migrate('list')
        self.assertEqual(['done', 'done'], [row['state'] for row in rows])

    def test_quiet(self):
        self.cloud.add('a')
        _, said = self.migrate('run', '--quiet')
        self.assertEqual('', said)

    def test_limit_and_dry_run(self):
        for name in 'abc':
            self.cloud.add(name)
        rows, _ = self.migrate('run', '--dry-run', '--limit', '2')
        self.assertEqual([uid('a'), uid('b')], [row['id'] for row in rows])
        self.assertEqual(3, len(self.cloud.records))
        rows, _ = self.migrate('run', '--limit', '2')
        self.assertEqual(['done', 'done', 'waiting'],
                         [row['state'] for row in rows])

    def test_what_would_be_deleted(self):
        self.cloud.add('a')
        self.cloud.add('b', protected=True)
        before = dict(self.cloud.records)
        rows, said = self.migrate('run', '--old', 'delete', '--dry-run')
        self.assertIn('1 old image would be deleted', said)
        self.assertEqual(
            ['the old image would be deleted',
             'the old image is protected, so it would be hidden'],
            [row['reason'] for row in rows])
        self.assertEqual(before, self.cloud.records)

    def test_members_that_must_accept(self):
        self.cloud.is_admin = False
        self.cloud.shares[self.cloud.add('a')] = {'p2': 'accepted'}
        rows, _ = self.migrate('run', '--dry-run')
        self.assertIn('p2', rows[0]['reason'])
        _, said = self.migrate('run')
        self.assertRegex(said, 'remains visible until.*p2')
        self.assertFalse(self.cloud.records[uid('a')]['os_hidden'])

    def test_nobody_agreed(self):
        self.cloud.add('a')
        self.assert_fails(
            self.run_here('migrate', 'run', '--old', 'delete'), '--yes')

    def test_wrong_arguments(self):
        self.cloud.add('a')
        self.cloud.methods = lambda: ['glance-download']
        for arguments, message in (
                (('--stores', 'fast,none'), 'does not have a store none'),
                (('--method', 'glance-direct'), 'glance-direct')):
            self.assert_fails(
                self.run_here('migrate', 'run', *arguments), message)

    def test_what_a_deleted_image_left(self):
        orphan = self.cloud.add(
            image_id=names.new_id(uid('gone'), 0), os_hidden=True,
            **{names.MIGRATING: uid('gone')})
        self.migrate('run', '--name', '*')
        self.assertIn(orphan, self.cloud.records)
        self.migrate('run')
        self.assertEqual({}, self.cloud.records)

    def test_what_a_deleted_image_left_and_nobody_may_delete(self):
        """A policy for administrators is no reason to migrate nothing."""
        self.cloud.add('a')
        self.cloud.add(
            image_id=names.new_id(uid('gone'), 0), os_hidden=True,
            **{names.MIGRATING: uid('gone')})

        def meanwhile(name, *arguments):
            if name == '_delete':
                raise errors.NotAllowed('not you')

        self.cloud.meanwhile = meanwhile
        rows, _ = self.migrate('run')
        self.assertEqual('done', rows[0]['state'])

    def test_output_is_safe(self):
        self.add_failed(base.EVIL)
        self.cloud.failures = [base.EVIL] * 100
        for _, ended in self.outputs('run', '--method', 'glance-download'):
            self.assertEqual(1, ended.status)
            self.assert_safe(ended)

    def test_signal(self):
        self.cloud.add('a')
        self.cloud.add('b')

        interrupt = runner.Runner.interrupt
        before = signal.getsignal(signal.SIGINT)
        with mock.patch.object(runner.Runner, 'interrupt', autospec=True,
                               side_effect=interrupt) as seen:
            def meanwhile(name, *arguments):
                if name == '_begin':
                    os.kill(os.getpid(), signal.SIGINT)
                    while not seen.called:
                        time.sleep(0.01)

            self.cloud.meanwhile = meanwhile
            rows, said = self.migrate('run', '--jobs', '1', status=1)
        self.assertEqual(['done', 'waiting'], [row['state'] for row in rows])
        self.assertIn('Interrupted', said)
        self.assertIs(before, signal.getsignal(signal.SIGINT))


class TestMapping(base.MigrateCase):
    """The mapping is opened first, and written last."""

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch_path = pathlib.Path(scratch.name)
        self.mapping = self.scratch_path / 'ids.csv'
        self.cloud.add('a', name='web')

    def test_mapping(self):
        rows, _ = self.migrate('run', '--mapping', self.mapping)
        with self.mapping.open(newline='') as file:
            self.assertEqual(
                [['old_id', 'new_id', 'used_by'],
                 [uid('a'), rows[0]['new_id'], '']], list(csv.reader(file)))
        self.assertEqual(['ids.csv'], os.listdir(self.scratch_path))

    def test_file_that_cannot_be_written(self):
        self.assert_fails(self.run_here(
            'migrate', 'run', '--mapping', self.scratch_path / 'no' / 'x'),
            'cannot be created')
        self.assertEqual(1, len(self.cloud.records))

    def test_file_that_exists(self):
        self.mapping.write_text('before')
        self.assert_fails(self.run_here(
            'migrate', 'run', '--mapping', self.mapping),
            '--force overwrites it')
        self.assertEqual('before', self.mapping.read_text())
        self.assertEqual(1, len(self.cloud.records))
        self.migrate('run', '--mapping', self.mapping, '--force')
        self.assertIn('old_id', self.mapping.read_text())

    def test_run_that_fails_leaves_the_file_as_it_was(self):
        self.mapping.write_text('before')
        with mock.patch('glance_xs_convert.migrate.references.Users',
                        autospec=True, side_effect=RuntimeError('oh')):
            self.run_here('migrate', 'run', '--mapping', self.mapping,
                          '--force')
        self.assertEqual('before', self.mapping.read_text())
        self.assertEqual(['ids.csv'], os.listdir(self.scratch_path))

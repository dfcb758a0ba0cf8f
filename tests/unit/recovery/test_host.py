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

"""Recovery by hand, with nothing but Glance's configuration."""

import os
from unittest import mock

from tests.unit.plugin import base
from tests.unit.recovery import leftovers

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.recovery import host
    from glance_xs_convert.recovery import interrupted
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert.recovery import stores


class Host(leftovers.RecoveryCase):

    def setUp(self):
        super().setUp()
        self.config = self.scratch / 'glance-api.conf'
        lines = ['[database]',
                 f'connection = sqlite:///{self.scratch}/glance.db',
                 '[xs_convert]', f'lock_path = {self.scratch}/lock',
                 '[DEFAULT]', 'enabled_backends = fast:file,slow:file',
                 '[glance_store]', 'default_backend = fast']
        for store, path in (
                ('fast', self.store_path('fast')),
                ('slow', self.store_path('slow')),
                ('os_glance_staging_store', self.staging),
                ('os_glance_tasks_store', self.scratch / 'tasks')):
            lines += [f'[{store}]', f'filesystem_store_datadir = {path}']
        self.config.write_text('\n'.join(lines))

    def run_it(self, dry_run=False, default=False):
        files = [str(self.config)]
        return keeping.recover(*([], [], files) if default
                               else (files, [], []), dry_run)

    def test_nothing_to_do(self):
        self.assertEqual([], self.run_it())

    def test_set_back(self):
        self.leave(stores=('fast', 'slow'))
        self.convert()
        self.copy('fast')
        self.cut_copy('slow')
        self.ticket.drop()
        row = (self.image_id, self.task_id, 'returning the image to queued')
        for dry_run in (True, True, False):
            self.assertEqual([row], self.run_it(dry_run, default=dry_run))
        self.assertEqual([], self.run_it())
        self.assert_set_back()

    def test_import_that_is_going_on(self):
        self.leave()
        self.assertEqual([], self.run_it())

    def test_directory_of_another_user(self):
        self.leave()
        self.ticket.drop()
        os.chmod(keeping.tickets(), 0o777)
        error = self.assertRaises(host.RecoveryFailed, self.run_it)
        self.assertIn(f'{keeping.tickets()} cannot be used', str(error))
        self.assertIn('run this as the user that Glance runs as', str(error))

    def test_one_cannot_be_set_back(self):
        self.leave()
        self.ticket.drop()
        with mock.patch.object(
                remedies.ClaimedImport, 'finish', autospec=True,
                side_effect=RuntimeError):
            error = self.assertRaises(host.RecoveryFailed, self.run_it)
        self.assertEqual('some imports could not be recovered', str(error))

    def test_store_that_is_busy_for_a_while(self):
        """A client of Ceph that was killed counts for 30 s."""
        self.leave()
        self.ticket.drop()
        self.wait_for(seconds=20)
        self.assertEqual([(self.image_id, self.task_id,
                           'returning the image to queued')], self.run_it())
        self.assert_set_back()

    def test_store_that_stays_busy(self):
        self.leave()
        self.ticket.drop()
        self.wait_for(seconds=1000)
        self.assertEqual(
            [(self.image_id, self.task_id,
              'returning the image to queued, but not yet: it is open')],
            self.run_it())
        self.assertEqual('importing', self.image().status)
        self.assertEqual(1, len(self.tickets()))

    def wait_for(self, seconds):
        """Let a store be busy, and time pass only while somebody sleeps."""
        now = [1000.0]
        clock = mock.Mock(monotonic=lambda: now[0],
                          sleep=lambda length: now.__setitem__(
                              0, now[0] + length))
        end = now[0] + seconds

        def remove(*args, **kwargs):
            if now[0] < end:
                raise stores.StoreBusy('it is open', 'Run: rm it')
        for module, name, value in (
                (host, 'time', clock), (interrupted, 'time', clock),
                (stores, 'remove_unused_copy', remove)):
            self.useFixture(base.fixture.fixtures.MockPatchObject(
                module, name, value))

    def test_configuration_is_wrong(self):
        self.config.write_text('nothing of the kind')
        error = self.assertRaises(host.RecoveryFailed, self.run_it)
        self.assertRegex(str(error), 'Failed to parse .*[^\\n]$')

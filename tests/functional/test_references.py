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

"""Servers and volumes refer to images that are migrated."""

import csv

from testbed.clouds import consumers
from tests.functional import migrations


class TestReferences(migrations.MigrateCase):
    """The cloud has a Nova and a Cinder, too."""

    SECONDS = 65

    @classmethod
    def setUpClass(cls):
        if not consumers.installed():
            cls.skipTest(cls, 'Cinder and Nova are not installed')
        super().setUpClass()
        cls.cinder = cls.add(consumers.Cinder)
        cls.nova = cls.add(consumers.Nova)

    @classmethod
    def get_cloud(cls, **options):
        # The catalog of no other class is to have these services.
        return cls.start_cloud(**options)

    @classmethod
    def add(cls, kind):
        """Start a service, and stop it after the tests of the class."""
        service = kind(cls.cloud.directory, cls.cloud.base,
                       cls.cloud.region)
        service.__enter__()
        cls.addClassCleanup(service.__exit__, None, None, None)
        return service

    def setUp(self):
        super().setUp()
        self.image = migrations.tiny()
        self.old = [self.store(self.image, user=user)
                    for user in ('demo', 'other')]

    def record(self, service, *images):
        """Make servers or volumes of images, each with the user's name."""
        return service.record(*(
            (self.cloud.connection(user).current_project_id, image_id)
            for user, image_id in images))

    def used_by(self, **options):
        """What the mapping says of each old image."""
        mapping = self.scratch('mapping.csv')
        ended = self.migrate('run', '--mapping', mapping, '--force',
                             **options)
        with open(mapping, newline='') as file:
            found = {row['old_id']: row['used_by']
                     for row in csv.DictReader(file)}
        return found, ended.stderr

    def test_servers_and_volumes(self):
        mine, others = self.old
        server, foreign, _ = self.record(
            self.nova, ('demo', mine), ('other', others), ('demo', ''))
        volume, _ = self.record(self.cinder, ('demo', mine), ('demo', ''))
        found, shown = self.used_by()
        expected = {mine: f'server:{server} volume:{volume}'}
        self.assertEqual(expected, found)
        self.assertIn(f'Still used: {mine} by server {server}, '
                      f'volume {volume}', shown)
        found, shown = self.used_by(user='admin')
        self.assertEqual(expected | {others: f'server:{foreign}'}, found)
        self.assertIn(f'Still used: {others} by server {foreign}', shown)
        self.assertNotIn('Cannot see', shown)

    def test_undo_leaves_what_is_used(self):
        mine, others = self.old
        self.migrate('run', user='admin')
        new = self.the_new(mine).id
        volume, = self.record(self.cinder, ('demo', new))
        rows = self.migrate('undo', '--yes', user='admin').rows
        self.assertEqual(
            {mine: 'the new image was hidden, not deleted: it is used by '
             'volume ' + volume, others: ''},
            {row['id']: row['reason'] for row in rows})
        self.assertTrue(self.the_new(mine).os_hidden)
        self.assertEqual([], self.news_of(others))

    def test_service_that_is_down(self):
        mine, _ = self.old
        self.nova.service.kill()
        try:
            _, shown = self.used_by()
            self.assertIn('Cannot see what uses old images: servers: ', shown)
            ended = self.end(self.start('undo', mine))
            self.assertEqual(1, ended.status)
            self.assertIn('nothing was undone', ended.stderr)
            self.assertEqual({mine: 'done'}, self.states())
            row, = self.migrate('undo', mine, '--if-unknown', 'keep').rows
            self.assertIn('could not see whether it is used (servers: ',
                          row['reason'])
            self.assertTrue(self.the_new(mine).os_hidden)
            self.migrate('run')
            self.assertEqual(2, len(self.news_of(mine)))
            row, = self.migrate('undo', mine, '--if-unknown', 'delete').rows
            self.assertEqual((True, ''), (row['undone'], row['reason']))
            self.assertEqual(1, len(self.news_of(mine)))
        finally:
            self.nova.service.start()
            self.nova.service.wait()

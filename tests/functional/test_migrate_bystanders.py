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

"""Images that have nothing to do with a migration, whatever they say."""

import csv
import io
import uuid

from glance_xs_convert.migrate import names

from testbed.clouds import snapshots
from tests.functional import archives
from tests.functional import migrations

#: The longest text that fits a property.
LONG = 65535
#: What a user can write into properties and names.
EVIL = ('../tasks?x', '²', '=1+1', '\x1b[2J\x1b]0;x\x07', '\u202egpj.exe',
        '[' * 60000, 'x' * LONG)


class BystanderCase(migrations.MigrateCase):
    """Migrates images among others."""

    def raw(self, data=b'disk', user='demo', **attributes):
        """Store an image that is not one of XenServer's."""
        client = self.cloud.client(user)
        image_id = client.images.create(**{
            'name': 'bystander', 'disk_format': 'raw',
            'container_format': 'bare'} | attributes).id
        client.images.upload(image_id, io.BytesIO(data), len(data))
        return image_id

    def mapping(self):
        """What an operator would feed to other programs."""
        path = self.scratch('mapping.csv')
        self.migrate('run', '--mapping', path, '--force', user='admin')
        with open(path, newline='') as file:
            return {row['old_id']: row['new_id']
                    for row in csv.DictReader(file)}

    def seen(self):
        """All that the commands say."""
        rows = self.migrate('list', user='admin').rows
        return (sorted(rows, key=lambda row: row['id']),
                self.migrate('report', user='admin').rows, self.mapping())

    def records(self, *ids):
        """The images as they are, apart from when they were changed."""
        return [dict(self.admin.images.get(image_id)) for image_id in ids]

    def stored_and_migrated(self):
        """The ids of an old image and of its new one."""
        old_id = self.store(archives.small(), name='web')
        self.migrate('run')
        return old_id, self.the_new(old_id).id


class TestSnapshots(BystanderCase):
    """Nova and Cinder copy the properties of the new image."""

    SECONDS = 45

    def snapshots(self, image_id):
        return [snapshots.of_server(self.client, image_id),
                snapshots.of_server(self.client, image_id,
                                    volume_backed=True),
                snapshots.of_volume(self.client, image_id)]

    def test_converted_image_with_snapshots(self):
        old_id, new_id = self.stored_and_migrated()
        before = self.seen()
        self.assertEqual({old_id: new_id}, before[2])
        made = self.snapshots(new_id)
        for image_id in made:
            self.assertEqual(old_id, self.admin.images.get(
                image_id)[migrations.SOURCE])
        records = self.records(old_id, new_id, *made)
        self.assertEqual(before, self.seen())
        self.assertEqual(records, self.records(old_id, new_id, *made))
        row, = self.migrate('undo', old_id, user='admin').rows
        self.assertEqual((old_id, new_id), (row['id'], row['new_id']))
        self.assertEqual(records[2:], self.records(*made))
        self.assertFalse(self.admin.images.get(old_id).os_hidden)
        self.migrate('run')
        self.assertEqual(records[2:], self.records(*made))

    def test_old_image_that_is_deleted_or_not_selected(self):
        old_id, new_id = self.stored_and_migrated()
        other = self.store(archives.small(), name='other', user='other')
        made = self.snapshots(new_id)
        records = self.records(*made)
        rows = self.migrate('list', '--project', 'other', user='admin').rows
        self.assertEqual([other], [row['id'] for row in rows])
        self.admin.images.delete(old_id)
        rows = {row['new_id']: row['reason'] for row in self.migrate(
            'list', 'web', user='admin').rows}
        self.assertEqual({new_id: 'the old image was deleted'}, rows)
        self.assertNotIn(old_id, self.mapping())
        self.migrate('undo', '--yes', user='admin', status=1)
        self.assertEqual(records, self.records(*made))

    def test_new_image_that_is_gone(self):
        old_id, new_id = self.stored_and_migrated()
        made = self.snapshots(new_id)
        records = self.records(*made)
        self.admin.images.delete(new_id)
        row, = self.migrate('list', user='admin').rows
        self.assertIn(f'its new image {new_id} is gone', row['reason'])
        self.assertNotIn(old_id, self.mapping())
        self.migrate('undo', '--yes', user='admin')
        self.assertFalse(self.admin.images.get(old_id).os_hidden)
        self.assertEqual(records, self.records(*made))

    def test_snapshot_where_an_import_failed(self):
        bad = self.store(archives.refused()[0])
        self.end(self.start('run', '--method', 'glance-direct'))
        snapshot = self.raw(**{migrations.SOURCE: bad,
                               'base_image_ref': bad})
        self.assertEqual({bad: 'failed'}, self.states(user='admin'))
        self.migrate('undo', bad, user='admin')
        self.assertEqual({bad: 'waiting'}, self.states(user='admin'))
        self.admin.images.get(snapshot)


class TestMadeUp(BystanderCase):
    """A tenant writes what he likes."""

    SECONDS = 90

    def test_properties(self):
        old_id, new_id = self.stored_and_migrated()
        before = self.seen()
        made = [self.raw(user='other', **{migrations.SOURCE: old_id}),
                self.raw(user='other', id=names.new_id(old_id, 1), **{
                    migrations.SOURCE: old_id}),
                self.raw(user='other', id=names.new_id(old_id, 2), **{
                    'xs_convert_migrating': old_id,
                    'xs_convert_refused': 'evil'})]
        made += [self.raw(user='other', **dict.fromkeys(
            names.OWN | {'xs_convert_archive_size'}, text)) for text in EVIL]
        records = self.records(*made)
        self.assertEqual(before, self.seen())
        self.migrate('undo', '--yes', user='admin')
        self.assertEqual(records, self.records(*made))
        self.assertEqual({old_id: 'waiting'}, self.states(user='admin'))
        self.migrate('run', user='admin')
        self.assertEqual(records, self.records(*made))
        # The ids that the tenant has taken are left out.
        now = self.mapping()[old_id]
        self.assertNotIn(now, [new_id, *made])
        self.assert_replaced_by(old_id, now)

    def assert_replaced_by(self, old_id, new_id):
        old, new = (self.admin.images.get(image_id)
                    for image_id in (old_id, new_id))
        self.assertEqual((old_id, new_id, old.owner), (
            new[migrations.SOURCE], old[migrations.REPLACED_BY], new.owner))

    def test_name_that_is_the_id_of_another_image(self):
        old_id, _ = self.stored_and_migrated()
        evil = self.store(
            archives.small(), user='other', name=old_id, os_hidden=True,
            xs_convert_retired='hidden',
            xs_convert_replaced_by=str(uuid.uuid4()))
        records = self.records(evil)
        for command in ('list', 'run', 'undo'):
            rows = self.migrate(command, old_id, user='admin').rows
            self.assertEqual([old_id], [row['id'] for row in rows])
        self.assertEqual(records, self.records(evil))
        self.admin.images.delete(old_id)
        ended = self.end(self.start('undo', old_id, user='admin'))
        self.assertEqual(1, ended.status)
        self.assertEqual(records, self.records(evil))

    def test_images_that_point_at_others(self):
        """An archive that says that it was migrated is migrated."""
        small = archives.small()
        ids = [self.store(small, name=text, **{
            migrations.REPLACED_BY: text,
            'xs_convert_retired': 'hidden deactivated'})
            for text in (*EVIL[:5], str(uuid.uuid4()))]
        rows = self.migrate('list', user='admin').rows
        self.assertEqual({(old_id, 'waiting', None) for old_id in ids}, {
            (row['id'], row['state'], row['new_id']) for row in rows})
        self.migrate('run', user='admin')
        for old_id in ids:
            self.assert_replaced(old_id, small)

    def test_output(self):
        for text in EVIL[:5]:
            self.store(archives.small(), user='other', name=text)
        for form in ('table', 'csv', 'value', 'json', 'yaml'):
            ended = self.end(self.start('list', '-f', form, user='admin'))
            self.assertEqual(0, ended.status, ended.stderr)
            text = ended.stdout + ended.stderr
            self.assertEqual([], [c for c in text if not c.isprintable()
                                  and c != '\n'])
            if form == 'csv':
                for row in csv.reader(io.StringIO(ended.stdout)):
                    self.assertFalse(any(cell.startswith(
                        ('=', '+', '-', '@')) for cell in row), row)

    def test_many_long_properties(self):
        """Their sum does not matter to an administrator's command."""
        first, *others = [self.raw(user='other') for _ in range(9)]
        client = self.cloud.client('other')
        client.images.update(first, **{
            f'p{number}': 'x' * LONG for number in range(120)})
        self.cloud.change_database(*[(
            """INSERT INTO image_properties
               (image_id, name, value, created_at, deleted)
               SELECT %s, name, value, created_at, 0 FROM image_properties
               WHERE image_id = %s""", image_id, first)
            for image_id in others])
        old_id = self.store(archives.small())
        self.assertEqual({old_id: 'waiting'}, self.states(user='admin'))
        for image_id in (first, *others):
            client.images.delete(image_id)


class TestShared(BystanderCase):
    """A member of a project cannot accept for others."""

    SECONDS = 6

    def test_old_image_stays_until_the_new_one_is_accepted(self):
        other = self.cloud.client('other')
        project = self.cloud.connection('other').current_project_id
        old_id = self.store(archives.small(), name='web',
                            visibility='shared')
        self.client.image_members.create(old_id, project)
        other.image_members.update(old_id, project, 'accepted')
        for arguments in (('list',), ('run', '--dry-run')):
            row, = self.migrate(*arguments).rows
            self.assertIn(project, row['reason'])
        self.assertIn(project, self.migrate('run').stderr)
        new = self.assert_replaced(old_id, archives.small())

        def visible():
            return [image.id for image in other.images.list(
                filters={'name': 'web'})]

        self.assertEqual([old_id], visible())
        self.migrate('run')
        self.assertEqual([old_id], visible())
        other.image_members.update(new.id, project, 'accepted')
        self.migrate('run')
        self.assertEqual([new.id], visible())
        self.migrate('undo', old_id)
        self.assertEqual([old_id], visible())

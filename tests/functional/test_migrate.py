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

"""A cloud's images are migrated, and ordinary clients look at them."""

import csv
import io

from glanceclient import exc

from glance_xs_convert.migrate import names

from tests.functional import archives
from tests.functional import migrations

KEPT = ('name', 'owner', 'tags', 'protected', 'os_hidden', 'min_ram',
        'visibility')


def kept(image, name):
    """An attribute of an image; the order of tags means nothing."""
    return sorted(image[name]) if name == 'tags' else image[name]


class TestMigrate(migrations.MigrateCase):
    """All goes well."""

    SECONDS = 65

    def test_list_changes_nothing(self):
        small = archives.small()
        ids = [self.store(small, name='web-1', os_distro='debian'),
               self.store(small, name='db-1', user='other')]
        before = self.all_images()
        ended = self.migrate('list', user='admin')
        self.assertEqual(
            {(ids[0], 'web-1', 'waiting'), (ids[1], 'db-1', 'waiting')},
            {(row['id'], row['name'], row['state']) for row in ended.rows})
        self.assertEqual(
            ['id', 'name', 'project', 'size', 'state', 'new_id', 'reason'],
            list(ended.rows[0]))
        self.assertEqual([len(small.data)] * 2,
                         [row['size'] for row in ended.rows])
        self.assertIn('import method glance-download', ended.stderr)
        for arguments, found in (
                (('--name', 'web-*'), ids[:1]),
                (('--property', 'os_distro=debian'), ids[:1]),
                (('--property', 'os_distro=other'), []),
                (('--project', 'other'), ids[1:]),
                ((ids[1],), ids[1:]), (('db-1',), ids[1:])):
            rows = self.migrate('list', *arguments, user='admin').rows
            self.assertEqual(found, [row['id'] for row in rows])
        self.assertEqual(before, self.all_images())
        rows = self.migrate('run', '--dry-run', user='admin').rows
        self.assertEqual(2, len(rows))
        self.assertEqual(before, self.all_images())

    def test_both_methods_keep_what_users_see(self):
        for method in ('glance-download', 'glance-direct'):
            self.check_kept(method)
            self.delete_all()
            self.assert_tidy()

    def check_kept(self, method):
        small = archives.small()
        other = self.cloud.connection('other').current_project_id
        demo = self.cloud.connection('demo').current_project_id
        old_id = self.store(
            small, name='web', visibility='shared', tags=['a', 'b'],
            min_ram=64, min_disk=0, hw_disk_bus='scsi', os_distro='debian',
            odd_one='with "quotes" and ü', protected=True)
        self.client.image_members.create(old_id, other)
        self.cloud.client('other').image_members.update(
            old_id, other, 'accepted')
        self.client.image_members.create(old_id, demo[::-1])
        public = self.store(small, name='public', user='admin',
                            visibility='public', min_disk=7)
        before = {old_id: self.admin.images.get(old_id),
                  public: self.admin.images.get(public)}
        self.migrate('run', '--method', method, user='admin')
        for image_id, old in before.items():
            new = self.assert_replaced(image_id, small)
            for name in KEPT:
                self.assertEqual(kept(old, name), kept(new, name), name)
        new = self.the_new(old_id)
        self.assertEqual(
            ('scsi', 'debian', 'with "quotes" and ü', 1),
            (new.hw_disk_bus, new.os_distro, new.odd_one, new.min_disk))
        self.assertEqual(7, self.the_new(public).min_disk)
        self.assertEqual(
            {other: 'accepted', demo[::-1]: 'pending'},
            {member.member_id: member.status
             for member in self.admin.image_members.list(new.id)})
        # Who was let in before is let in now, and sees one image.
        seen = [image.id for image in self.cloud.client('other').images.list(
            filters={'name': 'web'})]
        self.assertEqual([new.id], seen)
        old = self.admin.images.get(old_id)
        self.assertEqual((True, 'active'), (old.os_hidden, old.status))
        self.assertEqual({old_id: 'done', public: 'done'},
                         self.states(user='admin'))
        # Nothing is left to be done.
        images = self.all_images()
        self.migrate('run', user='admin')
        self.assertEqual(images, self.all_images())

    def test_what_becomes_of_old_images(self):
        small = archives.small()
        for old, hidden, status in (('keep', False, 'active'),
                                    ('hide', True, 'active'),
                                    ('deactivate', True, 'deactivated')):
            old_id = self.store(small)
            self.migrate('run', '--old', old, old_id)
            self.assert_replaced(old_id, small)
            image = self.admin.images.get(old_id)
            self.assertEqual((hidden, status),
                             (image.os_hidden, image.status))
            before = self.migrate('undo', old_id).rows
            self.assertEqual([True], [row['undone'] for row in before])
            image = self.admin.images.get(old_id)
            self.assertEqual((False, 'active'),
                             (image.os_hidden, image.status))
            self.assertEqual([], [name for name in image
                                  if name.startswith('xs_convert_')])
            self.assertEqual([], self.news_of(old_id))

    def test_undo_leaves_what_is_used_and_run_works_again(self):
        small = archives.small()
        old_id = self.store(small, name='used')
        hidden_id = self.store(small, name='hidden', os_hidden=True)
        before = {image.id: dict(image) for image in self.all_images()}
        self.migrate('run')
        first = self.the_new(old_id).id
        self.client.images.create(name='snapshot', base_image_ref=first)
        rows = self.migrate('undo', '--yes').rows
        self.assertEqual([True, True], [row['undone'] for row in rows])
        reason = {row['id']: row['reason'] for row in rows}[old_id]
        self.assertIn('used by image', reason)
        for image_id, record in before.items():
            now = dict(self.admin.images.get(image_id))
            self.assertEqual(record | {'updated_at': now['updated_at']}, now)
        self.assertTrue(self.admin.images.get(first).os_hidden)
        self.migrate('run')
        self.assertEqual({first, *(image.id for image in self.news_of(
            old_id) if image.get(migrations.SOURCE))},
            {image.id for image in self.news_of(old_id)})
        self.assert_replaced(hidden_id, small)
        self.assertEqual({old_id: 'done', hidden_id: 'done'}, self.states())

    def test_delete_needs_agreement_and_the_right_sum(self):
        small = archives.small()
        old_id = self.store(small)
        protected = self.store(small, protected=True)
        ended = self.end(self.start('run', '--old', 'delete'))
        self.assertEqual(1, ended.status)
        self.assertIn('--yes', ended.stderr)
        self.assertEqual({old_id: 'waiting', protected: 'waiting'},
                         self.states())
        self.migrate('run', '--old', 'delete', '--yes')
        self.assertRaises(exc.HTTPNotFound, self.admin.images.get, old_id)
        self.assertTrue(self.admin.images.get(protected).os_hidden)
        rows = self.migrate('report').rows
        self.assertEqual({'deleted', 'hidden'},
                         {row['old_image'] for row in rows})
        for row in rows:
            self.assertEqual(row['sum'], row['verified_sum'])
            new = self.admin.images.get(row['new_id'])
            self.assertEqual('sha512:%s' % new.os_hash_value, row['sum'])
            self.assertEqual(small.sha256, self.download(new.id)[1])

    def test_report_and_mapping(self):
        small = archives.small()
        old_id = self.store(small, name='<web> & more')
        mapping = self.scratch('mapping.csv')
        page = self.scratch('report.html')
        self.migrate('run', '--verify', '--mapping', mapping)
        new = self.assert_replaced(old_id, small)
        with open(mapping, newline='') as file:
            self.assertEqual(
                [{'old_id': old_id, 'new_id': new.id, 'used_by': ''}],
                list(csv.DictReader(file)))
        row, = self.migrate('report', '--html', page).rows
        self.assertEqual(
            (old_id, new.id, len(small.data), small.size),
            (row['old_id'], row['new_id'], row['archive'], row['disk']))
        with open(page, encoding='utf-8') as file:
            text = file.read()
        self.assertIn('&lt;web&gt; &amp; more', text)
        self.assertNotIn('http', text)

    def test_bare_vhds_only_if_asked_for(self):
        bare = migrations.bare()
        old_id = self.store(bare, container_format='bare')
        self.assertEqual([], self.migrate('list').rows)
        self.migrate('run', '--bare', '--verify')
        self.assert_replaced(old_id, bare)

    def test_members_migrate_what_is_theirs(self):
        small = archives.small()
        own = self.store(small)
        shared = self.store(small, user='other', visibility='community')
        self.assertEqual({own: 'waiting'}, self.states())
        ended = self.migrate('run')
        self.assert_replaced(own, small)
        self.assertEqual([], self.news_of(shared))
        self.assertEqual([own], [row['id'] for row in ended.rows])
        row, = self.migrate('list', shared).rows
        self.assertEqual('skipped', row['state'])

    def test_without_a_login(self):
        ended = self.end(self.start('list', OS_PASSWORD='wrong-one'))
        self.assertEqual(1, ended.status)
        self.assertIn('the login', ended.stderr)
        self.assertNotIn('wrong-one', ended.stderr)


class TestForgedImages(migrations.MigrateCase):
    """Somebody knows an image's id, and with it that of the new one."""

    def test_foreign_image_with_the_derived_id(self):
        small = archives.small()
        old_id = self.store(small, user='admin', visibility='public')
        forged = self.client.images.create(
            id=names.new_id(old_id, 0), name='forged', disk_format='raw',
            container_format='bare', **{names.SOURCE: old_id}).id
        self.client.images.upload(forged, io.BytesIO(b'evil'))
        self.assertEqual({old_id: 'waiting'}, self.states(user='admin'))
        self.migrate('run', user='admin')
        new_id = self.admin.images.get(old_id)[migrations.REPLACED_BY]
        self.assertNotEqual(forged, new_id)
        self.assertEqual((small.size, small.sha256), self.download(new_id))

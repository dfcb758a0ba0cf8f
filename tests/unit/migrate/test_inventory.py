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

"""Which images are to be migrated, and how far they are."""

import functools

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import report
from glance_xs_convert.migrate import selection
from tests.unit.migrate import glance
from tests.unit.migrate import migrations

uid = glance.uid
RAW = {'disk_format': 'raw', 'container_format': 'bare'}


class InventoryCase(migrations.MigrationCase):
    """Lists the images of a cloud that has none at first."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()

    def states(self, **options):
        return {row_id: row.state
                for row_id, row in self.rows(**options).items()}

    def new_of(self, old, attempt=0, **attributes):
        """Put a new image of an old one there, and return its id."""
        return self.cloud.add(
            image_id=names.new_id(uid(old), attempt), os_hidden=True,
            **attributes)

    def inventory(self, **options):
        return inventory.Inventory(
            self.cloud, selection.Selection(**options))


class TestSelected(InventoryCase):
    """Images are chosen by id or name."""

    def setUp(self):
        super().setUp()
        self.cloud.add('a', name='web')
        self.cloud.add('b', name='db', owner='p2')
        self.cloud.add('c', name=None)

    def test_ids_and_names(self):
        for expected, chosen in (
                ('a', ('web',)), ('a', (uid('a'),)), ('ab', ('web', uid('b'))),
                ('c', (uid('c'),)), ('a', (uid('a'), 'web'))):
            self.assertEqual({uid(name) for name in expected},
                             set(self.rows(images=chosen)))

    def test_new_id_chooses_the_pair(self):
        new_id = self.new_of('a', **{names.SOURCE: uid('a')})
        self.cloud.records[uid('a')][names.REPLACED_BY] = new_id
        self.assertEqual({uid('a')}, set(self.rows(images=(new_id,))))

    def test_missing_images(self):
        for missing in ('none', uid('none'), 'WEB', uid('a').upper(), 'we*'):
            with self.assertRaisesRegex(errors.WrongArguments, 'not exist'):
                self.rows(images=('web', missing))
        with self.assertRaises(errors.WrongArguments):
            self.rows(images=('web',), project='p2')

    def test_ambiguous_name(self):
        self.cloud.add('d', name='web')
        with self.assertRaisesRegex(errors.WrongArguments, uid('d')):
            self.rows(images=('web',))
        self.assertEqual({uid('d')}, set(self.rows(images=(uid('d'),))))

    def test_image_named_like_the_id_of_another(self):
        self.cloud.add('evil', name=uid('a'))
        self.assertEqual({uid('a')}, set(self.rows(images=(uid('a'),))))
        self.cloud.add('evil', name=uid('gone'))
        with self.assertRaises(errors.WrongArguments):
            self.rows(images=(uid('gone'),))

    def test_members_see_what_is_theirs(self):
        self.cloud.is_admin = False
        self.assertEqual({uid('a'): 'waiting', uid('c'): 'waiting'},
                         self.states())
        row = self.rows(images=(uid('b'),))[uid('b')]
        self.assertEqual(('skipped', 'it belongs to another project'),
                         (row.state, row.reason))
        # A name is that of an image of one's own.
        self.cloud.add('d', name='web', owner='p2')
        self.assertEqual({uid('a')}, set(self.rows(images=('web',))))

    def test_only_bare_vhds_if_asked_for(self):
        self.cloud.add('bare', container_format='bare')
        self.assertNotIn(uid('bare'), self.rows())
        self.assertIn(uid('bare'), self.rows(bare=True))

    def test_id_that_is_no_uuid(self):
        self.cloud.add(image_id='../tasks?x', name='odd')
        row = self.rows()['../tasks?x']
        self.assertEqual(inventory.SKIPPED, row.state)


class TestStates(InventoryCase):
    """Rows are derived from Glance's lists."""

    def test_states(self):
        self.cloud.add('waiting')
        self.cloud.add('off', status='deactivated')
        self.cloud.add('signed', img_signature='x')
        for status in ('queued', 'uploading', 'importing', 'active'):
            self.cloud.add(status)
            self.new_of(status, status=status,
                        **{names.MIGRATING: uid(status)})
        self.cloud.add('failed')
        self.new_of('failed', **{names.MIGRATING: uid('failed'),
                                 names.FAILED: 'no luck'})
        self.cloud.add('almost')
        self.new_of('almost', **{names.SOURCE: uid('almost')})
        self.cloud.add('done', os_hidden=True, **{
            names.REPLACED_BY: names.new_id(uid('done'), 0)})
        done = self.new_of('done', **{names.SOURCE: uid('done')})
        self.cloud.add('gone', **{
            names.REPLACED_BY: names.new_id(uid('gone'), 0)})
        self.cloud.add('undone')
        self.new_of('undone', **{names.UNDONE: uid('undone')})
        self.cloud.add('kept')
        self.new_of('kept', **{names.UNDONE: uid('kept'),
                               names.KEPT: 'True'})
        self.assertEqual({uid(name): state for name, state in {
            'waiting': 'waiting', 'off': 'skipped', 'signed': 'skipped',
            'queued': 'running', 'uploading': 'running',
            'importing': 'running', 'active': 'running', 'failed': 'failed',
            'almost': 'running', 'done': 'done', 'gone': 'skipped',
            'undone': 'skipped', 'kept': 'waiting'}.items()}, self.states())
        rows = self.rows()
        self.assertEqual('no luck', rows[uid('failed')].reason)
        self.assertEqual(done, rows[uid('done')].new_id)
        self.assertIn('is gone', rows[uid('gone')].reason)
        self.assertIsNone(rows[uid('kept')].new_id)
        self.assertEqual('waiting',
                         self.states(drop_signature=True)[uid('signed')])

    def test_last_attempt_counts(self):
        self.cloud.add('old')
        for attempt in (2, 0, 1):
            self.new_of('old', attempt, **{
                names.MIGRATING: uid('old'), names.FAILED: str(attempt)})
        self.assertEqual('2', self.rows()[uid('old')].reason)

    def test_orphans(self):
        self.cloud.add('old')
        self.new_of('old', **{names.MIGRATING: uid('old')})
        orphan = self.new_of('gone', **{names.MIGRATING: uid('gone')})
        self.new_of('gone, too', **{names.SOURCE: uid('gone, too')})
        self.assertEqual([orphan], self.inventory().orphans())
        self.cloud.is_admin = False
        self.cloud.records[orphan]['owner'] = 'p2'
        self.assertEqual([], self.inventory().orphans())

    def test_orphans_that_another_new_image_has_overtaken(self):
        """An attempt that could not be deleted at its time."""
        first = self.new_of('old', 0, **{
            names.MIGRATING: uid('old'), names.KEPT: 'True'})
        second = self.new_of('old', 1, **{names.SOURCE: uid('old')})
        self.cloud.add('old')
        self.assertEqual([], self.inventory().orphans())
        self.cloud.records[uid('old')][names.REPLACED_BY] = second
        self.assertEqual([first], self.inventory().orphans())
        for name, value in (('os_hidden', False), ('protected', True)):
            with self.subTest(name):
                before = dict(self.cloud.records[first])
                self.cloud.records[first][name] = value
                self.assertEqual([], self.inventory().orphans())
                self.cloud.records[first] = before

    def test_hidden_old_image_of_another_format_is_not_gone(self):
        self.cloud.add('old', container_format='docker')
        orphan = self.new_of('old', **{names.MIGRATING: uid('old')})
        self.assertEqual([], self.inventory().orphans())
        del self.cloud.records[uid('old')]
        self.assertEqual([orphan], self.inventory().orphans())

    def test_counts(self):
        self.cloud.add('a')
        self.cloud.add('b')
        self.cloud.add('c', status='deactivated')
        self.assertEqual({'waiting': 2, 'skipped': 1},
                         inventory.counts(self.rows().values()))


class TestBystanders(migrations.MigrationCase):
    """Snapshots and made-up properties change nothing."""

    def setUp(self):
        super().setUp()
        self.new_id = self.migrate().new_id
        self.new = self.cloud.records[self.new_id]

    def snapshot(self, name='snapshot', image_id=None, **attributes):
        """What Nova makes of a server, with all that the image had."""
        inherited = {key: value for key, value in self.new.items()
                     if key.startswith('xs_convert_')}
        return self.cloud.add(name, image_id, **{
            **inherited, **RAW, 'size': 7, 'base_image_ref': self.new_id,
            **attributes})

    def check_unchanged(self, change):
        """The rows are the same with and without a change of the cloud."""
        before = self.rows()
        change()
        self.assertEqual(before, self.rows())
        inventory_ = inventory.Inventory(self.cloud, selection.Selection())
        self.assertEqual([], inventory_.orphans())
        return before

    def test_snapshot(self):
        row = self.check_unchanged(self.snapshot)[migrations.OLD]
        self.assertEqual((inventory.DONE, self.new_id),
                         (row.state, row.new_id))

    def test_snapshot_where_the_old_image_is(self):
        def delete():
            del self.cloud.records[migrations.OLD]

        def hide():
            self.old['os_hidden'] = True

        for change in (hide, delete):
            change()
            self.check_unchanged(self.snapshot)

    def test_snapshot_where_the_old_image_is_not_selected(self):
        self.snapshot()
        self.old['owner'] = self.new['owner'] = 'p2'
        self.assertEqual({}, self.rows(project='p1'))
        self.assertEqual({migrations.OLD}, set(self.rows(project='p2')))

    def test_snapshot_where_the_new_image_is_gone(self):
        self.snapshot()
        del self.cloud.records[self.new_id]
        row = self.row()
        self.assertEqual((inventory.SKIPPED, self.new_id),
                         (row.state, row.new_id))
        del self.cloud.records[migrations.OLD]
        self.assertEqual({}, self.rows())

    def test_snapshot_before_the_new_image_is_complete(self):
        del self.old[names.REPLACED_BY]
        self.check_unchanged(lambda: self.snapshot(**{
            names.MIGRATING: migrations.OLD}))

    def test_forged_images_of_other_projects(self):
        for number, made_up in enumerate((
                {names.SOURCE: migrations.OLD},
                {names.MIGRATING: migrations.OLD, names.REFUSED: 'evil'},
                {names.UNDONE: migrations.OLD})):
            self.check_unchanged(functools.partial(
                self.snapshot, owner='evil', image_id=names.new_id(
                    migrations.OLD, number + 1), **made_up))

    def test_forged_archive_is_an_image_to_migrate(self):
        forged = self.cloud.add(
            image_id=names.new_id(migrations.OLD, 1), owner='evil',
            **{names.MIGRATING: migrations.OLD})
        self.assertEqual({migrations.OLD, forged}, set(self.rows()))
        self.assertEqual(inventory.WAITING, self.rows()[forged].state)

    def test_made_up_replacement(self):
        """An image that names another one as its new one."""
        for made_up in (self.new_id, glance.uid('x'), '../x', '²'):
            other = self.cloud.add('other', **{
                names.REPLACED_BY: made_up, names.RETIRED: 'deactivated'})
            row = self.rows()[other]
            self.assertEqual((inventory.WAITING, None, frozenset()),
                             (row.state, row.new_id, row.retired))

    def test_image_that_is_not_the_new_one_is_not_gone(self):
        self.new['owner'] = 'p2'
        self.assertEqual(inventory.WAITING, self.row().state)

    def test_forged_image_does_not_hide_the_new_one_of_a_deleted_image(self):
        del self.cloud.records[migrations.OLD]
        forged = self.snapshot(
            image_id=names.new_id(migrations.OLD, 9), owner='evil')
        found = inventory.Inventory(
            self.cloud, selection.Selection()).rows()
        self.assertEqual({self.new_id, forged},
                         {row.new_id for row in found})
        self.assertEqual([], report.pairs(found))

    def test_deleted_old_image_is_in_no_mapping(self):
        self.assertEqual([(migrations.OLD, self.new_id)],
                         report.pairs(self.rows().values()))
        del self.cloud.records[migrations.OLD]
        row, = self.rows().values()
        self.assertEqual('the old image was deleted', row.reason)
        self.assertEqual([], report.pairs([row]))


class TestMembers(migrations.MigrationCase):
    """Those with whom an image is shared must accept the new one."""

    def test_they_are_named_before(self):
        row, = inventory.with_members(self.cloud, self.rows().values())
        self.assertEqual('', row.reason)
        self.cloud.is_admin = False
        row, = inventory.with_members(self.cloud, self.rows().values())
        self.assertIn('p2', row.reason)
        self.assertNotIn('p3', row.reason)

    def test_images_without_members(self):
        self.cloud.is_admin = False
        self.cloud.shares.clear()
        row, = inventory.with_members(self.cloud, self.rows().values())
        self.assertEqual('', row.reason)

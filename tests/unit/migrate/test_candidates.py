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

import unittest

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import names
from tests.unit.migrate import glance


class TestInventory(unittest.TestCase):
    """Rows are derived from Glance's lists."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()

    def rows(self, **selection):
        return {row.id: row for row in candidates.Inventory(
            self.cloud, candidates.Selection(**selection)).rows()}

    def states(self, **selection):
        return {row.id: row.state
                for row in self.rows(**selection).values()}

    def test_formats(self):
        self.cloud.add('archive')
        self.cloud.add('bare', container_format='bare')
        self.cloud.add('raw', disk_format='raw', container_format='bare')
        self.assertEqual({'archive'}, set(self.rows()))
        self.assertEqual({'archive', 'bare'}, set(self.rows(bare=True)))

    def test_filters(self):
        self.cloud.add('a', name='web-1', os_distro='debian')
        self.cloud.add('b', name='web-2', owner='p2')
        self.cloud.add('c', name=None)
        for expected, selection in (
                ('ab', {'name': 'web-*'}), ('a', {'name': 'web-[1]'}),
                ('b', {'project': 'p2'}), ('c', {'images': ('c',)}),
                ('a', {'properties': {'os_distro': 'debian'}}),
                ('', {'properties': {'os_distro': 'Debian'}}),
                ('ab', {'images': ('web-1', 'b')}),
                ('', {'images': ('b',), 'name': '*-1'})):
            self.assertEqual(set(expected), set(self.rows(**selection)))

    def test_missing_images(self):
        self.cloud.add('a', name='web')
        self.cloud.add('n', disk_format='raw', name='gone',
                       **{names.SOURCE: 'deleted'})
        inventory = candidates.Inventory(self.cloud, candidates.Selection(
            images=('a', 'web', 'deleted', 'none')))
        self.assertEqual(['none'], inventory.missing())
        with self.assertRaisesRegex(errors.WrongArguments, 'none'):
            candidates.check_selection(inventory)

    def test_members_see_what_is_theirs(self):
        self.cloud.is_admin = False
        self.cloud.add('own')
        self.cloud.add('public', owner='p2', visibility='public')
        self.assertEqual({'own': 'waiting'}, self.states())
        row = self.rows(images=('public',))['public']
        self.assertEqual(('skipped', 'it belongs to another project'),
                         (row.state, row.reason))

    def test_states(self):
        self.cloud.add('waiting')
        self.cloud.add('off', status='deactivated')
        self.cloud.add('signed', img_signature='x')
        for status in ('queued', 'uploading', 'importing', 'active'):
            self.cloud.add(status)
            self.cloud.add('n ' + status, status=status,
                           **{names.MIGRATING: status})
        self.cloud.add('failed')
        self.cloud.add('n failed', **{
            names.MIGRATING: 'failed', names.FAILED: 'no luck'})
        self.cloud.add('almost')
        self.cloud.add('n almost', **{names.SOURCE: 'almost'})
        self.cloud.add('done', os_hidden=True,
                       **{names.REPLACED_BY: 'n done'})
        self.cloud.add('n done', **{names.SOURCE: 'done'})
        self.cloud.add('undone', **{names.REPLACED_BY: 'n undone'})
        self.cloud.add('n undone', **{names.UNDONE: 'undone'})
        self.cloud.add('kept')
        self.cloud.add('n kept', **{names.UNDONE: 'kept',
                                    names.KEPT: 'True'})
        self.assertEqual({
            'waiting': 'waiting', 'off': 'skipped', 'signed': 'skipped',
            'queued': 'running', 'uploading': 'running',
            'importing': 'running', 'active': 'running', 'failed': 'failed',
            'almost': 'running', 'done': 'done', 'undone': 'skipped',
            'kept': 'waiting'}, self.states())
        rows = self.rows()
        self.assertEqual('no luck', rows['failed'].reason)
        self.assertEqual('n done', rows['done'].new_id)
        self.assertIsNone(rows['kept'].new_id)
        self.assertEqual('waiting',
                         self.states(drop_signature=True)['signed'])

    def test_forged_new_images_do_not_count(self):
        self.cloud.add('old')
        self.cloud.add('forged', owner='evil', **{names.SOURCE: 'old'})
        self.assertEqual({'old': 'waiting'}, self.states())

    def test_orphans(self):
        self.cloud.add('old')
        self.cloud.add('n', **{names.MIGRATING: 'old'})
        self.cloud.add('orphan', **{names.MIGRATING: 'gone'})
        self.cloud.add('complete', **{names.SOURCE: 'gone, too'})
        inventory = candidates.Inventory(self.cloud, candidates.Selection())
        self.assertEqual([('orphan', 'gone')], list(inventory.orphans()))


class TestNames(unittest.TestCase):
    """Ids are derived."""

    def test_ids_differ_and_stay_the_same(self):
        ids = {names.new_id(old, attempt)
               for old in ('a', 'b') for attempt in range(3)}
        self.assertEqual(6, len(ids))
        # Images of earlier releases are found only by the same ids.
        self.assertEqual(
            STABLE_ID, names.new_id('41ac97bf-01d1-45ee-811e-fe51c85d5cb7', 0))


STABLE_ID = 'be8dd386-c0d6-50f7-941c-cce00db7057d'

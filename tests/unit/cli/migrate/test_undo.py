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

"""``glance-xs-convert migrate undo``."""

from glance_xs_convert.migrate import names
from tests.unit.cli.migrate import base

uid = base.uid


class TestUndo(base.MigrateCase):
    """It undoes what was migrated, and nothing else."""

    def test_undo(self):
        self.cloud.add('a')
        self.migrate('run')
        rows, _ = self.migrate('undo', uid('a'))
        self.assertEqual([True], [row['undone'] for row in rows])
        rows, _ = self.migrate('undo', uid('a'))
        self.assertEqual([], rows)

    def test_what_was_not_migrated_is_left_alone(self):
        self.cloud.add('signed', img_signature='x')
        self.cloud.add('off', status='deactivated')
        self.cloud.add('a')
        self.migrate('run', uid('a'))
        rows, _ = self.migrate('undo', '--yes')
        self.assertEqual([uid('a')], [row['id'] for row in rows])

    def test_image_named_like_the_id_of_another(self):
        """Somebody wants an administrator to restore his image."""
        self.cloud.add('a')
        new_id = self.migrate('run')[0][0]['new_id']
        evil = self.cloud.add('evil', owner='evil', name=uid('a'), **{
            names.RETIRED: 'hidden', names.REPLACED_BY: names.new_id(
                uid('evil'), 0)})
        self.cloud.records[evil]['os_hidden'] = True
        before = dict(self.cloud.records[evil])
        rows, _ = self.migrate('undo', uid('a'))
        self.assertEqual([(uid('a'), new_id)],
                         [(row['id'], row['new_id']) for row in rows])
        self.assertEqual(before, self.cloud.records[evil])

    def test_snapshot_stays(self):
        old_id = self.cloud.add('a')
        new_id = self.migrate('run')[0][0]['new_id']
        inherited = {name: value
                     for name, value in self.cloud.records[new_id].items()
                     if name.startswith('xs_convert_')}
        snapshot = self.cloud.add(
            'snapshot', disk_format='raw', container_format='bare',
            **inherited)
        before = dict(self.cloud.records[snapshot])
        rows, _ = self.migrate('undo', '--yes')
        self.assertEqual([old_id], [row['id'] for row in rows])
        self.assertEqual({old_id, snapshot}, set(self.cloud.records))
        self.assertEqual(before, self.cloud.records[snapshot])

    def test_nobody_agreed(self):
        self.cloud.add('a')
        self.migrate('run')
        self.assert_fails(self.run_here('migrate', 'undo'), '--yes')
        self.migrate('undo', '--yes')

    def test_output_is_safe(self):
        self.add_failed(base.EVIL)
        _, ended = next(self.outputs('undo', '--yes'))
        self.assertIn('True', ended.stdout)
        self.assert_safe(ended)

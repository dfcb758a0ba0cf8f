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
"""Migrating to a cloud that adapts the guests."""

from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import report
from glance_xs_convert import terms
from tests.unit.migrate import glance
from tests.unit.migrate import migrations

#: The sum of the disk before the guest on it was adapted.
BEFORE = 'b' * 128


class AdaptingGlance(glance.Glance):
    """Has the plugin xs_adapt.

    :ivar says: the properties that it sets
    """

    def __init__(self):
        super().__init__()
        self.says = {terms.ADAPTED_BY: 'virt-v2v-in-place 2.2.0',
                     terms.DISK_SHA512: BEFORE, 'hw_disk_bus': 'virtio'}

    def _go_on(self, job, image):
        super()._go_on(job, image)
        if image['status'] == 'active' and image.get('xs_adapt') == 'true':
            image |= self.says


class Adapt(migrations.MigrationCase):

    def setUp(self):
        super().setUp()
        self.cloud = AdaptingGlance()
        self.cloud.add(name='web', hw_disk_bus='xen', other='stays')

    def new(self):
        new, = self.news()
        return new

    def test_not_asked(self):
        result = self.migrate()
        self.assertNotIn('xs_adapt', self.new())
        self.assertEqual('xen', self.new()['hw_disk_bus'])
        self.assertEqual((), result.notes)

    def test_adapted(self):
        result = self.migrate(adapt=True)
        new = self.new()
        self.assertEqual(
            ('true', 'virtio', 'stays', 'virt-v2v-in-place 2.2.0'),
            tuple(new[name] for name in (
                'xs_adapt', 'hw_disk_bus', 'other', terms.ADAPTED_BY)))
        self.assertEqual((), result.notes)
        self.assertEqual('xen', self.old['hw_disk_bus'])
        self.assertTrue(pairs.is_complete(self.old, new))

    def test_list_and_report(self):
        self.migrate(adapt=True)
        row = self.row()
        self.assertEqual(inventory.DONE, row.state)
        line, = report.lines([row])
        self.assertEqual('adapted by virt-v2v-in-place 2.2.0', line.guest)

    def test_kept_as_it_is(self):
        self.cloud.says = {terms.NOT_ADAPTED: 'hibernated. [UncleanGuest]',
                           'hw_disk_bus': 'ide'}
        result = self.migrate(adapt=True)
        self.assertEqual(('not adapted: hibernated. [UncleanGuest]',),
                         result.notes)
        self.assertEqual('ide', self.new()['hw_disk_bus'])

    def test_cloud_without_the_plugin(self):
        self.cloud.says = {}
        note, = self.migrate(adapt=True).notes
        self.assertIn('xs_adapt is not among', note)

    def test_verify(self):
        """The sum is that of the disk before, not Glance's."""
        with (migrations.verified(migrations.SUM),
              self.assertRaises(errors.Refused)):
            self.migrate(adapt=True, verify=True)
        with migrations.verified(BEFORE):
            self.migrate(self.new()['id'], adapt=True, verify=True,
                         retry=True)
        self.assertEqual(f'sha512:{BEFORE}', self.row().new.notes.verified)

    def test_verify_what_was_kept(self):
        self.cloud.says = {terms.NOT_ADAPTED: 'no.'}
        with migrations.verified(migrations.SUM):
            self.migrate(adapt=True, verify=True)
        self.assertEqual(f'sha512:{migrations.SUM}',
                         self.row().new.notes.verified)

    def test_delete(self):
        with migrations.verified(BEFORE):
            self.migrate(adapt=True, old=choices.DELETE)
        self.assertIn(migrations.OLD, self.cloud.deleted)

    def test_made_up_sum(self):
        """What does not have the form of a sum is none."""
        self.cloud.says[terms.DISK_SHA512] = 'yes'
        with migrations.verified(migrations.SUM):
            self.migrate(adapt=True, verify=True)
        self.assertEqual(f'sha512:{migrations.SUM}',
                         self.row().new.notes.verified)

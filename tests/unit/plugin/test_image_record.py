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

"""What a conversion changes in an image's record, and that it is undone."""

from tests.unit import cases
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import image_record


class Record(base.GlanceCase):

    PROPERTIES = {'hypervisor_type': 'xen', 'vm-mode': 'hvm', 'os_type': 'x'}

    def setUp(self):
        super().setUp()
        self.image_id = self.new_image(extra_properties=self.PROPERTIES)
        self.task_id = self.new_import(self.image_id)
        self.begin(self.image_id, self.task_id)

    PROVENANCE = {
        'xs_convert_source_format': 'vhd/ovf', 'xs_convert_layers': '3',
        'xs_convert_archive_size': '4711',
        'xs_convert_archive_sha256': 'c0ffee'}

    def change(self, guest=None, provenance=True, **options):
        """Change the record, and give what undoes it."""
        outcome = cases.converted(
            virtual_size=1 << 30, source_size=4711, source_sha256='c0ffee',
            guest=guest)
        writable = {'hw_firmware_type'}
        if provenance:
            writable |= {*image_record.PROVENANCE, *image_record.GUEST}
        with self.wrapper(self.image_id, self.task_id) as action:
            change = image_record.conversion(
                action, outcome, **{'remove': [], 'writable': writable}
                | options)
            undo = change.inverse(action)
            change.apply(action)
        return undo

    def undo(self, change):
        with self.wrapper(self.image_id, self.task_id) as action:
            change.apply(action)

    def record(self):
        image = self.image_repo.get(self.image_id)
        return (
            (image.disk_format, image.container_format, image.size,
             image.virtual_size),
            {name: value for name, value in dict(
                image.extra_properties).items()
             if not name.startswith('os_glance_')})

    def test_provenance(self):
        self.change()
        self.assertEqual(
            (('raw', 'bare', 1 << 30, 1 << 30),
             {**self.PROPERTIES, **self.PROVENANCE}), self.record())

    def test_guest(self):
        before = self.record()
        undo = self.change(cases.guest(firmware='uefi'))
        self.assertEqual(
            {**self.PROPERTIES, **self.PROVENANCE,
             'xs_convert_vm_name': 'web-1',
             'xs_convert_product': 'XenServer 8.2.1',
             'hw_firmware_type': 'uefi'}, self.record()[1])
        self.undo(undo)
        self.assertEqual(before, self.record())

    def test_guest_of_which_little_is_known(self):
        self.change(cases.guest(
            name='', product='', version='', boot_mode='PV'))
        self.assertEqual({**self.PROPERTIES, **self.PROVENANCE},
                         self.record()[1])

    def test_guest_without_provenance(self):
        self.change(cases.guest(firmware='bios'),
                    provenance=False)
        self.assertEqual({**self.PROPERTIES, 'hw_firmware_type': 'bios'},
                         self.record()[1])

    def test_firmware_that_may_not_be_set(self):
        self.change(cases.guest(firmware='uefi'), writable=set())
        self.assertEqual(self.PROPERTIES, self.record()[1])

    def test_guest_of_an_image_with_many_properties(self):
        """What describes the guest is left out, the most important last."""
        for quota, names in (
                (7, []), (8, ['hw_firmware_type']),
                (9, ['hw_firmware_type', 'xs_convert_vm_name']),
                (-1, ['hw_firmware_type', 'xs_convert_product',
                      'xs_convert_vm_name'])):
            before = self.record()
            undo = self.change(cases.guest(firmware='uefi'), quota=quota)
            found = self.record()[1]
            self.assertEqual(names, sorted(
                name for name in found if name not in self.PROVENANCE
                and name not in self.PROPERTIES))
            self.assertEqual(self.PROVENANCE, {
                name: found[name] for name in self.PROVENANCE})
            self.undo(undo)
            self.assertEqual(before, self.record())

    def test_counted(self):
        self.assertEqual({'a', 'b'}, image_record.counted(
            ['a', 'b', 'vm-mode', 'os_glance_x'], ['vm_mode', 'x*']))

    def test_firmware_that_the_user_has_chosen(self):
        with self.wrapper(self.image_id, self.task_id) as action:
            action.set_image_extra_properties({'hw_firmware_type': 'bios'})
        undo = self.change(cases.guest(firmware='uefi'))
        self.assertEqual('bios', self.record()[1]['hw_firmware_type'])
        self.undo(undo)
        self.assertEqual('bios', self.record()[1]['hw_firmware_type'])

    def test_chosen_disk(self):
        image = self.image_repo.get(self.image_id)
        self.assertIsNone(image_record.wanted_disk(image))
        with self.wrapper(self.image_id, self.task_id) as action:
            action.set_image_extra_properties({'xs_convert_disk': 'xvdb'})
        image = self.image_repo.get(self.image_id)
        self.assertEqual('xvdb', image_record.wanted_disk(image))
        self.change()
        self.assertEqual('xvdb', self.record()[1]['xs_convert_disk'])

    def test_no_provenance(self):
        self.change(provenance=False)
        self.assertEqual(self.PROPERTIES, self.record()[1])

    def test_removed_properties(self):
        """A dash is as good as an underscore; Glance's own stay."""
        self.change(provenance=False, remove=['vm_mode', 'hypervisor*',
                                              'os_glance*'])
        self.assertEqual({'os_type': 'x'}, self.record()[1])
        image = self.image_repo.get(self.image_id)
        self.assertEqual(self.task_id,
                         image.extra_properties['os_glance_import_task'])

    def test_undone(self):
        before = self.record()
        self.undo(self.change(remove=['vm_mode']))
        self.assertEqual(before, self.record())

    def test_property_that_was_there_before(self):
        """The record of an earlier conversion is given back, too."""
        with self.wrapper(self.image_id, self.task_id) as action:
            action.set_image_extra_properties({'xs_convert_layers': '7'})
        self.undo(self.change())
        self.assertEqual({**self.PROPERTIES, 'xs_convert_layers': '7'},
                         self.record()[1])

    def test_what_the_user_changes_meanwhile_stays(self):
        undo = self.change()
        image = self.image_repo.get(self.image_id)
        image.extra_properties['os_type'] = 'changed'
        self.image_repo.save(image)
        self.undo(undo)
        self.assertEqual({**self.PROPERTIES, 'os_type': 'changed'},
                         self.record()[1])

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

"""What adapting a guest leaves in the image's record."""

import unittest

from glance_xs_convert import exceptions

from tests.unit.guest import base as guest_base
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import adapt_record


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Asked(unittest.TestCase):
    """The owner of an image writes what he likes."""

    def test_yes_and_no(self):
        for value, wish in (('true', True), ('YES', True), (' on ', True),
                            ('false', False), ('0', False)):
            self.assertIs(wish, adapt_record.asked({'xs_adapt': value}))

    def test_nothing(self):
        for value in ('', 'perhaps', 'true\n\x1b[m yes', '2' * 300):
            self.assertIsNone(adapt_record.asked({'xs_adapt': value}))
        self.assertIsNone(adapt_record.asked({'xs_adapted': 'true'}))


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Adapted(unittest.TestCase):
    """The properties of a guest that was adapted."""

    def adapted(self, **found):
        return adapt_record.adapted(found, guest_base.LINUX, 'c0ffee')

    def test_firmware_of_the_export(self):
        """The firmware that the export names counts."""
        found = self.adapted(hw_firmware_type='uefi')
        self.assertEqual('q35', found['hw_machine_type'])
        self.assertNotIn('hw_firmware_type', found)

    def test_unknown_firmware(self):
        """What the guest was found to boot with counts instead."""
        found = self.adapted(hw_firmware_type='coreboot')
        self.assertNotIn('hw_machine_type', found)
        self.assertNotIn('hw_firmware_type', found)

    def test_properties_of_the_owner_stay(self):
        found = self.adapted(hw_disk_bus='scsi', os_distro='mine')
        self.assertNotIn('hw_disk_bus', found)
        self.assertNotIn('os_distro', found)
        self.assertEqual('virtio', found['hw_vif_model'])

    def test_properties_for_xen_go(self):
        found = self.adapted(hw_disk_bus='xen', vm_mode='hvm',
                             hypervisor_type='xen')
        self.assertEqual('virtio', found['hw_disk_bus'])
        self.assertEqual((None, None),
                         (found['vm_mode'], found['hypervisor_type']))

    def test_earlier_failure_is_forgotten(self):
        found = self.adapted(xs_convert_not_adapted='no. [ToolMissing]')
        self.assertIsNone(found['xs_convert_not_adapted'])
        self.assertEqual(
            ('virt-v2v-in-place 2.2.0', 'c0ffee'),
            (found['xs_convert_adapted_by'],
             found['xs_convert_disk_sha512']))


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Unadapted(unittest.TestCase):
    """The properties of a guest that stays as it is."""

    def unadapted(self, error, firmware='bios', **found):
        return adapt_record.unadapted(found, error, firmware)

    def test_long_reason(self):
        found = self.unadapted(exceptions.AdaptingFailed('x' * 1000))
        self.assertEqual({'xs_convert_not_adapted'}, set(found))
        self.assertLessEqual(len(found['xs_convert_not_adapted']), 255)
        self.assertTrue(found['xs_convert_not_adapted'].endswith(
            '. [AdaptingFailed]'))

    def test_devices_that_the_guest_has_drivers_for(self):
        found = self.unadapted(exceptions.UncleanGuest('it hibernates'),
                               hw_disk_bus='xen', hw_vif_model='rtl8139')
        self.assertEqual('ide', found['hw_disk_bus'])
        self.assertNotIn('hw_vif_model', found)

    def test_firmware_of_the_record(self):
        """It counts before what the disk seems to boot with."""
        unclean = exceptions.UncleanGuest('it hibernates')
        self.assertEqual('sata', self.unadapted(
            unclean, 'uefi')['hw_disk_bus'])
        self.assertEqual('ide', self.unadapted(
            unclean, 'uefi', hw_firmware_type='bios')['hw_disk_bus'])

    def test_nothing_is_known_of_the_guest(self):
        """Then its properties stay, also those for Xen."""
        found = self.unadapted(exceptions.NoOperatingSystem('none'),
                               hw_disk_bus='xen')
        self.assertEqual({'xs_convert_not_adapted'}, set(found))

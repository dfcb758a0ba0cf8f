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
"""The properties with which an adapted guest boots."""

import dataclasses
import unittest

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import inspection
from glance_xs_convert.guest import properties

from tests.unit.guest import base


def windows(version, **changes):
    return dataclasses.replace(base.LINUX, system=inspection.System(
        'windows', 'windows', 'Windows', version, 'x86_64'), **changes)


class OfGuest(unittest.TestCase):
    """The values are Nova's and Glance's."""

    def test_linux(self):
        self.assertEqual({
            'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio',
            'hw_firmware_type': 'bios', 'os_type': 'linux',
            'os_distro': 'debian', 'os_version': '12.5',
        }, properties.of_guest(base.LINUX))

    def test_uefi(self):
        found = properties.of_guest(
            dataclasses.replace(base.LINUX, firmware=adapt.UEFI))
        self.assertEqual(('uefi', 'q35'), (found['hw_firmware_type'],
                                           found['hw_machine_type']))

    def test_agent(self):
        found = properties.of_guest(dataclasses.replace(
            base.LINUX, system=dataclasses.replace(
                base.LINUX.system, has_agent=True)))
        self.assertEqual('yes', found['hw_qemu_guest_agent'])

    def test_without_drivers(self):
        for version, firmware, expected in (
                ('5.1', adapt.BIOS, ('ide', 'rtl8139')),
                ('10.0', adapt.BIOS, ('ide', 'e1000')),
                ('10.0', adapt.UEFI, ('sata', 'e1000'))):
            found = properties.of_guest(windows(
                version, firmware=firmware, has_virtio_disk=False,
                has_virtio_net=False))
            self.assertEqual(expected, (found['hw_disk_bus'],
                                        found['hw_vif_model']))
            self.assertEqual('windows', found['os_type'])

    def test_a_driver_for_the_disk_alone(self):
        found = properties.of_guest(windows('6.1', has_virtio_net=False))
        self.assertEqual(('virtio', 'e1000'), (found['hw_disk_bus'],
                                               found['hw_vif_model']))

    def test_other_systems_have_no_os_type(self):
        found = properties.of_guest(dataclasses.replace(
            base.LINUX, system=inspection.System(
                'freebsd', 'freebsd', None, None, None)))
        self.assertNotIn('os_type', found)
        self.assertNotIn('os_version', found)
        self.assertEqual('freebsd', found['os_distro'])


class Unadapted(unittest.TestCase):
    """A guest that keeps its drivers gets the devices it had."""

    def test_guest_with_a_system(self):
        unclean = exceptions.UncleanGuest('hibernated')
        self.assertEqual({'hw_disk_bus': 'ide', 'hw_vif_model': 'e1000'},
                         properties.of_unadapted(unclean, False))
        self.assertEqual(
            {'hw_disk_bus': 'sata', 'hw_vif_model': 'e1000',
             'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'},
            properties.of_unadapted(unclean, True))

    def test_nothing_known(self):
        for kind in (exceptions.NoOperatingSystem, exceptions.ToolMissing,
                     exceptions.AdaptingTimedOut, exceptions.NoBootLoader,
                     exceptions.OnlyXenKernels):
            self.assertEqual({}, properties.of_unadapted(kind('x'), True))


class XenOnly(unittest.TestCase):
    """What goes, and what stays."""

    def test_goes(self):
        for name, value in (
                ('hypervisor_type', 'xen'), ('hypervisor-type', 'XEN'),
                ('img_hv_type', 'xen'), ('vm_mode', 'xen'),
                ('vm_mode', 'hvm'), ('hw_vm_mode', 'xen'),
                ('hw_disk_bus', 'xen'), ('hw_vif_model', 'netfront')):
            self.assertTrue(properties.is_xen_only(name, value), name)

    def test_stays(self):
        for name, value in (('hypervisor_type', 'kvm'),
                            ('hw_disk_bus', 'scsi'), ('os_type', 'xen'),
                            ('hw_vif_model', 'e1000')):
            self.assertFalse(properties.is_xen_only(name, value), name)

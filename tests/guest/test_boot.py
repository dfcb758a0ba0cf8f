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
"""Guests as XenServer has them, imported into a real Glance, and booted.

Nothing is a stand-in here: Debian guests made from packages, virt-v2v in
libguestfs' virtual machine, and qemu with the devices that the properties of
the image name. Without KVM, one guest takes up to half an hour.

``XS_CONVERT_GUESTS`` names a directory in which the guests' disks are kept for
the next time; ``XS_CONVERT_GUEST_PATIENCE`` is the number of seconds after
which a guest counts as lost.
"""

import os
import pathlib
import tempfile
import time
import unittest

import testtools
from testtools import content

from testbed.clouds import cloud
from testbed.clouds import file_server
from testbed.guests import adapting
from testbed.guests import debian
from testbed.guests import machine
from testbed.guests import wrapping
from testbed.images import xva

_PATIENCE = float(os.environ.get('XS_CONVERT_GUEST_PATIENCE', '1800'))
_IMPORT_PATIENCE = 3 * 3600
#: What is tried before the guest is adapted: what Nova gives it otherwise.
_DEFAULTS = {'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio'}
_EMULATED = {'hw_disk_bus': 'ide', 'hw_vif_model': 'e1000'}


@unittest.skipIf(adapting.missing(), f'missing: {adapting.missing()}')
class Boot(testtools.TestCase):
    """None comes up before; all that are promised come up after."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.scratch = pathlib.Path(scratch.name)
        kept = os.environ.get('XS_CONVERT_GUESTS')
        cls.disks = debian.make(
            pathlib.Path(kept) if kept else cls.scratch / 'guests')
        cls.files = file_server.FileServer()
        cls.addClassCleanup(cls.files.close)
        cls.cloud = cloud.Cloud(sources=[cls.files.url],
                                **adapting.options(_IMPORT_PATIENCE))
        cls.addClassCleanup(cls.cloud.close)
        cls.cloud.start()
        cls.client = cls.cloud.client()

    def import_guest(self, path):
        """Import a guest that is to be adapted.

        :returns: the image, and its disk in the store
        """
        image_id = self.client.images.create(
            name=path.name, disk_format='vhd', container_format='ovf',
            hypervisor_type='xen', vm_mode='xen', xs_adapt='true').id
        self.client.images.image_import(
            image_id, 'web-download', uri=self.files.add(image_id, path))
        begun = time.monotonic()
        task = self.cloud.wait_for_import(
            self.client, image_id, _IMPORT_PATIENCE)
        self.addDetail('import', content.text_content(
            f'{time.monotonic() - begun:.0f} seconds: {task}'))
        self.assertEqual('success', task['status'], task['message'])
        self.assertEqual([], self.cloud.staged())
        return (self.client.images.get(image_id),
                self.cloud.store_path() / image_id)

    def boot(self, disk, properties):
        found = machine.boot(disk, properties, _PATIENCE)
        self.addDetail(f'console-{time.monotonic()}',
                       content.text_content(found.console))
        self.addDetail(f'boot-{time.monotonic()}', content.text_content(
            f'up: {found.is_up}, {found.seconds:.0f} seconds'))
        return found

    def assert_boots(self, image, disk):
        """It comes up with the devices that the image promises."""
        found = self.boot(disk, image)
        self.assertTrue(found.is_up, found.console[-3000:])
        self.assertEqual({'virtio': 'vd', 'ide': 'sd', 'sata': 'sd'}[
            image['hw_disk_bus']], found.root.removeprefix('/dev/')[:2])
        self.assertIn({'virtio': 'virtio_net', 'e1000': 'e1000',
                       'rtl8139': '8139'}[image['hw_vif_model']],
                      found.network)

    def assert_adapted(self, image, firmware):
        self.assertEqual(
            ('virtio', 'virtio', firmware, 'linux', 'debian'),
            tuple(image.get(name) for name in (
                'hw_disk_bus', 'hw_vif_model', 'hw_firmware_type', 'os_type',
                'os_distro')), image.get('xs_convert_not_adapted'))
        self.assertRegex(image['xs_convert_adapted_by'], 'virt-v2v')
        self.assertNotIn('hypervisor_type', image)
        self.assertNotIn('vm_mode', image)

    def test_bios(self):
        before = self.disks['bios']
        for properties in (_DEFAULTS, _EMULATED):
            self.assertFalse(self.boot(before, properties).is_up)
        path = self.scratch / 'bios.tar'
        wrapping.write_chain(before, path)
        image, disk = self.import_guest(path)
        self.assert_adapted(image, 'bios')
        self.assert_boots(image, disk)

    def test_uefi(self):
        before = self.disks['uefi']
        uefi = {'hw_firmware_type': 'uefi'}
        for properties in (_DEFAULTS, {**_EMULATED, 'hw_disk_bus': 'sata'}):
            self.assertFalse(self.boot(before, properties | uefi).is_up)
        path = self.scratch / 'uefi.xva'
        wrapping.write_export(before, path, HVM_boot_params={
            'order': 'c', 'firmware': 'uefi'})
        image, disk = self.import_guest(path)
        self.assert_adapted(image, 'uefi')
        self.assertEqual('q35', image['hw_machine_type'])
        self.assert_boots(image, disk)

    def test_paravirtualized(self):
        """It has no boot loader, so it is kept, and the image says why."""
        before = self.disks['paravirtualized']
        self.assertFalse(self.boot(before, _DEFAULTS).is_up)
        path = self.scratch / 'paravirtualized.xva'
        wrapping.write_export(before, path, **xva.PARAVIRTUALIZED)
        image, disk = self.import_guest(path)
        self.assertRegex(image['xs_convert_not_adapted'],
                         r'Install a boot loader .*\[NoBootLoader\]')
        self.assertNotIn('xs_convert_adapted_by', image)
        self.assertEqual(wrapping.content(before).tobytes(), disk.read_bytes())

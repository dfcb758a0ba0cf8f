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
"""A virtual machine of two disks, with the command ``upload``."""

import json
import os
import shlex

from testbed.images import model
from testbed.images import xva
from tests.functional import migrations

MIB = xva.MIB


class TestUploadVm(migrations.MigrateCase):
    """From a file, and from an address that the cloud downloads."""

    def setUp(self):
        super().setUp()
        self.disks = [
            xva.random_disk('data', 3 * MIB, ref='Ref:7', device='xvdb',
                            userdevice='1', bootable=False),
            xva.random_disk('system', 5 * MIB, ref='Ref:8', device='xvda',
                            userdevice='0')]
        self.path = self.scratch('web-1.xva')
        with open(self.path, 'wb') as file:
            file.write(xva.Export(self.disks, vm=xva.UEFI).tar())

    def upload(self, *arguments, source=None):
        ended = self.end(self.call(
            'upload', source or self.path, '-f', 'json', *arguments))
        return ended, json.loads(ended.stdout) if ended.stdout else []

    def assert_images(self, rows, names):
        """The images are the disks, and are all that there is."""
        self.assertEqual(names, [row['Name'] for row in rows])
        for row, disk in zip(rows, (self.disks[1], self.disks[0]),
                             strict=True):
            self.assertEqual(
                (disk.size, model.content_sha256(disk.content)),
                self.download(row['Image']))
        images = {image.id: image for image in self.all_images()}
        self.assertEqual({row['Image'] for row in rows}, set(images))
        for image in images.values():
            self.assertEqual(
                ('active', 'raw', 'bare', 'private', 'uefi', 2048, 1),
                (image.status, image.disk_format, image.container_format,
                 image.visibility, image['hw_firmware_type'], image.min_ram,
                 image.min_disk))
            self.assertNotIn('xs_convert_uploading', image)

    def test_file(self):
        ended, rows = self.upload('--property', 'mine=yes')
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_images(rows, ['web-1-xvda', 'web-1-xvdb'])
        command = shlex.split(next(
            line for line in ended.stderr.splitlines()
            if line.startswith('openstack server create')))
        self.assertEqual(rows[0]['Image'],
                         command[command.index('--image') + 1])
        self.assertIn(f'uuid={rows[1]["Image"]},',
                      command[command.index('--block-device') + 1])
        again, same = self.upload('--property', 'mine=yes')
        self.assertEqual((0, rows), (again.status, same))
        self.assert_images(rows, ['web-1-xvda', 'web-1-xvdb'])

    def test_address(self):
        """The beginning of the export tells which disks it has."""
        ended, rows = self.upload(
            '--name', 'other',
            source=self.files.add('web-1.xva', self.path))
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_images(rows, ['other-xvda', 'other-xvdb'])

    def test_atomic(self):
        """The second disk is not there, so the first one goes, too."""
        ended, rows = self.upload(
            '--atomic', '--no-inspect', '--disk', 'xvda', '--disk', 'xvdz',
            source=self.files.add('web-1.xva', self.path))
        self.assertEqual((1, []), (ended.status, rows))
        self.assertIn('xvdz', ended.stderr)
        self.assertEqual([], self.ids_of())

    def test_broken(self):
        """Nothing is sent that this computer can see to be broken."""
        size = os.path.getsize(self.path)
        os.truncate(self.path, size // 2)
        ended, _ = self.upload()
        self.assertEqual(1, ended.status)
        self.assertEqual([], self.ids_of())

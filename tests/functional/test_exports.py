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

"""XenServer exports, and whatever else comes under one declaration."""

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import xva
from tests.functional import archives
from tests.functional import uploads

MIB = xva.MIB


def image(name, disk, data):
    """An image out of which a disk of the generator comes."""
    return archives.Image(name, data, disk.size,
                          model.content_sha256(disk.content))


class TestExports(uploads.UploadCase):
    """Imports and plain uploads, into a Glance of today."""

    OPTIONS = uploads.UploadCase.OPTIONS | {'stores': ('fast', 'slow')}

    def properties(self, image_id):
        """What the import has recorded."""
        record = self.client.images.get(image_id)
        return {name: value for name, value in record.items()
                if name.startswith(('xs_convert_', 'hw_'))
                and name not in ('xs_convert_archive_size',
                                 'xs_convert_archive_sha256')}

    def test_web_download(self):
        disk = xva.random_disk('web', 9 * MIB + 512)
        data = archive.zstandard([xva.Export([disk], vm=xva.UEFI).tar()])
        export = image('export.xva', disk, data)
        with self.new_image(export.name) as image_id:
            task = self.web_download(image_id, export.data)
            self.assert_converted(image_id, task, export)
            self.assertEqual(
                {'xs_convert_source_format': 'vhd/ovf',
                 'xs_convert_layers': '1', 'xs_convert_vm_name': 'web-1',
                 'xs_convert_product': 'XenServer 8.2.1',
                 'hw_firmware_type': 'uefi'}, self.properties(image_id))

    def test_plain_upload(self):
        disk = xva.random_disk('upload', 5 * MIB, 100_000)
        export = image('export.xva', disk, xva.Export([disk]).tar())
        for properties in ({}, {'hw_firmware_type': 'uefi'}):
            with self.new_image(export.name, **properties) as image_id:
                task = self.upload(image_id, export.data)
                self.assert_converted(image_id, task, export)
                self.assertEqual(
                    properties.get('hw_firmware_type', 'bios'),
                    self.properties(image_id)['hw_firmware_type'])

    def test_two_disks_of_which_one_is_chosen(self):
        disks = [xva.random_disk('system', 3 * MIB, ref='Ref:9'),
                 xva.random_disk('data', 5 * MIB, ref='Ref:10', name='data',
                                 device='xvdb', userdevice='1')]
        data = archive.gzipped([xva.Export(disks).tar()])
        with self.new_image('two disks') as image_id:
            task = self.web_download(image_id, data)
            self.assert_refused(
                image_id, task,
                r'xvda \(0\), 3 MiB, "system"; xvdb \(1\), 5 MiB, "data"')
            self.client.images.update(image_id, xs_convert_disk='xvdb')
            task = self.web_download(image_id, data)
            self.assert_converted(image_id, task,
                                  image('two disks', disks[1], data))
        with self.new_image('two disks', xs_convert_disk='0') as image_id:
            task = self.glance_direct(image_id, data)
            self.assert_converted(image_id, task,
                                  image('two disks', disks[0], data))
        with self.new_image('two disks', xs_convert_disk='2') as image_id:
            task = self.web_download(image_id, data)
            self.assert_refused(image_id, task, 'does not hold a disk 2')

    def test_vhd_that_horizon_declares_an_archive(self):
        layer = chains.story_layers()[-1]
        bare = archives.Image('bare.vhd', layer.tobytes(),
                              layer.current_size, model.sha256([layer]))
        with self.new_image(bare.name) as image_id:
            task = self.upload(image_id, bare.data)
            self.assert_converted(image_id, task, bare)

    def test_chain_in_zstandard(self):
        layers = chains.story_layers()
        data = archive.zstandard(archive.tar_pieces(
            archive.chain_members(layers)))
        chain = archives.Image('chain.tar.zst', data, model.size(layers),
                               model.sha256(layers))
        with self.new_image(chain.name) as image_id:
            task = self.web_download(image_id, chain.data)
            self.assert_converted(image_id, task, chain)

    def test_damaged(self):
        disk = xva.random_disk('damaged', 5 * MIB)
        data = bytearray(xva.Export([disk]).tar())
        data[-MIB] ^= 1
        with self.new_image('damaged') as image_id:
            task = self.web_download(image_id, bytes(data))
            self.assert_refused(image_id, task, 'checksum')

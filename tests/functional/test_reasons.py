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
"""What Glance would refuse has a reason, which is told early."""

import re
import subprocess
import tempfile

from testbed.images import archive
from testbed.images import vhd
from tests.functional import archives
from tests.functional import base
from tests import property_protection


class TestSizeCap(base.ImportCase):
    """Glance stores no image above image_size_cap."""

    #: The archive of the small image has about 50 KB, its disk 5 MiB.
    OPTIONS = {'stores': ('fast', 'slow'),
               'options': {'DEFAULT': {'image_size_cap': vhd.MIB}}}

    def test_disk_is_too_large(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name) as image_id:
                task = import_data(image_id, small.data)
                self.assert_refused(
                    image_id, task,
                    r'0\.vhd: the disk has 5\.0 MiB \(5243392 bytes\), more '
                    r'than image_size_cap, which is 1 MiB \(1048576 bytes\)\. '
                    r'\[DiskTooLarge\]$')


class TestStorageQuota(base.ImportCase):

    OPTIONS = {'options': {'DEFAULT': {'user_storage_quota': '4MB'}}}

    def test_disk_is_too_large(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name) as image_id:
                task = import_data(image_id, small.data)
                self.assert_refused(
                    image_id, task, r'user_storage_quota, which is 4 MiB .*\. '
                    r'\[QuotaExceeded\]$')


class TestProperties(base.ImportCase):
    """The default quota of 128 properties, and their protection."""

    def test_too_many(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            properties = {f'name_{number}': 'x' for number in range(128)}
            with self.new_image(small.name, **properties) as image_id:
                task = import_data(image_id, small.data)
                self.assert_refused(
                    image_id, task, r'the image has 128 properties.*'
                    r'\[QuotaExceeded\]$')

    def test_as_many_as_possible(self):
        small = archives.small()
        with self.new_image(small.name, **{
                f'name_{number}': 'x' for number in range(124)}) as image_id:
            task = self.web_download(image_id, small.data)
            self.assert_converted(image_id, task, small)


class TestProtection(base.ImportCase):
    """Users may not set what the plugin records."""

    @classmethod
    def setUpClass(cls):
        rules = tempfile.NamedTemporaryFile('w', suffix='.conf')
        cls.addClassCleanup(rules.close)
        rules.write(property_protection.RULES)
        rules.flush()
        cls.OPTIONS = {'options': {'DEFAULT': {
            'property_protection_file': rules.name}}}
        super().setUpClass()

    def test_converted_without_a_record(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name) as image_id:
                task = import_data(image_id, small.data)
                self.assert_converted(image_id, task, small)
                image = self.client.images.get(image_id)
                self.assertEqual([], [
                    name for name in image if name.startswith('xs_')])
        log = self.cloud.log.read_text(errors='replace')
        logged = re.findall('The property xs_convert_layers is not', log)
        self.assertTrue(0 < len(logged) <= 2, logged)

    def test_refused(self):
        self.assert_refuses()


class TestStores(base.ImportCase):

    OPTIONS = {'stores': ('fast', 'slow')}

    def test_reserved_store(self):
        """Glance accepts its own staging area for a store."""
        small = archives.small()
        reserved = 'os_glance_staging_store'
        with self.new_image(small.name) as image_id:
            task = self.web_download(image_id, small.data, stores=[reserved])
            self.assert_refused(image_id, task, r'reserved for Glance.*'
                                r'\[NotPermitted\]$', [reserved])

    def assert_released(self, image_id):
        image = self.client.images.get(image_id)
        self.assertEqual('queued', image.status)
        self.assertNotIn('os_glance_import_task', image)

    def test_store_holds_the_image_already(self):
        """An earlier copy was interrupted, for example."""
        small = archives.small()
        with self.new_image(small.name) as image_id:
            left = self.cloud.store_path() / image_id
            left.write_bytes(b'left')
            task = self.web_download(image_id, small.data)
            left.unlink()
            self.assert_released(image_id)
            if base.cloud.RELEASE >= 33:
                self.assertEqual(
                    'The XenServer image was converted, but it was not '
                    'stored: the store already holds data of the image. '
                    '[NotStored]', task['message'])
            task = self.web_download(image_id, small.data)
            self.assert_converted(image_id, task, small)

    def test_content_that_glance_refuses(self):
        """A disk that begins like a qcow2 image with a backing file."""
        with tempfile.NamedTemporaryFile(suffix='.qcow2') as file:
            subprocess.run(
                ['qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b',
                 '/etc/passwd', '-F', 'raw', file.name, '1M'], check=True)
            start = file.read()
        start += bytes(-len(start) % vhd.SECTOR)
        layer = vhd.Layer(vhd.MIB, written=[(0, start[:vhd.MIB])])
        with self.new_image('hostile') as image_id:
            task = self.web_download(image_id, archive.tgz(
                archive.chain_members([layer])))
            self.assertEqual('failure', task['status'])
            if base.cloud.RELEASE >= 33:
                self.assertRegex(task['message'], r'safety checks.*'
                                 r'\[ContentRefused\]$')
            self.assert_released(image_id)
            self.assertEqual([], self.cloud.staged())
            # Glance leaves what it refuses in the store.
            (self.cloud.store_path() / image_id).unlink(missing_ok=True)

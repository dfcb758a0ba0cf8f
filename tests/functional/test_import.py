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


"""Imports of XenServer-type images into the real Glance."""

import contextlib
import io
import itertools
import shutil
import struct
import subprocess
import tempfile
import unittest

from testbed.clouds import cloud
from tests.functional import archives
from tests.functional import base

QCOW2 = struct.pack(
    '>4sIQIIQIIQQIIQ', b'QFI\xfb', 2, 0, 0, 16, 1 << 20, 0, 1, 3 << 16,
    1 << 16, 1, 0, 0).ljust(4 << 16, b'\0')


class TestImport(base.ImportCase):
    """The set-up of today: stores with names, the plugin alone."""

    SECONDS = 90
    OPTIONS = {'stores': ('fast', 'slow', 'spare')}

    def test_web_download(self):
        for image in (archives.story(), archives.small()):
            with self.new_image(image.name) as image_id:
                task = self.web_download(image_id, image.data)
                self.assert_converted(image_id, task, image)

    def test_glance_direct(self):
        for image in (archives.story(), archives.small()):
            with self.new_image(image.name) as image_id:
                task = self.glance_direct(image_id, image.data)
                self.assert_converted(image_id, task, image)

    def test_several_at_a_time(self):
        with contextlib.ExitStack() as stack:
            images = {stack.enter_context(self.new_image(image.name)): image
                      for image in (archives.fixtures()
                                    or [archives.small()] * 3)}
            for image_id, image in images.items():
                self.begin_web_download(image_id, image.data)
            for image_id, image in images.items():
                task = self.cloud.wait_for_import(self.client, image_id)
                self.assert_disk(image_id, task, image)
            self.assert_stored(images)

    def test_several_stores(self):
        small = archives.small()
        stores = ['slow', 'fast']
        for allow_failure in (False, True):
            with self.new_image(small.name) as image_id:
                task = self.web_download(image_id, small.data, stores=stores,
                                         allow_failure=allow_failure)
                self.assert_converted(image_id, task, small, stores)

    def test_all_stores(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            task = self.glance_direct(image_id, small.data, all_stores=True)
            self.assert_converted(image_id, task, small, self.cloud.stores)

    def test_refused_by_web_download(self):
        for image in archives.refused() + archives.refused_fixtures():
            with self.new_image(image.name) as image_id:
                task = self.web_download(image_id, image.data)
                self.assert_refused(image_id, task, image.reason)

    def test_refused_by_glance_direct(self):
        for image in archives.refused():
            with self.new_image(image.name) as image_id:
                task = self.glance_direct(image_id, image.data)
                self.assert_refused(image_id, task, image.reason)

    def test_refused_for_several_stores(self):
        broken = archives.refused()[0]
        stores = ['fast', 'slow']
        for import_data in (self.web_download, self.glance_direct):
            for allow_failure in (False, True):
                with self.new_image(broken.name) as image_id:
                    task = import_data(image_id, broken.data, stores=stores,
                                       allow_failure=allow_failure)
                    self.assert_refused(image_id, task, broken.reason,
                                        stores)

    def test_refused_then_good(self):
        broken = archives.refused()[0]
        small = archives.small()
        methods = (self.web_download, self.glance_direct)
        for first, second in itertools.product(methods, repeat=2):
            with self.new_image(small.name) as image_id:
                task = first(image_id, broken.data)
                self.assert_refused(image_id, task, broken.reason)
                task = second(image_id, small.data)
                self.assert_converted(image_id, task, small)

    def test_signed(self):
        small = archives.small()
        with self.new_image(small.name, img_signature='c2lnbmVk',
                            img_signature_hash_method='SHA-256') as image_id:
            task = self.web_download(image_id, small.data)
            self.assert_refused(image_id, task, 'signed')

    def test_other_images_are_left_alone(self):
        small = archives.small()
        for name, formats, data in (
                ('raw', ('raw', 'bare'), b'disk' * 100000),
                ('qcow2', ('qcow2', 'bare'), QCOW2),
                ('archive of another kind', ('raw', 'ova'), small.data)):
            with self.new_image(name, *formats) as image_id:
                task = self.web_download(image_id, data)
                self.assertEqual('success', task['status'], task['message'])
                image = self.client.images.get(image_id)
                self.assertEqual(
                    ('active', *formats, len(data)),
                    (image.status, image.disk_format,
                     image.container_format, image.size))
                stored = self.cloud.store_path() / image_id
                self.assertEqual(data, stored.read_bytes())
                self.assert_stored([image_id])


class TestParallelStores(base.ImportCase):
    """Glance writes to several stores at a time."""

    OPTIONS = {
        'stores': ('fast', 'slow', 'spare'),
        'options': {'image_import_opts': {'max_parallel_stores': 2}},
    }

    def test_converted(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            for allow_failure in (False, True):
                with self.new_image(small.name) as image_id:
                    task = import_data(
                        image_id, small.data, stores=['fast', 'slow'],
                        allow_failure=allow_failure)
                    self.assert_converted(image_id, task, small,
                                          ['fast', 'slow'])

    def test_refused(self):
        broken = archives.refused()[0]
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(broken.name) as image_id:
                task = import_data(image_id, broken.data, all_stores=True)
                self.assert_refused(image_id, task, broken.reason,
                                    self.cloud.stores)


class TestSingleStore(base.ImportCase):
    """The old set-up: one store without a name, node_staging_uri."""

    OPTIONS = {'single_store': True}

    def test_converted(self):
        self.assert_converts()

    def test_refused_then_good(self):
        broken = archives.refused()[0]
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(broken.name) as image_id:
                task = import_data(image_id, broken.data)
                self.assert_refused(image_id, task, broken.reason)
                task = import_data(image_id, small.data)
                self.assert_converted(image_id, task, small)


class TestGlanceDownload(base.ImportCase):
    """The archive is taken from another region's Glance."""

    @classmethod
    def get_cloud(cls, **options):
        cls.remote = cls.start_cloud(image_import_plugins=())
        return cls.start_cloud(sources=(cls.remote.url,), **options)

    def glance_download(self, image_id, data):
        images = self.remote.client().images
        source = images.create(disk_format='vhd', container_format='ovf').id
        images.upload(source, io.BytesIO(data))
        self.client.images.image_import(
            image_id, 'glance-download', remote_region=self.remote.region,
            remote_image_id=source, remote_service_interface='public')
        task = self.cloud.wait_for_import(self.client, image_id)
        images.delete(source)
        return task

    def test_converted(self):
        small = archives.small()
        with self.new_image(small.name) as image_id:
            task = self.glance_download(image_id, small.data)
            self.assert_converted(image_id, task, small)

    def test_format_of_the_source_counts(self):
        small = archives.small()
        with self.new_image(small.name, 'raw', 'bare') as image_id:
            task = self.glance_download(image_id, small.data)
            self.assert_converted(image_id, task, small)

    @unittest.skipIf(cloud.RELEASE < 33,
                     'Glance before 33 puts its own message over the reason')
    def test_refused_then_good(self):
        broken = archives.refused()[0]
        small = archives.small()
        with self.new_image(broken.name) as image_id:
            task = self.glance_download(image_id, broken.data)
            self.assert_refused(image_id, task, broken.reason)
            task = self.glance_download(image_id, small.data)
            self.assert_converted(image_id, task, small)


@unittest.skipUnless(shutil.which('qemu-img'),
                     'image_conversion needs qemu-img')
class TestBeforeImageConversion(base.ImportCase):
    """Glance's own plugin converts the raw disk once more."""

    OPTIONS = {
        'image_import_plugins': ('xs_convert', 'image_conversion'),
        'options': {'image_conversion': {'output_format': 'qcow2'}},
    }

    def raw_sha256(self, image_id):
        with tempfile.NamedTemporaryFile() as raw:
            subprocess.run(
                ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                 self.cloud.store_path() / image_id, raw.name], check=True)
            return base.sha256_of(raw)

    def test_converted_to_qcow2(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name) as image_id:
                task = import_data(image_id, small.data)
                self.assertEqual('success', task['status'], task['message'])
                image = self.client.images.get(image_id)
                self.assertEqual(
                    ('active', 'qcow2', 'bare', small.size),
                    (image.status, image.disk_format,
                     image.container_format, image.virtual_size))
                self.assertEqual(small.sha256, self.raw_sha256(image_id))
                self.assert_stored([image_id])

    def test_refused(self):
        self.assert_refuses()


class TestAfterImageDecompression(base.ImportCase):
    """Glance's own plugin leaves a plain tar archive."""

    OPTIONS = {'image_import_plugins': ('image_decompression', 'xs_convert')}

    def test_converted(self):
        self.assert_converts()

    def test_refused(self):
        self.assert_refuses()


class TestUwsgi(base.ImportCase):
    """Glance runs under uWSGI, where sys.executable is no Python."""

    OPTIONS = {'server': 'uwsgi'}

    def glance_direct(self, image_id, data):
        # Not staged by the client, whose chunks uWSGI cannot receive.
        self.cloud.keystone.session('demo').put(
            '%s/v2/images/%s/stage' % (self.cloud.url, image_id), data=data,
            headers={'Content-Type': 'application/octet-stream'})
        self.client.images.image_import(image_id, 'glance-direct')
        return self.cloud.wait_for_import(self.client, image_id)

    def test_converted(self):
        self.assert_converts()

    def test_refused(self):
        self.assert_refuses()

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
"""The plugin xs_adapt in the real Glance, with a stand-in for its tools.

The disks and the overlays are real; the guests and the appliance are not. The
stand-in shows the plumbing, limits, kills and failures; what becomes of real
guests is tested by ``tox -e guest``.
"""

import hashlib
import os
import pathlib
import shutil
import tempfile
import time
import unittest

from testbed.clouds import cloud
from testbed.guests import stand_in
from testbed.images import archive
from testbed.images import vhd
from tests.functional import base
from tests import processes


#: The seconds for which a process sleeps that a tool leaves. Tests in other
#: processes, at the same time, look for others.
SLEEP = f'98764.{os.getpid()}'
#: How long anything may take, in seconds: less than the tools are given.
PATIENCE = 600


def _archive_of(data):
    return archive.tgz(archive.chain_members(
        [vhd.Layer(len(data), written=[(0, data)])]))


@unittest.skipUnless(shutil.which('qemu-img') and shutil.which('qemu-io'),
                     'qemu-utils is not installed')
class AdaptCase(base.ImportCase):
    """Both plugins, one after the other."""

    ADAPT: dict[str, object] = {}

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix='a')
        cls.addClassCleanup(scratch.cleanup)
        cls.scratches = pathlib.Path(scratch.name)
        tools = tempfile.TemporaryDirectory()
        cls.addClassCleanup(tools.cleanup)
        tool, inspector = stand_in.install(pathlib.Path(tools.name))
        cls.options = {'tool': tool, 'inspector': inspector, 'max_time': 900,
                       'scratch_path': scratch.name,
                       'libguestfs': 'LIBGUESTFS_BACKEND_SETTINGS:force_tcg',
                       **cls.ADAPT}
        super().setUpClass()

    @classmethod
    def get_cloud(cls, **options):
        return cls.start_cloud(
            image_import_plugins=('xs_convert', 'xs_adapt'),
            options={'xs_adapt': cls.options})

    def importing(self, **instructions):
        """Make an image that asks to be adapted, with its disk."""
        self.data = stand_in.disk(**instructions)
        return self.new_image('guest', xs_adapt='true',
                              hypervisor_type='xen', vm_mode='xen')

    def assert_stored_disk(self, image_id, expected):
        self.assertEqual(
            (len(expected), hashlib.sha256(expected).hexdigest()),
            self.download(image_id))
        self.assert_stored([image_id])
        self.assertEqual([], list(self.scratches.iterdir()))

    def begin(self, image_id):
        """Begin an import that stands in the middle of adapting."""
        self.begin_web_download(image_id, _archive_of(self.data))
        deadline = time.monotonic() + PATIENCE
        while not processes.running(SLEEP):
            self.assertLess(time.monotonic(), deadline, cloud.newest_task(
                self.client, image_id))
            time.sleep(0.1)

    def assert_nothing_runs(self):
        deadline = time.monotonic() + PATIENCE
        while processes.running(SLEEP) or any(self.scratches.iterdir()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def wait_for_message(self, image_id, beginning):
        """Wait until the task's message begins with something."""
        deadline = time.monotonic() + PATIENCE
        while not str(cloud.newest_task(self.client, image_id)[
                'message']).startswith(beginning):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)


class TestAdapt(AdaptCase):
    """What fails is kept."""

    SECONDS = 30

    def test_adapted(self):
        for import_data in (self.web_download, self.glance_direct):
            with self.importing() as image_id:
                task = import_data(image_id, _archive_of(self.data))
                self.assertEqual('success', task['status'], task['message'])
                image = self.client.images.get(image_id)
                self.assertEqual(
                    ('virtio', 'virtio', 'bios', 'linux', stand_in.VERSION,
                     hashlib.sha512(self.data).hexdigest()),
                    tuple(image.get(name) for name in (
                        'hw_disk_bus', 'hw_vif_model', 'hw_firmware_type',
                        'os_type', 'xs_convert_adapted_by',
                        'xs_convert_disk_sha512')))
                self.assertNotIn('vm_mode', image)
                self.assert_stored_disk(image_id,
                                        stand_in.adapted(self.data))

    def test_kept(self):
        with self.importing(systems=[]) as image_id:
            task = self.web_download(image_id, _archive_of(self.data))
            self.assertEqual('success', task['status'], task['message'])
            image = self.client.images.get(image_id)
            self.assertRegex(image['xs_convert_not_adapted'],
                             r'\[NoOperatingSystem\]$')
            self.assert_stored_disk(image_id, self.data)

    def test_glance_is_killed(self):
        """The image is set back, and can be imported again."""
        with self.importing(leaves=SLEEP, sleep=3600) as image_id:
            self.begin(image_id)
            self.wait_for_message(image_id, 'Adapting the guest: ')
            self.cloud.kill_glance()
            self.assert_nothing_runs()
            self.cloud.start_glance()
            # The first import lets the plugin look after the others.
            with self.importing() as other:
                self.web_download(other, _archive_of(self.data))
                self.cloud.wait_for_import(self.client, image_id, PATIENCE)
            image = self.client.images.get(image_id)
            self.assertEqual(('queued', 'vhd', 'ovf', 'xen'), (
                image.status, image.disk_format, image.container_format,
                image.get('vm_mode')))
            self.data = stand_in.disk()
            task = self.web_download(image_id, _archive_of(self.data))
            self.assertEqual('success', task['status'], task['message'])
            self.assert_stored_disk(image_id, stand_in.adapted(self.data))

    def test_image_is_deleted(self):
        """The tools end, and nothing is left."""
        with self.importing(leaves=SLEEP, sleep=3600) as image_id:
            self.begin(image_id)
        self.assert_nothing_runs()
        deadline = time.monotonic() + PATIENCE
        while self.cloud.staged():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.5)


class TestRefuse(AdaptCase):
    """What fails is refused, and little time is allowed."""

    SECONDS = 65
    ADAPT = {'on_failure': 'refuse', 'max_time': 60}

    def test_refused(self):
        """The reason reaches the owner."""
        for import_data in (self.web_download, self.glance_direct):
            with self.importing(systems=[]) as image_id:
                task = import_data(image_id, _archive_of(self.data))
                self.assert_refused(image_id, task,
                                    'cannot be adapted: .*NoOperatingSystem')

    def test_too_slow(self):
        with self.importing(leaves=SLEEP, sleep=3600) as image_id:
            task = self.web_download(image_id, _archive_of(self.data))
            self.assert_refused(image_id, task, 'AdaptingTimedOut')
            self.assert_nothing_runs()

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

"""What Cinder and Nova make of a converted image."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

from tests.functional import archives
from tests.functional import base


class TestConsumers(base.ImportCase):
    """Others fetch an image from Glance, by their own code."""

    SECONDS = 40

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.disk = pathlib.Path(scratch.name) / 'disk'

    def fetch(self, consumer, image_id):
        """Let a consumer fetch an image onto the disk."""
        if importlib.util.find_spec(consumer) is None:
            self.skipTest('%s is not installed' % consumer)
        session = self.cloud.keystone.session('demo')
        done = subprocess.run(
            [sys.executable, '-m',
             'tests.functional.consumers.%s_fetch' % consumer, image_id,
             self.disk], stderr=subprocess.PIPE, text=True,
            env=os.environ | {'OS_TOKEN': session.get_token(),
                              'OS_IMAGE_URL': self.cloud.url})
        self.assertEqual(0, done.returncode, done.stderr)

    def assert_fetches(self, consumer):
        for image in (archives.small(), archives.story()):
            with self.new_image(image.name) as image_id:
                task = self.web_download(image_id, image.data)
                self.assert_converted(image_id, task, image)
                # A volume has something else on it before.
                self.disk.write_bytes(b'old' * 1000)
                self.fetch(consumer, image_id)
            with self.disk.open('rb') as disk:
                self.assertEqual(
                    (image.size, image.sha256),
                    (self.disk.stat().st_size, base.sha256_of(disk)))

    def test_cinder(self):
        self.assert_fetches('cinder')

    def test_nova(self):
        self.assert_fetches('nova')

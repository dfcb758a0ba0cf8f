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

"""What the guest finds on its disk again."""

import hashlib
import pathlib
import tempfile
import unittest

from testbed.images import guest
from tests.functional import archives
from tests.functional import base


@unittest.skipUnless(guest.tool('debugfs') and guest.tool('mke2fs'),
                     'e2fsprogs is not installed')
class TestGuest(base.ImportCase):
    """A disk that a guest has written, with a file system on it."""

    SECONDS = 30

    def imported(self, image):
        """Import an image, and copy its files out of the raw disk."""
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        with self.new_image(image.name) as image_id:
            task = self.web_download(image_id, image.data)
            self.assert_converted(image_id, task, image)
            root = pathlib.Path(scratch.name)
            guest.read_files(self.cloud.store_path() / image_id, root)
        return root

    def test_files(self):
        image, files = archives.guest()
        root = self.imported(image)
        self.assertEqual(files, {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob('*') if path.is_file()})

    def test_guest_on_xenserver(self):
        images = {image.name: image for image in archives.fixtures()}
        if 'snapshot-chain.tgz' not in images:
            self.skipTest('the fixtures are not beside the checkout')
        home = self.imported(
            images['snapshot-chain.tgz']) / 'home' / 'cirros'
        digest, name = (home / 'somefile.md5').read_text().split()
        self.assertEqual(digest, hashlib.md5(
            home.joinpath(name).read_bytes(),
            usedforsecurity=False).hexdigest())

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

import contextlib
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from testbed.images import vhd
from tests.functional import archives
from tests.functional import base

_PARTITION = struct.Struct('<8xII')
_PARTITION_TABLE = 446


@contextlib.contextmanager
def mounted(disk):
    """The first partition of a disk, mounted.

    :returns: the path of its root directory
    :raises SkipTest: the user is not allowed to do that
    """
    with disk.open('rb') as file:
        file.seek(_PARTITION_TABLE)
        start, sectors = _PARTITION.unpack(file.read(_PARTITION.size))
    directory = tempfile.mkdtemp(prefix='glance-xs-convert-')
    try:
        done = subprocess.run(
            ['mount', '-o', 'loop,ro,offset=%d,sizelimit=%d' % (
                start * vhd.SECTOR, sectors * vhd.SECTOR), disk, directory],
            capture_output=True, text=True)
        if done.returncode:
            raise unittest.SkipTest('no loop device: ' + done.stderr.strip())
        try:
            yield pathlib.Path(directory)
        finally:
            subprocess.run(['umount', directory], check=True)
    finally:
        os.rmdir(directory)


@unittest.skipUnless(shutil.which('mount'), 'there is no mount command')
class TestGuest(base.ImportCase):
    """A disk that a guest has written, with a file system on it."""

    def test_files(self):
        images = {image.name: image for image in archives.fixtures()}
        if 'snapshot-chain.tgz' not in images:
            self.skipTest("the guest's image is not at hand")
        image = images['snapshot-chain.tgz']
        with self.new_image(image.name) as image_id:
            task = self.web_download(image_id, image.data)
            self.assert_converted(image_id, task, image)
            disk = self.cloud.store_path() / image_id
            with mounted(disk) as root:
                done = subprocess.run(
                    ['md5sum', '-c', 'somefile.md5'], text=True,
                    cwd=root / 'home' / 'cirros', capture_output=True)
        self.assertEqual((0, 'somefile: OK\n'),
                         (done.returncode, done.stdout), done.stderr)

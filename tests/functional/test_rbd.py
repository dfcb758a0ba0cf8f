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

"""Stores on RBD."""

import unittest

from testbed.clouds import ceph
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.functional import archives
from tests.functional import base
from tests.functional import migrations

RBD = {'rbd_stores': ('vault',)}


class RBDCase(base.ImportCase):
    """A cloud with a store on RBD, beside a file store."""

    @classmethod
    def setUpClass(cls):
        if reason := ceph.missing():
            raise unittest.SkipTest(reason)
        super().setUpClass()

    def assert_in_vault(self, images):
        """The pool holds the disks of these images, complete, alone."""
        self.assertEqual(sorted(images), self.cloud.stored('vault'))
        pool = self.cloud.pool('vault')
        for image_id, image in images.items():
            self.assertTrue(self.cloud.ceph.is_complete(pool, image_id))
            self.assertEqual(image.sha256,
                             self.cloud.ceph.digest(pool, image_id))


class TestRBD(RBDCase):
    """Imports."""

    SECONDS = 20
    OPTIONS = RBD

    def test_converted(self):
        story = archives.story()
        for import_data, stores in (
                (self.web_download, ['vault']),
                (self.glance_direct, ['vault', 'fast']),
                (self.web_download, ['fast', 'vault'])):
            with self.new_image(story.name) as image_id:
                task = import_data(image_id, story.data, stores=stores)
                self.assert_converted(image_id, task, story, stores)
                self.assert_in_vault({image_id: story})
            self.assert_stored([])

    def test_refused_then_good(self):
        broken, small = archives.refused()[0], archives.small()
        with self.new_image(small.name) as image_id:
            task = self.web_download(image_id, broken.data, stores=['vault'])
            self.assert_refused(image_id, task, broken.reason, ['vault'])
            task = self.web_download(image_id, small.data, stores=['vault'])
            self.assert_converted(image_id, task, small, ['vault'])

    def test_holes_stay_holes(self):
        layer = vhd.Layer(64 * vhd.MIB, written=[
            (0, chains.pattern('first', 100)),
            (40 * vhd.MIB // vhd.SECTOR, chains.pattern('later', 100))])
        disk = archives.Image(
            'holes.tgz', archive.tgz(archive.chain_members([layer])),
            model.size([layer]), model.sha256([layer]))
        with self.new_image(disk.name) as image_id:
            task = self.web_download(image_id, disk.data, stores=['vault'])
            self.assert_converted(image_id, task, disk, ['vault'])
            extents = self.cloud.ceph.rbd('diff', '%s/%s' % (
                self.cloud.pool('vault'), image_id))
            # The store leaves out zeros in pieces of 8 MiB.
            self.assertEqual(16 * vhd.MIB, sum(
                int(extent['length']) for extent in extents
                if extent['exists'] in (True, 'true')))


class TestMigrateRBD(RBDCase, migrations.MigrateCase):
    """Migrations from RBD, and into it."""

    SECONDS = 20
    OPTIONS = migrations.MigrateCase.OPTIONS | RBD

    def test_both_methods(self):
        small = archives.small()
        for method in ('glance-download', 'glance-direct'):
            old_id = self.store(small, backend='vault')
            self.migrate('run', '--method', method, '--stores', 'vault',
                         '--verify')
            new = self.assert_replaced(old_id, small)
            self.assertEqual(sorted([old_id, new.id]),
                             self.cloud.stored('vault'))
            self.assertEqual(small.sha256, self.cloud.ceph.digest(
                self.cloud.pool('vault'), new.id))
            self.migrate('undo', old_id)
            self.assertEqual([old_id], self.cloud.stored('vault'))
            self.delete_all()
            self.assertEqual(([], []), (self.cloud.stored('vault'),
                                        self.cloud.staged()))

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

"""Removing what is left in a pool of Ceph, where a stand-in takes its place.

The functional tests do it for real.
"""

import types
import unittest
from unittest import mock

from glance_xs_convert.recovery import ceph


class ImageNotFound(Exception):
    pass


class ImageBusy(Exception):
    pass


class ImageHasSnapshots(Exception):
    pass


class Cluster:
    """Behaves as Ceph does, and notes what is done.

    :ivar images: by pool and name: their snapshots, watchers and parent;
                  None for an image that was being created
    """

    def __init__(self):
        self.images = {}
        self.connections = []
        self.is_up = True

    # What stands for the module rados.

    def Rados(self, conffile, rados_id):
        client = Client(self, conffile, rados_id)
        self.connections.append(client)
        return client

    # What stands for the module rbd.

    ImageNotFound = ImageNotFound
    ImageBusy = ImageBusy
    ImageHasSnapshots = ImageHasSnapshots

    def Image(self, ioctx, name, read_only=False):
        if not read_only:
            raise AssertionError('the image would get a watcher')
        image = self.images.get((ioctx.pool, name))
        if image is None:
            raise ImageNotFound
        return Image(**image)

    def RBD(self):
        def remove(ioctx, name):
            if (ioctx.pool, name) not in self.images:
                raise ImageNotFound
            image = self.images.pop((ioctx.pool, name))
            if image is None:
                # It says so, although it has removed what there was.
                raise ImageNotFound
            if image['snapshots'] or image['watchers']:
                self.images[ioctx.pool, name] = image
                raise ImageHasSnapshots if image['snapshots'] else ImageBusy
        return types.SimpleNamespace(remove=remove)


class Client:
    """A connection to the cluster."""

    def __init__(self, cluster, conffile, rados_id):
        self.cluster = cluster
        self.arguments = (conffile, rados_id)
        self.options = {}
        self.is_open = False

    def conf_set(self, name, value):
        self.options[name] = value

    def connect(self):
        if not self.cluster.is_up:
            raise TimeoutError('error connecting to the cluster')
        self.is_open = True

    def shutdown(self):
        self.is_open = False

    def open_ioctx(self, pool):
        context = mock.MagicMock(pool=pool)
        context.__enter__.return_value = context
        return context


class Image:
    """An image that is open for reading."""

    def __init__(self, snapshots, watchers, parent):
        self.snapshots, self.watchers = snapshots, watchers
        self.parent = parent

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def list_snaps(self):
        return iter([{'name': name} for name in self.snapshots])

    def watchers_list(self):
        return iter([{'addr': address} for address in self.watchers])

    def parent_info(self):
        if self.parent is None:
            raise ImageNotFound
        return self.parent


class Pool(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cluster = Cluster()
        for name in ('rados', 'rbd'):
            patch = mock.patch.object(ceph, name, self.cluster)
            patch.start()
            self.addCleanup(patch.stop)
        self.settings = types.SimpleNamespace(
            rbd_store_ceph_conf='/etc/ceph/two.conf', rbd_store_user='glance',
            rbd_store_pool='images', rados_connect_timeout=-1)
        self.add('other', 'other')
        self.add('images', 'image2')

    def add(self, pool='images', name='image', *, snapshots=(), watchers=(),
            parent=None):
        self.cluster.images[pool, name] = {
            'snapshots': snapshots, 'watchers': watchers, 'parent': parent}

    def remove(self):
        before = dict(self.cluster.images)
        try:
            ceph.Pool(self.settings).remove_incomplete('image')
        finally:
            self.removed = [key for key in before
                            if key not in self.cluster.images]
            self.assertFalse(any(connection.is_open for connection
                                 in self.cluster.connections))

    def test_incomplete(self):
        self.add()
        self.remove()
        self.assertEqual([('images', 'image')], self.removed)

    def test_in_another_pool(self):
        self.add('volumes')
        self.remove()
        self.assertEqual([], self.removed)

    def test_nothing_there(self):
        self.remove()
        self.assertEqual([], self.removed)

    def test_half_created(self):
        self.cluster.images['images', 'image'] = None
        self.remove()
        self.assertEqual([('images', 'image')], self.removed)

    def assert_stays(self, error, **image):
        self.add(**image)
        self.assertRaises(error, self.remove)
        self.assertEqual([], self.removed)

    def test_complete(self):
        for snapshot in ('snap', 'backup'):
            self.assert_stays(ceph.ImageHasSnapshots, snapshots=[snapshot])

    def test_complete_in_the_last_moment(self):
        self.add(snapshots=['snap'])
        with mock.patch.object(Image, 'list_snaps', autospec=True,
                               return_value=iter([])):
            self.assertRaises(ceph.ImageHasSnapshots, self.remove)
        self.assertEqual([], self.removed)

    def test_clone(self):
        self.assert_stays(ceph.ImageHasSnapshots,
                          parent=('images', 'x', 'snap'))

    def test_in_use(self):
        self.assert_stays(ceph.ImageInUse, watchers=['10.0.0.1'])

    def test_in_use_in_the_last_moment(self):
        self.add(watchers=['10.0.0.1'])
        with mock.patch.object(Image, 'watchers_list', autospec=True,
                               return_value=iter([])):
            self.assertRaises(ceph.ImageInUse, self.remove)
        self.assertEqual([], self.removed)

    def test_settings_of_the_store(self):
        for timeout, expected in ((-1, '30'), (0, '0'), (5, '5')):
            self.settings.rados_connect_timeout = timeout
            self.remove()
            connection = self.cluster.connections[-1]
            self.assertEqual(('/etc/ceph/two.conf', 'glance'),
                             connection.arguments)
            self.assertEqual({'rados_mon_op_timeout': expected,
                              'rados_osd_op_timeout': expected,
                              'client_mount_timeout': expected},
                             connection.options)

    def test_cluster_does_not_answer(self):
        self.add()
        self.cluster.is_up = False
        self.assertRaises(TimeoutError, self.remove)
        self.assertEqual([], self.removed)

    def test_no_bindings(self):
        with mock.patch.object(ceph, 'rbd', None):
            self.assertRaises(ceph.BindingsMissing, self.remove)

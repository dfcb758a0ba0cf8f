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

import datetime
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

    :ivar images: by pool and name: their snapshots, watchers, parent and so
                  on; None for an image that was being created
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

    def Image(self, ioctx, name, snapshot=None, read_only=False):
        image = self.images.get((ioctx.pool, name))
        if image is None:
            raise ImageNotFound
        if snapshot not in (None, *image['snapshots']):
            raise ImageNotFound
        return Image(image, read_only)

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
    """An image that is open."""

    def __init__(self, image, read_only):
        self.image, self.read_only = image, read_only

    def __enter__(self):
        if not self.read_only:
            self.image['watchers'] += ('ours',)
        return self

    def __exit__(self, *exc_info):
        if not self.read_only:
            self.image['watchers'] = self.image['watchers'][:-1]

    def list_snaps(self):
        return iter([{'name': name} for name in self.image['snapshots']])

    def watchers_list(self):
        return iter([{'addr': address} for address in self.image['watchers']])

    def parent_info(self):
        if self.image['parent'] is None:
            raise ImageNotFound
        return self.image['parent']

    def list_children(self):
        return iter(self.image['children'])

    def create_timestamp(self):
        return self.image['created']

    def is_protected_snap(self, name):
        return name in self.image['protected']

    def unprotect_snap(self, name):
        self._check_writable()
        if self.image['children']:
            raise ImageBusy
        self.image['protected'].remove(name)

    def remove_snap(self, name):
        self._check_writable()
        if name in self.image['protected']:
            raise ImageBusy
        self.image['snapshots'].remove(name)

    def _check_writable(self):
        if self.read_only:
            raise AssertionError('the image is open for reading only')


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
            parent=None, protected=None, children=(), created=1000.0,
            zone=datetime.timezone.utc):
        moment = datetime.datetime.fromtimestamp(
            created, datetime.timezone.utc)
        self.cluster.images[pool, name] = {
            'snapshots': list(snapshots), 'watchers': tuple(watchers),
            'parent': parent, 'children': children,
            'protected': list(snapshots if protected is None else protected),
            'created': (moment.replace(tzinfo=None) if zone is None
                        else moment.astimezone(zone))}

    def remove(self):
        before = dict(self.cluster.images)
        try:
            ceph.Pool(self.settings).remove_unused('image', 1000.0)
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
        """A process may have been killed before it protected the snapshot."""
        for protected in ([], ['snap']):
            for zone in (None, datetime.timezone.utc, datetime.timezone(
                    datetime.timedelta(hours=9))):
                self.add(snapshots=['snap'], protected=protected, zone=zone)
                self.remove()
                self.assertEqual([('images', 'image')], self.removed)

    def test_older_than_the_import(self):
        """It is another Glance's, which has the same pool."""
        self.assert_stays(ceph.ImageKept, snapshots=['snap'], created=999.0)
        self.add(created=999.0)
        self.remove()
        self.assertEqual([('images', 'image')], self.removed)

    def test_other_snapshots(self):
        for snapshots in (['backup'], ['snap', 'backup']):
            self.assert_stays(ceph.ImageKept, snapshots=snapshots)

    def test_clones(self):
        for protected in ([], ['snap']):
            self.assert_stays(
                ceph.ImageKept, snapshots=['snap'], protected=protected,
                children=[('vms', 'disk')])
            self.assertEqual(
                (['snap'], protected),
                tuple(self.cluster.images['images', 'image'][name]
                      for name in ('snapshots', 'protected')))

    def test_cloned_in_the_last_moment(self):
        self.add(snapshots=['snap'], children=[('vms', 'disk')])
        with mock.patch.object(Image, 'list_children', autospec=True,
                               return_value=iter([])):
            self.assertRaises(ceph.ImageInUse, self.remove)
        self.assertEqual([], self.removed)

    def test_complete_in_the_last_moment(self):
        self.add(snapshots=['snap'])
        with mock.patch.object(Image, 'list_snaps', autospec=True,
                               return_value=iter([])):
            self.assertRaises(ceph.ImageKept, self.remove)
        self.assertEqual([], self.removed)

    def test_clone(self):
        for snapshots in ([], ['snap']):
            self.assert_stays(ceph.ImageKept, snapshots=snapshots,
                              parent=('images', 'x', 'snap'))

    def test_in_use(self):
        for snapshots in ([], ['snap']):
            self.assert_stays(ceph.ImageInUse, snapshots=snapshots,
                              watchers=['10.0.0.1'])

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

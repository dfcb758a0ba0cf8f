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

"""Removing copies from stores that no image's record knows."""

import os
from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    import glance_store
    from glance_store._drivers import rbd
    from glance_store import driver

    from glance_xs_convert.recovery import ceph
    from glance_xs_convert.recovery import s3
    from glance_xs_convert.recovery import stores


class StoresCase(base.GlanceCase):

    #: When the import began, in seconds since the epoch.
    BEGUN = 1000000.0

    def remove(self, store='fast', kept=(), was_copied=True):
        """Remove a copy.

        :param kept: URLs of the image's data in the store ``other``
        """
        return self.remove_beside(
            [stores.Location(url, 'other') for url in kept], store, was_copied)

    def remove_beside(self, kept, store='fast', was_copied=True):
        return stores.remove_unused_copy(
            store, 'image', kept, since=self.BEGUN, was_copied=was_copied)

    def use(self, driver, **options):
        """Let the store have another driver.

        Glance has registered the driver's options by then.
        """
        self.conf.config(enabled_backends={'fast': driver})
        glance_store.multi_backend.register_store_opts(base.cfg.CONF)
        self.conf.config(group='fast', **options)


class Files(StoresCase):

    def left(self, store, *directories, kept=()):
        paths = [directory / 'image' for directory in directories]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        self.assertIsNone(self.remove(store, kept))
        return [path.exists() for path in paths]

    def test_several_directories(self):
        one, two = self.scratch / 'one', self.scratch / 'two'
        self.conf.config(group='fast', filesystem_store_datadir=None)
        self.conf.config(group='fast', filesystem_store_datadirs=[
            f'{one}:200', str(two)])
        self.assertEqual([False, False], self.left('fast', one, two))

    def test_data_of_the_image(self):
        path = self.store_path('fast')
        self.assertEqual([True], self.left(
            'fast', path, kept=[f'file://{path}/image']))

    def test_older_than_the_import(self):
        """It is another Glance's, which has the same storage."""
        path = self.store_path('fast') / 'image'
        for seconds, stays in ((-3600, True), (-1, False), (1, False)):
            path.touch()
            os.utime(path, (self.BEGUN + seconds,) * 2)
            told = self.remove()
            self.assertEqual(stays, path.exists())
            self.assertEqual(
                'Data with the ID of the image that the import did not write '
                'is in the store fast; unless it belongs to another image '
                f'service, an operator can remove it with: rm {path}'
                if stays else None, told)

    def test_glance_without_named_stores(self):
        self.conf.config(enabled_backends={})
        glance_store.register_opts(base.cfg.CONF)
        directory = self.scratch / 'images'
        self.conf.config(group='glance_store', default_store='file',
                         filesystem_store_datadir=str(directory))
        self.assertEqual([False], self.left(None, directory))
        self.conf.config(group='glance_store', default_store='http')
        self.assertEqual([True], self.left(None, directory))


class Ceph(StoresCase):

    def setUp(self):
        super().setUp()
        self.use('rbd', rbd_store_pool='my images')
        fixtures = base.fixture.fixtures
        self.remove_unused = self.useFixture(fixtures.MockPatchObject(
            ceph.Pool, 'remove_unused', autospec=True)).mock

    def test_removed(self):
        self.assertIsNone(self.remove())
        pool, image_id, since = self.remove_unused.call_args.args
        self.assertEqual(('my images', 'image'), (pool.name, image_id))
        self.assertLess(self.BEGUN - 3600, since)
        self.assertLess(since, self.BEGUN)

    def test_data_of_the_image(self):
        for url in ('rbd://fsid/my%20images/image/snap', 'rbd://image'):
            self.assertIsNone(self.remove(kept=['file:///x/image', url]))
        self.remove_unused.assert_not_called()

    def test_data_elsewhere(self):
        """Another store's pool can have the image."""
        self.remove(kept=['rbd://fsid/other/image/snap',
                          'rbd://fsid/my%20images/another/snap',
                          'file:///my%20images/image'])
        self.remove_unused.assert_called_once()

    def test_in_use(self):
        self.remove_unused.side_effect = ceph.ImageInUse('it is open')
        error = self.assertRaises(stores.StoreBusy, self.remove)
        self.assertEqual('it is open', str(error))
        self.assertEqual(
            'An incomplete copy of the image may be left in the store fast; '
            "an operator can remove it with: rbd rm 'my images/image'",
            error.sentence)

    def test_perhaps_of_somebody_else(self):
        self.remove_unused.side_effect = ceph.ImageKept
        self.assertEqual(
            'Data with the ID of the image that the import did not write is '
            'in the store fast; unless it belongs to another image service, '
            'an operator can remove it with: '
            "rbd snap unprotect 'my images/image'@snap; "
            "rbd snap purge 'my images/image' && rbd rm 'my images/image'",
            self.remove())

    def test_no_bindings(self):
        self.remove_unused.side_effect = ceph.BindingsMissing
        self.assertIn("rbd rm 'my images/image'", self.remove())

    def test_options_that_the_store_does_not_set(self):
        """Its driver then reads those for all stores."""
        driver.BackendGroupConfiguration(rbd.Store.OPTIONS, 'fast',
                                         conf=base.cfg.CONF)
        base.cfg.CONF.clear_override('rbd_store_pool', 'fast')
        for pool in ('images', 'shared'):
            self.conf.config(group='backend_defaults', rbd_store_pool=pool)
            self.remove()
            settings = self.remove_unused.call_args.args[0]._settings
            self.assertEqual(
                (pool, '', -1),
                (settings.rbd_store_pool, settings.rbd_store_ceph_conf,
                 settings.rados_connect_timeout))

    def test_glance_without_named_stores(self):
        self.conf.config(enabled_backends={})
        glance_store.register_opts(base.cfg.CONF)
        self.conf.config(group='glance_store', default_store='rbd',
                         rbd_store_pool='only')
        self.remove(store=None)
        self.assertEqual('only', self.remove_unused.call_args.args[0].name)


class S3(StoresCase):

    def setUp(self):
        super().setUp()
        self.use('s3', s3_store_bucket='images')
        fixtures = base.fixture.fixtures
        self.bucket = self.useFixture(fixtures.MockPatchObject(
            s3, 'Bucket', autospec=True)).mock
        self.remove_object = self.bucket.return_value.remove_object
        self.abort_uploads = self.bucket.return_value.abort_uploads

    def test_removed(self):
        self.assertIsNone(self.remove(kept=['file:///x/image']))
        self.bucket.assert_called_once_with('fast')
        self.remove_object.assert_called_once_with(
            'image', ['file:///x/image'], self.BEGUN - 60)
        self.abort_uploads.assert_called_once_with('image', self.BEGUN - 60)

    def test_not_copied(self):
        self.assertIsNone(self.remove(was_copied=False))
        self.bucket.assert_not_called()

    def test_glance_without_named_stores(self):
        self.conf.config(enabled_backends={})
        glance_store.register_opts(base.cfg.CONF)
        self.conf.config(group='glance_store', default_store='s3')
        self.remove(store=None)
        self.bucket.assert_called_once_with(None)

    def test_perhaps_of_somebody_else(self):
        self.remove_object.side_effect = s3.ObjectKept
        self.assertEqual(
            'Data with the ID of the image that the import did not write is '
            'in the store fast; unless it belongs to another image service, '
            'an operator can remove it with: aws s3 rm s3://images/image',
            self.remove())
        self.abort_uploads.assert_called_once()

    def test_not_allowed(self):
        """Who may list the parts, and who the objects, can differ."""
        removes = ('An incomplete copy of the image may be left in the store '
                   'fast; an operator can remove it with: aws s3 rm '
                   's3://images/image')
        lists = ('Parts of an incomplete copy may take up space in the store '
                 'fast; an operator can list them with: aws s3api '
                 'list-multipart-uploads --bucket images --prefix image')
        self.abort_uploads.side_effect = s3.RequestRefused
        self.assertEqual(lists, self.remove())
        self.remove_object.side_effect = s3.RequestRefused
        self.assertEqual(f'{removes}. {lists}', self.remove())
        self.abort_uploads.side_effect = None
        self.assertEqual(removes, self.remove())

    def test_store_that_is_not_set_up(self):
        self.bucket.side_effect = s3.DriverMissing
        self.assertIn('aws s3 rm s3://images/image', self.remove())
        self.assertIsNone(self.remove(kept=['s3://host/images/image']))


class Others(StoresCase):
    """What this cannot remove is told, with the command that can."""

    def assert_told(self, command):
        self.assertEqual(
            'An incomplete copy of the image may be left in the store fast; '
            f'an operator can remove it with: {command}', self.remove())
        self.assertIsNone(self.remove(was_copied=False))

    def test_cinder(self):
        self.use('cinder')
        self.assert_told('openstack volume delete image-image')

    def test_swift(self):
        self.use('swift', swift_store_container='my images')
        self.assert_told("swift delete --prefix image 'my images'")

    def test_vmware(self):
        self.use('vmware')
        self.assert_told('govc datastore.rm /openstack_glance/image')

    def test_unknown(self):
        with mock.patch.object(stores.CONF, 'enabled_backends',
                               {'fast': 'new'}, create=True):
            self.assertIn('storage behind the driver new', self.remove())

    def test_read_only(self):
        self.use('http')
        self.assertIsNone(self.remove())

    def test_data_of_the_image(self):
        """Nobody must be told to remove it."""
        self.use('cinder')
        for store, is_told in (('fast', False), (None, False),
                               ('other', True)):
            told = self.remove_beside(
                [stores.Location('cinder://fast/volume', store)])
            self.assertEqual(is_told, told is not None, store)

    def test_data_of_the_image_in_a_glance_without_named_stores(self):
        self.conf.config(enabled_backends={})
        glance_store.register_opts(base.cfg.CONF)
        self.conf.config(group='glance_store', default_store='cinder')
        self.assertIn('openstack volume delete', self.remove(store=None))
        self.assertIsNone(self.remove(store=None, kept=['cinder://volume']))

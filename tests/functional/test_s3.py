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

"""Stores other than the file system."""

import contextlib
import datetime
import re
import threading
import unittest
from unittest import mock

import boto3
from moto.s3 import models
from moto.s3 import responses
from moto import server

from testbed.clouds import cloud
from testbed.clouds import services
from tests.functional import archives
from tests.functional import base
from tests.functional import faults
from tests.functional import migrations

BUCKET = 'images'
_KEY = {'access': 'key', 'secret': 'secret'}


class ObjectStoreCase(base.ImportCase):
    """A cloud with an object store that speaks S3, beside a file store."""

    @classmethod
    def get_cloud(cls, **options):
        objects = server.ThreadedMotoServer(services.LOOPBACK, port=0,
                                            verbose=False)
        objects.start()
        cls.addClassCleanup(objects.stop)
        cls.endpoint = 'http://%s:%d' % objects.get_host_and_port()
        return cls.start_cloud(options={
            'DEFAULT': {'enabled_backends': 'fast:file,objects:s3'},
            'objects': {
                's3_store_host': cls.endpoint,
                's3_store_access_key': _KEY['access'],
                's3_store_secret_key': _KEY['secret'],
                's3_store_bucket': BUCKET,
                's3_store_bucket_url_format': 'path',
                's3_store_create_bucket_on_put': True,
                's3_store_large_object_size': 10,
                's3_store_large_object_chunk_size': 5,
            },
        }, **options)

    def sizes(self):
        """The sizes of the objects in the bucket, by name."""
        found = self.objects().list_objects_v2(Bucket=BUCKET)
        return {entry['Key']: entry['Size']
                for entry in found.get('Contents', ())}

    def uploads(self):
        """The names of objects whose upload has not ended."""
        found = self.objects().list_multipart_uploads(Bucket=BUCKET)
        return [entry['Key'] for entry in found.get('Uploads', ())]

    def objects(self):
        """A client of the object store."""
        return boto3.client(
            's3', endpoint_url=self.endpoint, region_name='us-east-1',
            aws_access_key_id=_KEY['access'],
            aws_secret_access_key=_KEY['secret'])


class TestS3(ObjectStoreCase):
    """Imports into the object store."""

    SECONDS = 20

    def test_converted(self):
        story = archives.story()
        for stores in (['objects'], ['objects', 'fast'], ['fast', 'objects']):
            with self.new_image(story.name) as image_id:
                task = self.web_download(image_id, story.data, stores=stores)
                self.assert_converted(image_id, task, story, stores)
                self.assertEqual({image_id: story.size}, self.sizes())
            self.assertEqual({}, self.sizes())

    def test_refused(self):
        for image in archives.refused():
            with self.new_image(image.name) as image_id:
                task = self.web_download(image_id, image.data,
                                         stores=['objects'])
                self.assert_refused(image_id, task, image.reason,
                                    ['objects'])


class TestInterrupted(ObjectStoreCase, faults.FaultCase):
    """Copies to the object store that no image knows are removed."""

    SECONDS = 20
    OPTIONS = {'edit_paste': cloud.with_upload_filter}

    @contextlib.contextmanager
    def copying(self, image, request):
        """Import an image, and hold Glance's request to the object store.

        :param request: name of the function that serves it
        :returns: the image's ID
        """
        serve = getattr(models.S3Backend, request)
        begun, resumed = threading.Event(), threading.Event()

        def hold(*arguments, **options):
            begun.set()
            resumed.wait()
            return serve(*arguments, **options)

        image_id = self.client.images.create(
            name=image.name, disk_format='vhd', container_format='ovf').id
        with mock.patch.object(models.S3Backend, request, hold):
            try:
                self.begin_web_download(image_id, image.data,
                                        stores=['objects'])
                self.wait_until(begun.is_set)
                yield image_id
            finally:
                resumed.set()

    def assert_imported_after_recovery(self, image_id):
        self.cloud.restart_glance()
        task = self.cloud.wait_for_import(self.client, image_id)
        self.assert_refused(image_id, task, re.escape('[ImportInterrupted]'),
                            ['objects'])
        self.assertEqual(({}, []), (self.sizes(), self.uploads()))
        small = archives.small()
        task = self.web_download(image_id, small.data, stores=['objects'])
        self.assert_converted(image_id, task, small, ['objects'])
        self.client.images.delete(image_id)
        self.wait_until(lambda: not self.cloud.tickets())

    def test_deleted_while_it_is_copied(self):
        small = archives.small()
        with self.copying(small, 'put_object') as image_id:
            self.client.images.delete(image_id)
            self.assertEqual({}, self.sizes())
        self.wait_until(lambda: not self.cloud.tickets())
        self.assertEqual({}, self.sizes())
        self.assert_stored([])

    def test_killed_before_glance_knows_the_copy(self):
        small = archives.small()
        with self.copying(small, 'put_object') as image_id:
            self.cloud.kill_glance()
        self.wait_until(self.sizes)
        self.assert_imported_after_recovery(image_id)

    @unittest.skipIf(cloud.RELEASE < 32,
                     'Glance before 32 does not tell the driver how large a '
                     'disk is, so there is one part')
    def test_killed_between_parts(self):
        disk = faults.fixed()
        with self.copying(disk, 'upload_part') as image_id:
            self.cloud.kill_glance()
        self.assertEqual([image_id], self.uploads())
        with mock.patch.object(
                responses.S3Response, 'list_multipart_uploads', dated(
                    responses.S3Response.list_multipart_uploads)):
            self.assert_imported_after_recovery(image_id)


def dated(answer):
    """Let moto say that uploads began now: it gives all the same time."""
    def answer_with_time(*arguments):
        status, headers, body = answer(*arguments)
        now = datetime.datetime.now(datetime.timezone.utc)
        return status, headers, re.sub(
            '(?<=<Initiated>)[^<]*', now.strftime('%Y-%m-%dT%H:%M:%SZ'),
            body if isinstance(body, str) else body.decode())

    return answer_with_time


class TestMigrateS3(ObjectStoreCase, migrations.MigrateCase):
    """Migrations from the object store and into it."""

    SECONDS = 30

    def test_stores_of_the_new_image(self):
        story = archives.story()
        for method, old_store, arguments, stores in (
                ('glance-download', 'objects', ('--stores', 'objects'),
                 ['objects']),
                ('glance-direct', 'objects', (), ['fast']),
                ('glance-direct', 'fast', ('--stores', 'objects,fast'),
                 ['fast', 'objects'])):
            old_id = self.store(story, backend=old_store)
            self.migrate('run', '--method', method, '--verify', *arguments)
            new = self.assert_replaced(old_id, story)
            self.assertEqual(stores, sorted(new.stores.split(',')))
            old = {old_id: len(story.data)}
            self.assert_stores_hold({new.id: story.size}, old, stores,
                                    old_store)
            self.migrate('undo', old_id)
            self.assert_stores_hold({}, old, stores, old_store)
            self.delete_all()
            self.assert_tidy()

    def test_deleted_old_images_leave_no_objects(self):
        small = archives.small()
        old_id = self.store(small, backend='objects')
        self.migrate('run', '--stores', 'objects', '--old', 'delete', '--yes')
        row, = self.migrate('report').rows
        self.assertEqual((old_id, 'deleted'),
                         (row['old_id'], row['old_image']))
        self.assertEqual({row['new_id']: small.size}, self.sizes())
        self.assertEqual((small.size, small.sha256),
                         self.download(row['new_id']))

    def test_refused_archive_leaves_no_objects(self):
        broken = archives.refused()[0]
        old_id = self.store(broken)
        row, = self.migrate('run', '--stores', 'objects', status=1).rows
        self.assertEqual('failed', row['state'])
        self.assertEqual({}, self.sizes())
        self.assertEqual([old_id], self.cloud.stored())

    def test_unknown_store(self):
        old_id = self.store(archives.small())
        ended = self.end(self.start('run', '--stores', 'tapes'))
        self.assertEqual(1, ended.status)
        self.assertIn('tapes', ended.stderr)
        self.assertEqual({old_id: 'waiting'}, self.states())

    def assert_stores_hold(self, disks, old, stores, old_store):
        """Assert that the stores hold the data of these images only.

        :param disks: sizes of new images, which are in ``stores``
        :param old: sizes of old images, which are in ``old_store``
        """
        def held(store):
            return ((disks if store in stores else {})
                    | (old if store == old_store else {}))

        self.assertEqual(held('objects'), self.sizes())
        self.assertEqual(sorted(held('fast')), self.cloud.stored())
        self.assertEqual([], self.cloud.staged())

    def assert_tidy(self):
        """There are no images, and nothing is left of any."""
        self.assert_stores_hold({}, {}, (), None)

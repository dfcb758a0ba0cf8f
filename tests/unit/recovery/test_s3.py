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

"""Removing what is left in a bucket of S3, where a stand-in takes its place.

The functional tests do it for real.
"""

import datetime
import types
from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    import glance_store

    from glance_xs_convert.recovery import s3

URL = 's3+https://objects.example.com/images/image'
#: When the import began, in seconds since the epoch.
BEGUN = 1000000.0


def at(seconds):
    """What the service says of something written so long after the import."""
    return datetime.datetime.fromtimestamp(BEGUN + seconds,
                                           datetime.timezone.utc)


class ClientError(Exception):

    def __init__(self, code):
        super().__init__(code)
        self.response = {'Error': {'Code': code}}


class NoSuchBucket(ClientError):
    pass


class Client:
    """Behaves as a client of boto3 does.

    :ivar objects: when each was written
    :ivar uploads: those that have not ended: the object and when they began
    :ivar refused: the names of the requests that are answered with an error
    """

    exceptions = types.SimpleNamespace(ClientError=ClientError,
                                       NoSuchBucket=NoSuchBucket)

    def __init__(self):
        self.objects = {}
        self.uploads = {}
        self.refused = {}

    def _check(self, request, bucket):
        if bucket != 'images':
            raise NoSuchBucket('NoSuchBucket')
        if request in self.refused:
            raise self.refused[request]

    def head_object(self, Bucket, Key):
        self._check('head_object', Bucket)
        if Key not in self.objects:
            raise ClientError('404')
        return {'LastModified': self.objects[Key]}

    def delete_object(self, Bucket, Key):
        self._check('delete_object', Bucket)
        del self.objects[Key]

    def get_paginator(self, name):
        return types.SimpleNamespace(paginate=getattr(self, f'_{name}'))

    def _list_multipart_uploads(self, Bucket, Prefix):
        self._check('list_multipart_uploads', Bucket)
        yield {}
        for number, (key, begun) in list(self.uploads.items()):
            if key.startswith(Prefix):
                yield {'Uploads': [{'Key': key, 'UploadId': number,
                                    'Initiated': begun}]}

    def abort_multipart_upload(self, Bucket, Key, UploadId):
        self._check('abort_multipart_upload', Bucket)
        assert self.uploads.pop(UploadId)[0] == Key


class S3(base.GlanceCase):

    def setUp(self):
        super().setUp()
        self.client = Client()
        self.driver = mock.Mock(
            spec_set=['bucket', 'conf', 'full_s3_host', 'scheme',
                      '_operation_set'],
            bucket='images', full_s3_host='https://objects.example.com',
            scheme='s3+https', conf=base.cfg.CONF)
        self.driver._operation_set.side_effect = lambda location: (
            self.client, location.bucket, location.key)
        fixtures = base.fixture.fixtures
        for name in ('scheme', 'store_identifier'):
            self.useFixture(fixtures.MockPatchObject(
                glance_store, f'get_store_from_{name}', autospec=True,
                return_value=self.driver))

    def remove(self, kept=()):
        s3.Bucket('fast').remove_object('image', kept, BEGUN)

    def abort(self):
        s3.Bucket('fast').abort_uploads('image', BEGUN)

    def test_object(self):
        self.client.objects = {'image': at(0), 'image2': at(0)}
        self.remove(kept=['s3+https://elsewhere.example.com/images/image'])
        self.assertEqual({'image2': at(0)}, self.client.objects)
        glance_store.get_store_from_store_identifier.assert_called_once_with(
            'fast')

    def test_no_object(self):
        self.client.objects = {'image2': at(0)}
        self.remove()
        self.assertEqual({'image2': at(0)}, self.client.objects)

    def test_data_of_the_image(self):
        self.client.objects = {'image': at(0)}
        self.remove(kept=['file:///fast/image', URL])
        self.assertEqual({'image': at(0)}, self.client.objects)

    def test_older_than_the_import(self):
        self.client.objects = {'image': at(-1)}
        self.assertRaises(s3.ObjectKept, self.remove)
        self.assertEqual({'image': at(-1)}, self.client.objects)

    def test_parts(self):
        self.client.uploads = {
            1: ('image', at(-1)), 2: ('image', at(0)), 3: ('image', at(9)),
            4: ('image2', at(9))}
        self.abort()
        self.assertEqual({1, 4}, set(self.client.uploads))

    def test_no_bucket(self):
        """Glance makes it for the first image."""
        self.driver.bucket = 'not made yet'
        self.client.uploads = {1: ('image', at(0))}
        self.abort()
        self.assertEqual({1}, set(self.client.uploads))

    def test_refused(self):
        self.client.objects = {'image': at(0)}
        self.client.uploads = {1: ('image', at(0))}
        for request, function in (
                ('head_object', self.remove),
                ('delete_object', self.remove),
                ('list_multipart_uploads', self.abort),
                ('abort_multipart_upload', self.abort)):
            self.client.refused = {request: ClientError('AccessDenied')}
            self.assertRaises(s3.RequestRefused, function)

    def test_only_store(self):
        self.client.objects = {'image': at(0)}
        s3.Bucket(None).remove_object('image', [], BEGUN)
        self.assertEqual({}, self.client.objects)
        glance_store.get_store_from_scheme.assert_called_once_with('s3')

    def test_store_that_is_not_set_up(self):
        for error in (KeyError('fast'),
                      glance_store.exceptions.UnknownScheme(scheme='s3')):
            glance_store.get_store_from_store_identifier.side_effect = error
            self.assertRaises(s3.DriverMissing, s3.Bucket, 'fast')

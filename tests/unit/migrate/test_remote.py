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

"""Data that is read while it is downloaded."""

import io
import unittest

import requests

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import remote

DATA = bytes(range(256)) * 5000


class Response:
    """Data from an offset on, which breaks off after some bytes."""

    def __init__(self, data, most):
        self.data = data
        self.most = most
        self.closed = False

    def iter_content(self, size):
        source = io.BytesIO(self.data[:self.most])
        while chunk := source.read(size):
            yield chunk
        if len(self.data) > self.most:
            raise requests.exceptions.ChunkedEncodingError('broken')

    def close(self):
        self.closed = True


class Cloud:
    """Downloads each of which ends after so many bytes."""

    clock = patience.Clock(0)

    def __init__(self, *most):
        self.most = list(most)
        self.responses = []
        self.images = self

    def open_data(self, image_id, offset):
        most = self.most.pop(0) if self.most else len(DATA)
        self.responses.append(Response(DATA[offset:], most))
        return self.responses[-1]


class TestRemoteFile(unittest.TestCase):
    """It is a file."""

    def open(self, *most):
        self.cloud = Cloud(*most)
        file = remote.RemoteFile(self.cloud, 'id', len(DATA))
        self.addCleanup(file.close)
        return file

    def test_read(self):
        file = self.open()
        self.assertEqual(DATA, file.read())
        self.assertEqual(b'', file.read(1))
        self.assertEqual(1, len(self.cloud.responses))

    def test_download_that_breaks_off_goes_on(self):
        file = self.open(1000, 0, 70000)
        self.assertEqual(DATA, file.read())
        self.assertEqual(4, len(self.cloud.responses))
        self.assertTrue(all(response.closed
                            for response in self.cloud.responses[:-1]))

    def test_download_that_ends_too_early_goes_on(self):
        file = self.open()
        file._cloud.images.open_data = lambda image_id, offset: Response(
            DATA[offset:offset + 100000], 100000)
        self.assertEqual(DATA, file.read())

    def test_download_that_never_succeeds(self):
        file = self.open(*[0] * 20)
        with self.assertRaisesRegex(errors.Unreachable, 'broken'):
            file.read(1)
        self.assertEqual(patience.RETRIES + 1, len(self.cloud.responses))


class TestOneWay(unittest.TestCase):
    """It is sent with its length, and once only."""

    def setUp(self):
        super().setUp()
        file = remote.RemoteFile(Cloud(), 'id', len(DATA))
        self.addCleanup(file.close)
        self.upload = remote.OneWay(file, len(DATA))

    def test_length_is_sent(self):
        request = requests.Request(
            'PUT', 'http://nowhere/', data=self.upload).prepare()
        self.assertEqual(str(len(DATA)), request.headers['Content-Length'])
        self.assertNotIn('Transfer-Encoding', request.headers)
        self.assertEqual(DATA, request.body.read())

    def test_it_is_not_sent_twice(self):
        self.upload.read(1)
        with self.assertRaisesRegex(errors.Unreachable, 'broke off'):
            requests.Request(
                'PUT', 'http://nowhere/', data=self.upload).prepare()

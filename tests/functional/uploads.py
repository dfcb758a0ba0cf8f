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

"""What the tests of plain uploads have in common."""

import contextlib
import re
import socket
import time
from urllib import parse

from glance_xs_convert.recovery import tickets

from testbed.clouds import cloud
from tests.functional import base

SECONDS = 300


def pieces(data, size=100_000):
    """Data as a client sends it that does not tell its length."""
    for start in range(0, len(data), size):
        yield data[start:start + size]


def text_of(response):
    """What a response says, without the image's id."""
    return re.sub('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'ID',
                  response.text)


class UploadCase(base.ImportCase):
    """Uploads images by requests that tests can look at."""

    OPTIONS = {'edit_paste': cloud.with_upload_filter}

    def put(self, image_id, data, user='demo', store=None, action='file'):
        """Upload data, give the response."""
        headers = {'Content-Type': 'application/octet-stream'}
        if store is not None:
            headers['X-Image-Meta-Store'] = store
        return self.cloud.keystone.session(user).put(
            '%s/v2/images/%s/%s' % (self.cloud.url, image_id, action),
            data=data, headers=headers, raise_exc=False)

    def upload(self, image_id, data, store=None):
        """Upload data, and return the task of the import this becomes."""
        response = self.put(image_id, data, store=store)
        self.assertEqual((204, ''), (response.status_code, response.text))
        return self.cloud.wait_for_import(self.client, image_id)

    def tasks(self, image_id):
        """The tasks of an image."""
        return self.client.http_client.get(
            '/v2/images/%s/tasks' % image_id)[1]['tasks']

    @contextlib.contextmanager
    def beginning_of_upload(self, image_id, *headers):
        """A socket by which the head of an upload is sent already."""
        url = parse.urlsplit(self.cloud.url)
        token = self.cloud.keystone.session('demo').get_token()
        head = '\r\n'.join([
            'PUT /v2/images/%s/file HTTP/1.1' % image_id,
            'Host: %s' % url.netloc,
            'X-Auth-Token: %s' % token,
            'Content-Type: application/octet-stream', *headers, '', ''])
        with socket.create_connection((url.hostname, url.port),
                                      SECONDS) as connection:
            connection.sendall(head.encode())
            yield connection

    def wait_for_status(self, image_id, *wanted):
        """Wait until the image has one of the statuses."""
        deadline = time.monotonic() + SECONDS
        status = None
        while status not in wanted:
            if time.monotonic() > deadline:
                self.fail('the image is %s, not %s' % (
                    status, ' or '.join(wanted)))
            time.sleep(0.1)
            status = self.client.images.get(image_id).status
        return status

    def wait_for_uploads(self):
        """Wait until no request uploads any more.

        One whose connection breaks ends a moment after the image is queued
        again, and until then Glance takes no other data for the image.
        """
        deadline = time.monotonic() + SECONDS
        while any(name.endswith(tickets.UPLOAD_SUFFIX)
                  for name in self.cloud.tickets()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def assert_queued(self, image_id):
        """The image waits for data and there is none in staging."""
        image = self.client.images.get(image_id)
        self.assertEqual(('queued', 'vhd', 'ovf', None),
                         (image.status, image.disk_format,
                          image.container_format, image.size))
        self.assertNotIn('os_glance_stage_host', image)
        self.assertEqual([], self.cloud.staged())
        for store in self.cloud.stores:
            self.assertEqual([], self.cloud.stored(store))

    def assert_stored_as_it_came(self, image_id, data, *formats):
        """The data is in the store, and no import took place."""
        image = self.client.images.get(image_id)
        self.assertEqual(('active', *formats, len(data)),
                         (image.status, image.disk_format,
                          image.container_format, image.size))
        self.assertEqual(data,
                         (self.cloud.store_path() / image_id).read_bytes())
        self.assertEqual([], self.tasks(image_id))

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

"""What the tests of the filters have in common: a Glance behind a filter."""

import importlib.util
import io
import os
import tempfile
import types
import unittest
from unittest import mock

import testtools

HAS_GLANCE = importlib.util.find_spec('glance') is not None
if HAS_GLANCE:
    from oslo_config import fixture
    import webob
    import webob.dec
    import webob.exc

    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.plugin import upload_filter

ID = '6761fb1f-b4ce-428c-b299-704505bdcb7b'
IMAGE = f'/v2/images/{ID}'
SIZE = 300_000


class Input(io.BytesIO):
    """A body that only its one reader may read, in pieces."""

    def __init__(self, data):
        super().__init__(data)
        self.largest = 0

    def read(self, size=-1):
        if size is None or size < 0:
            raise AssertionError('the body is read in one piece')
        self.largest = max(self.largest, size)
        return super().read(size)

    def seek(self, *args):
        raise AssertionError('the body is read twice')


class Glance:
    """What the filter stands before: a Glance with one image.

    :ivar requests: method and path of those that came
    :ivar answers: the response to a method and path, or what makes it, if
                   it is not the usual one
    """

    def __init__(self, **image):
        self.image = {'id': ID, 'status': 'queued', 'disk_format': 'vhd',
                      'container_format': 'ovf', **image}
        self.requests = []
        self.answers = {}
        self.contexts = []
        self.received = b''
        self.imported = None
        self.queries = set()
        self.other_ids = ()

    def __call__(self, environ, start_response):
        return self._respond(environ, start_response)

    @property
    def _respond(self):
        return webob.dec.wsgify(self.respond)

    def respond(self, request):
        action = '%s %s' % (
            request.method, request.path_info.removeprefix(
                f'/v2/images/{self.image["id"]}'))
        self.requests.append(action)
        self.queries.add(request.query_string)
        if request.path_info.split('/')[3:] in [[i] for i in self.other_ids]:
            action = 'GET '
        self.contexts.append(request.context)
        # The real one takes the path apart on its way to the controller.
        request.path_info_pop()
        if action in self.answers:
            answer = self.answers[action]
            return (answer if isinstance(answer, webob.Response)
                    else answer(request))
        return {'GET ': self.show, 'PUT /stage': self.receive,
                'PUT /file': self.receive, 'PUT /file/': self.receive,
                'POST /import': self.begin}[action](request)

    def show(self, request):
        if request.content_length or request.headers.get('Transfer-Encoding'):
            return webob.exc.HTTPBadRequest('a body is not expected')
        return webob.Response(json=self.image)

    def receive(self, request):
        if request.headers.get('Transfer-Encoding') == 'chunked':
            request.is_body_readable = True
        while piece := request.body_file.read(65536):
            self.received += piece
        return webob.Response(status=204)

    def begin(self, request):
        if request.headers.get('Transfer-Encoding'):
            return webob.exc.HTTPBadRequest('this is not the chunked body')
        self.imported = (request.content_type, request.json,
                         request.headers.get('X-Image-Meta-Store'))
        return webob.Response(status=202)


@unittest.skipUnless(HAS_GLANCE, 'Glance is not installed')
class FilterCase(testtools.TestCase):
    """Sends requests to a filter before a Glance that does little."""

    def setUp(self):
        super().setUp()
        self.conf = self.useFixture(fixture.Config(upload_filter.CONF))
        staging = tempfile.TemporaryDirectory()
        self.addCleanup(staging.cleanup)
        locks = tempfile.TemporaryDirectory()
        self.addCleanup(locks.cleanup)
        self.tickets = os.path.join(locks.name, 'tickets')
        self.useFixture(fixture.fixtures.MockPatchObject(
            keeping, 'tickets', return_value=self.tickets))
        self.staged = os.path.join(staging.name, ID)
        self.conf.config(node_staging_uri='file://' + staging.name)
        self.conf.config(group='image_import_opts',
                         image_import_plugins=['xs_convert'])
        self.keeper = self.useFixture(fixture.fixtures.MockPatchObject(
            keeping, 'keeper', mock.create_autospec(
                keeping.keepers.Keeper, instance=True))).mock
        self.refusal_of_upload = self.useFixture(
            fixture.fixtures.MockPatchObject(
                upload_filter.permissions, 'refusal_of_upload',
                return_value=None)).mock
        self.data = os.urandom(SIZE)
        self.glance = Glance()

    def filter(self, refuses=False):
        return upload_filter.UploadFilter(self.glance, refuses)

    def upload(self, application=None, headers=(), path='/file',
               chunked=False, method='PUT', query='', image=IMAGE):
        """Send the data, and give the response."""
        request = webob.Request.blank('/', method=method)
        request.environ |= {'PATH_INFO': image + path, 'QUERY_STRING': query}
        request.content_type = 'application/octet-stream'
        request.headers.update(headers)
        request.environ['wsgi.input'] = self.input = Input(self.data)
        if chunked:
            request.headers['Transfer-Encoding'] = 'chunked'
        else:
            request.content_length = SIZE
        request.context = self.context = types.SimpleNamespace(
            request_id='req-1', elevated=lambda: 'elevated')
        return request.get_response(application or self.filter())

    def leave_in_staging(self, status='uploading', **properties):
        """Let a file be in staging, and the record have a status.

        :returns: the record, as Glance's own objects give it
        """
        with open(self.staged, 'wb') as file:
            file.write(self.data)
        record = types.SimpleNamespace(
            status=status, extra_properties={
                'os_glance_stage_host': 'http://here', **properties})
        repo = self.useFixture(fixture.fixtures.MockPatchObject(
            upload_filter.gateway, 'Gateway')).mock().get_repo('elevated')
        repo.get.return_value = record
        self.repo, self.save = repo, repo.save
        return record

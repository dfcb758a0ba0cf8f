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


import importlib.util
import io
import json
import os
import tempfile
import threading
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

    def __call__(self, environ, start_response):
        return self._respond(environ, start_response)

    @property
    def _respond(self):
        return webob.dec.wsgify(self.respond)

    def respond(self, request):
        action = '%s %s' % (
            request.method, request.path_info.removeprefix(IMAGE))
        self.requests.append(action)
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
        self.staged = os.path.join(staging.name, ID)
        self.conf.config(node_staging_uri='file://' + staging.name)
        self.conf.config(group='image_import_opts',
                         image_import_plugins=['xs_convert'])
        self.keeper = self.useFixture(fixture.fixtures.MockPatchObject(
            upload_filter.keeper, 'keeper', mock.create_autospec(
                upload_filter.keeper.Keeper, instance=True))).mock
        self.data = os.urandom(SIZE)
        self.glance = Glance()

    def filter(self, refuses=False):
        return upload_filter.UploadFilter(self.glance, refuses)

    def upload(self, application=None, headers=(), path='/file',
               chunked=False):
        """Send the data, and give the response."""
        request = webob.Request.blank(IMAGE + path, method='PUT')
        request.content_type = 'application/octet-stream'
        request.headers.update(headers)
        request.environ['wsgi.input'] = self.input = Input(self.data)
        if chunked:
            request.headers['Transfer-Encoding'] = 'chunked'
        else:
            request.content_length = SIZE
        request.context = self.context = types.SimpleNamespace(
            request_id='req-1')
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
            upload_filter.gateway, 'Gateway')).mock().get_repo()
        repo.get.return_value = record
        self.save = repo.save
        return record


class TestImport(FilterCase):
    """What becomes of an upload to a XenServer image."""

    def assert_imported(self, response, store=None):
        self.assertEqual((204, b''), (response.status_int, response.body))
        self.assertEqual(['GET ', 'PUT /stage', 'POST /import'],
                         self.glance.requests)
        self.assertEqual([self.context] * 3, self.glance.contexts)
        self.assertEqual(self.data, self.glance.received)
        self.assertEqual(
            ('application/json', {'method': {'name': 'glance-direct'}},
             store), self.glance.imported)

    def test_fixed_length(self):
        self.assert_imported(self.upload())

    def test_chunked(self):
        self.assert_imported(self.upload(chunked=True))

    def test_trailing_slash(self):
        self.assert_imported(self.upload(path='/file/'))

    def test_body_is_read_in_pieces(self):
        self.upload()
        self.assertLess(self.input.largest, SIZE)

    def test_store(self):
        self.conf.config(enabled_backends={'fast': 'file', 'slow': 'rbd'})
        response = self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assert_imported(response, 'slow')

    def test_store_is_nothing_to_a_glance_with_one(self):
        response = self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assert_imported(response, 'slow')

    def test_unknown_store(self):
        self.conf.config(enabled_backends={'fast': 'file'})
        self.upload(headers={'X-Image-Meta-Store': 'slow'})
        self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)

    def test_bare(self):
        self.glance = Glance(container_format='bare')
        self.upload()
        self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)
        self.conf.config(group='xs_convert', convert_bare_vhd=True)
        self.glance = Glance(container_format='bare')
        self.assert_imported(self.upload())

    def test_other_formats(self):
        for formats in (('raw', 'bare'), ('qcow2', 'bare'), ('vmdk', 'ova'),
                        ('vhdx', 'ovf'), (None, None)):
            self.glance = Glance(disk_format=formats[0],
                                 container_format=formats[1])
            self.assertEqual(204, self.upload().status_int)
            self.assertEqual(['GET ', 'PUT /file'], self.glance.requests)
            self.assertEqual(self.data, self.glance.received)

    def test_every_status_is_for_stage_to_judge(self):
        for status in ('uploading', 'saving', 'importing', 'active'):
            self.glance = Glance(status=status)
            self.glance.answers['PUT /stage'] = webob.exc.HTTPConflict(
                'Image status transition is not allowed')
            self.assertEqual(409, self.upload().status_int)
            self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)


class TestOtherRequests(FilterCase):
    """They are passed on as they are."""

    def test_untouched(self):
        answer = []
        passed_on = mock.Mock(return_value=answer)
        filter_ = upload_filter.UploadFilter(passed_on, refuses=True)
        for method, path in (
                ('GET', '/file'), ('HEAD', '/file'), ('DELETE', '/file'),
                ('POST', '/file'), ('PUT', '/stage'), ('PUT', ''),
                ('PUT', '/tags/file'), ('PUT', '/members/1/file'),
                ('PATCH', '')):
            environ = webob.Request.blank(
                IMAGE + path, method=method).environ
            copy = dict(environ)
            self.assertIs(answer, filter_(environ, start := mock.Mock()))
            passed_on.assert_called_with(environ, start)
            self.assertIs(environ, passed_on.call_args[0][0])
            self.assertEqual(copy, environ)


class TestErrors(FilterCase):
    """Glance's own errors reach the client."""

    def refusal(self, kind='HTTPRequestEntityTooLarge'):
        return getattr(webob.exc, kind)('the quota is used up')

    def assert_error(self, response, status=413):
        self.assertEqual(status, response.status_int)
        self.assertIn('the quota is used up', response.text)

    def test_no_such_image(self):
        for status in (401, 403, 404, 500, 503):
            self.glance = Glance()
            self.glance.answers['GET '] = webob.Response(status=status)
            self.assertEqual(status, self.upload().status_int)
            self.assertEqual(['GET '], self.glance.requests)

    def test_stage_is_refused(self):
        self.glance.answers['PUT /stage'] = self.refusal()
        self.assert_error(self.upload())
        self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)

    def test_import_is_refused(self):
        record = self.leave_in_staging()
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_called_once_with(record, from_state='uploading')
        self.assertEqual(('queued', {}),
                         (record.status, record.extra_properties))

    def test_import_is_refused_while_another_takes_place(self):
        for before, status, properties in (
                ({}, 'importing', {}),
                ({}, 'active', {}),
                ({}, 'uploading', {'os_glance_import_task': 'other'}),
                ({'os_glance_import_task': 'old'}, 'uploading',
                 {'os_glance_import_task': 'new'})):
            self.glance = Glance(**before)
            self.leave_in_staging(status, **properties)
            self.glance.answers['POST /import'] = self.refusal()
            self.assert_error(self.upload())
            self.assertTrue(os.path.exists(self.staged))
            self.save.assert_not_called()

    def test_import_is_refused_for_an_old_task(self):
        self.glance = Glance(os_glance_import_task='old')
        self.leave_in_staging(os_glance_import_task='old')
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_called_once()

    def test_failed_stage_left_data(self):
        self.leave_in_staging('queued')
        self.glance.answers['PUT /stage'] = self.refusal('HTTPConflict')
        self.assert_error(self.upload(), 409)
        self.assertFalse(os.path.exists(self.staged))
        self.save.assert_not_called()

    def test_data_of_another_upload_stays(self):
        self.leave_in_staging('uploading')
        self.glance.answers['PUT /stage'] = self.refusal('HTTPConflict')
        self.assert_error(self.upload(), 409)
        self.assertTrue(os.path.exists(self.staged))
        self.save.assert_not_called()

    def test_application_breaks_down(self):
        def break_down(request):
            raise RuntimeError

        for action in ('PUT /stage', 'POST /import'):
            self.glance = Glance()
            self.leave_in_staging('queued')
            self.glance.answers[action] = break_down
            self.assertRaises(RuntimeError, self.upload)
            self.assertFalse(os.path.exists(self.staged))

    def test_tidying_up_fails(self):
        self.leave_in_staging()
        self.save.side_effect = RuntimeError
        self.glance.answers['POST /import'] = self.refusal()
        self.assert_error(self.upload())

    def test_broken_connection(self):
        self.data = self.data[:SIZE // 2]
        self.assertRaises(OSError, self.upload)
        self.assertEqual(['GET ', 'PUT /stage'], self.glance.requests)

    def test_two_at_once(self):
        application = self.filter()
        responses = []

        def receive(request):
            thread = threading.Thread(target=lambda: responses.append(
                self.upload(application)))
            thread.start()
            thread.join()
            return webob.Response(status=204)

        self.glance.answers['PUT /stage'] = receive
        self.assertEqual(204, self.upload(application).status_int)
        self.assertEqual(409, responses[0].status_int)
        self.assertIn('Another request is uploading data', responses[0].text)
        self.assertEqual(204, self.upload(application).status_int)


class TestOption(FilterCase):
    """What the operator may choose."""

    def filter(self):
        return upload_filter.filter_factory({})(self.glance)

    def test_convert(self):
        self.assertEqual(204, self.upload().status_int)
        self.assertIn('PUT /stage', self.glance.requests)
        self.keeper.answered.assert_called_once_with('req-1', True)

    def test_pass(self):
        self.conf.config(group='xs_convert', on_plain_upload='pass')
        self.assertIs(self.glance, self.filter().application)

    def test_recovery_begins_whatever_is_chosen(self):
        for action in ('convert', 'pass', 'refuse'):
            self.conf.config(group='xs_convert', on_plain_upload=action)
            upload_filter.filter_factory({})
        self.assertEqual(3, self.keeper.start.call_count)

    def test_refuse(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        self.conf.config(enabled_import_methods=['web-download'])
        response = self.upload(headers={'Accept': '*/*'})
        self.assertEqual(409, response.status_int)
        for word in ('vhd/ovf', '--import', 'image-create-via-import'):
            self.assertIn(word, response.text)
        self.assertEqual(['GET '], self.glance.requests)

    def test_refuse_leaves_others_alone(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        self.glance = Glance(disk_format='raw')
        self.assertEqual(204, self.upload().status_int)

    def test_convert_lacks_something(self):
        for reason, group, values in (
                ('glance-direct is not', None,
                 {'enabled_import_methods': ['web-download']}),
                ('xs_convert is not', 'image_import_opts',
                 {'image_import_plugins': []})):
            with self.subTest(reason):
                self.conf.config(group=group, **values)
                with mock.patch.object(upload_filter.LOG, 'error',
                                       autospec=True) as error:
                    self.assertIs(self.glance, self.filter().application)
                text, *arguments = error.call_args[0]
                self.assertIn(reason, text % tuple(arguments))
                self.conf.conf.reset()

    def test_answer_is_what_the_client_accepts(self):
        self.conf.config(group='xs_convert', on_plain_upload='refuse')
        response = self.upload(headers={'Accept': 'application/json'})
        self.assertIn('--import', json.loads(response.body)['message'])

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

"""Imports are claimed before Glance hears of them."""

from unittest import mock

from tests.unit.plugin import base
from tests.unit.plugin import filters

if base.HAS_GLANCE:
    import webob
    import webob.exc

    from glance_xs_convert.plugin import import_filter

REQUEST_ID = 'X-Openstack-Request-ID'


class ImportFilter(filters.FilterCase):

    def setUp(self):
        super().setUp()
        self.body = {'method': {'name': 'web-download', 'uri': 'http://x/'}}

    def filter(self):
        return import_filter.ImportFilter(self.glance)

    def begin(self, path='/import', method='POST',
              image=filters.IMAGE, **options):
        request = webob.Request.blank(image + path, method=method)
        request.content_type = 'application/json'
        request.json = self.body
        request.headers.update(options)
        self.context = request.context = mock.Mock(
            request_id=options.get(REQUEST_ID, 'req-1'))
        return request.get_response(self.filter())

    def claim(self):
        """The claim that is held for the request."""
        return self.keeper.expect.call_args.args[0]

    def calls(self):
        return [name for name, _, _ in self.keeper.mock_calls]

    def test_accepted(self):
        self.assertEqual(202, self.begin().status_int)
        self.assertEqual(self.body, self.glance.imported[1])
        claim = self.claim()
        self.assertEqual(
            (filters.ID, 'req-1', self.staged, None),
            (claim.image_id, claim.request_id, claim.staged, claim.task_id))
        self.assertEqual(['expect', 'accept', 'start'], self.calls())
        self.keeper.accept.assert_called_once_with(claim)

    def test_id_in_capitals(self):
        """The image's own is claimed, and it is what Glance gets."""
        capitals = filters.ID.upper()
        self.glance.other_ids = (capitals,)
        self.assertEqual(202, self.begin(
            image=f'/v2/images/{capitals}').status_int)
        self.assertEqual([f'GET /v2/images/{capitals}', 'POST /import'],
                         self.glance.requests)
        claim = self.claim()
        self.assertEqual((filters.ID, self.staged),
                         (claim.image_id, claim.staged))

    def test_stage_with_id_in_capitals(self):
        """Nothing is left in the staging area under another name."""
        capitals = filters.ID.upper()
        self.glance.other_ids = (capitals,)
        for formats in ('vhd', 'raw'):
            self.glance.image['disk_format'] = formats
            self.glance.requests.clear()
            self.begin('/stage', 'PUT', image=f'/v2/images/{capitals}')
            self.assertEqual([f'GET /v2/images/{capitals}', 'PUT /stage'],
                             self.glance.requests)
        self.assertEqual([], self.calls())

    def test_claimed_before_it_begins(self):
        order = []
        self.keeper.expect.side_effect = lambda claim: order.append('claim')
        self.glance.answers['POST /import'] = lambda request: (
            order.append('import') or webob.Response(status=202))
        self.begin()
        self.assertEqual(['claim', 'import'], order)

    def test_refused(self):
        self.glance.answers['POST /import'] = webob.exc.HTTPConflict('no')
        response = self.begin()
        self.assertEqual((409, True),
                         (response.status_int, 'no' in response.text))
        self.keeper.release.assert_called_once_with(self.claim())

    def test_fails_half_way(self):
        """Glance may have locked the image, and begin no import."""
        self.glance.answers['POST /import'] = webob.exc.HTTPInternalServerError
        self.assertEqual(500, self.begin().status_int)
        self.keeper.leave.assert_called_once_with(self.claim())

    def test_application_breaks_down(self):
        self.glance.answers['POST /import'] = mock.Mock(
            side_effect=RuntimeError)
        self.assertRaises(RuntimeError, self.begin)
        self.keeper.leave.assert_called_once_with(self.claim())
        self.assertEqual('req-1', self.context.request_id)

    def test_client_that_repeats_its_request_id(self):
        """Each task gets another one, which begins with the client's."""
        for given in ('req-9', 'x' * 64):
            seen = set()
            self.glance.answers['POST /import'] = lambda request, seen=seen: (
                seen.add(request.context.request_id)
                or webob.Response(status=202))
            for _ in range(2):
                self.begin(**{REQUEST_ID: given})
                self.assertIn(self.claim().request_id, seen)
                self.assertEqual(given, self.context.request_id)
            self.assertEqual(2, len(seen))
            for request_id in seen:
                self.assertLessEqual(len(request_id), 64)
                self.assertEqual(given[:43], request_id[:43].split('.')[0])

    def test_another_host_answers(self):
        """Glance tells the client the ID of the request to that host."""
        def answer(request):
            request.context.request_id = 'req-there'
            return webob.Response(status=202)
        self.glance.answers['POST /import'] = answer
        for options in ({}, {REQUEST_ID: 'req-9'}):
            self.begin(**options)
            self.assertEqual('req-there', self.context.request_id)

    def test_ticket_cannot_be_written(self):
        """The import does not suffer from that."""
        self.keeper.expect.side_effect = OSError(28, 'No space')
        self.assertEqual(202, self.begin().status_int)

    def test_chunked(self):
        response = self.begin(**{'Transfer-Encoding': 'chunked'})
        self.assertEqual('POST /import', self.glance.requests[-1])
        self.assertIn('GET ', self.glance.requests)
        self.assertEqual(400, response.status_int)

    def test_other_images(self):
        for formats in (('qcow2', 'bare'), ('vhd', 'bare'), (None, None)):
            self.glance = filters.Glance(
                disk_format=formats[0], container_format=formats[1])
            self.assertEqual(202, self.begin().status_int)
            self.assertEqual(self.body, self.glance.imported[1])
        self.assertEqual([], self.calls())

    def test_no_such_image(self):
        self.glance.answers['GET '] = webob.Response(status=404)
        self.glance.answers['POST /import'] = webob.Response(status=404)
        self.assertEqual(404, self.begin().status_int)
        self.assertEqual([], self.calls())

    def test_other_requests(self):
        for method, path in (('GET', '/import'), ('POST', '/import/x'),
                             ('POST', '/members'), ('PUT', '/file')):
            passed_on = mock.Mock(return_value=[])
            environ = webob.Request.blank(
                filters.IMAGE + path, method=method).environ
            copy = dict(environ)
            import_filter.ImportFilter(passed_on)(environ, start := object())
            passed_on.assert_called_once_with(environ, start)
            self.assertEqual(copy, environ)
        self.assertEqual([], self.calls())

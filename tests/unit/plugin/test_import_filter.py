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
from tests.unit.plugin import test_upload_filter

if base.HAS_GLANCE:
    import webob
    import webob.exc

    from glance_xs_convert.plugin import claims
    from glance_xs_convert.plugin import import_filter


class ImportFilter(test_upload_filter.FilterCase):

    def setUp(self):
        super().setUp()
        self.body = {'method': {'name': 'web-download', 'uri': 'http://x/'}}

    def filter(self):
        return import_filter.ImportFilter(self.glance)

    def begin(self, path='/import', method='POST', **options):
        request = webob.Request.blank(test_upload_filter.IMAGE + path,
                                      method=method)
        request.content_type = 'application/json'
        request.json = self.body
        request.headers.update(options)
        request.context = mock.Mock(request_id='req-1')
        return request.get_response(self.filter())

    def calls(self):
        return [name for name, _, _ in self.keeper.mock_calls]

    def test_accepted(self):
        for path in ('/import', '/import/'):
            self.keeper.reset_mock()
            self.glance = test_upload_filter.Glance()
            self.glance.answers[f'POST {path}'] = self.glance.begin
            self.assertEqual(202, self.begin(path).status_int)
            self.assertEqual(self.body, self.glance.imported[1])
            self.keeper.expect.assert_called_once_with(claims.Claim(
                image_id=test_upload_filter.ID, request_id='req-1',
                staged=self.staged))
            self.keeper.answered.assert_called_once_with('req-1', True)

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
        self.keeper.answered.assert_called_once_with('req-1', False)

    def test_application_breaks_down(self):
        self.glance.answers['POST /import'] = mock.Mock(
            side_effect=RuntimeError)
        self.assertRaises(RuntimeError, self.begin)
        self.keeper.answered.assert_called_once_with('req-1', False)

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
            self.glance = test_upload_filter.Glance(
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
                             ('POST', '/members'), ('PUT', '/stage')):
            passed_on = mock.Mock(return_value=[])
            environ = webob.Request.blank(
                test_upload_filter.IMAGE + path, method=method).environ
            copy = dict(environ)
            import_filter.ImportFilter(passed_on)(environ, start := object())
            passed_on.assert_called_once_with(environ, start)
            self.assertEqual(copy, environ)
        self.assertEqual([], self.calls())

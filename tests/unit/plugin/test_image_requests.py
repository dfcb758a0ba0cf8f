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
"""Requests are told apart as the real Glance tells them apart.

The judge is Glance's own router, behind its own URL map.
"""

import itertools
import unittest
from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.api.v2 import router
    from glance.common import wsgi
    from oslo_config import cfg
    from paste import urlmap
    import webob

    from glance_xs_convert.plugin import image_requests

ID = '6761fb1f-b4ce-428c-b299-704505bdcb7b'
ACTIONS = {'upload': 'file', 'stage': 'stage', 'import_image': 'import'}


class Controller:
    """Notes what Glance's router would call."""

    def __init__(self):
        self.found = None

    def __call__(self, environ, start_response):
        match = environ['wsgiorg.routing_args'][1]
        action = ACTIONS.get(match['action'])
        self.found = (action, match['image_id']) if action else None
        start_response('204 No Content', [])
        return []


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class AsGlance(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.controller = Controller()
        with (mock.patch.object(wsgi, 'Resource', lambda *a: cls.controller),
              mock.patch.object(cfg.CONF, 'find_file', lambda name: None)):
            api = router.API(wsgi.APIMapper())
        cls.glance = urlmap.URLMap()
        cls.glance['/v2'] = api

    def by_glance(self, environ):
        self.controller.found = None
        webob.Request(dict(environ)).get_response(self.glance)
        return self.controller.found

    def by_us(self, environ):
        found = image_requests.of(environ)
        return found and (found.action, found.image_id)

    def assert_same(self, method, path, query='', **environ):
        made = {**webob.Request.blank('/').environ, **environ,
                'REQUEST_METHOD': method, 'PATH_INFO': path,
                'QUERY_STRING': query}
        copy = dict(made)
        expected = self.by_glance(made)
        self.assertEqual(expected, self.by_us(made), (method, path, query))
        self.assertEqual(copy, made)
        return expected

    def test_usual(self):
        for method, action in (('PUT', 'file'), ('PUT', 'stage'),
                               ('POST', 'import')):
            self.assertEqual((action, ID), self.assert_same(
                method, f'/v2/images/{ID}/{action}'))

    def test_ways_to_get_past_a_filter(self):
        for method, path, query in (
                ('PUT', f'/v2/images/{ID}/file\n', ''),
                ('PUT', f'/v2//images/{ID}/file', ''),
                ('PUT', f'/v2/images//{ID}///file', ''),
                ('PUT', f'//v2/images/{ID}//file\n', ''),
                ('POST', f'/v2/images/{ID}/file', '_method=PUT'),
                ('GET', f'/v2/images/{ID}/file', 'x=1&_method=put')):
            found = self.assert_same(method, path, query)
            self.assertEqual(('file', ID), found, (method, path, query))

    def test_whatever_may_come(self):
        paths = ['', '/', '/v2', '/v2/', '/v2/images', f'/v2/images/{ID}',
                 '/images/x/file', '/v2.0/images/x/file', '/V2/images/x/file',
                 '/v2images/x/file', '/v2/images/x/y/file', '/v2/images/file']
        for name, action in itertools.product(
                (ID, ID.upper(), f'{ID} ', f'{ID}\n', 'é', '..', '%2e', 'a?b',
                 '\x00', '{image_id}', 'file'),
                ('file', 'stage', 'import', 'FILE', 'file/', 'file\n',
                 'file\n\n', 'file\r', 'file ', 'file;x', 'file.json',
                 'file%0a', '/file', 'file/import', 'tags/file')):
            paths.append(f'/v2/images/{name}/{action}')
        for path, method, query in itertools.product(
                paths, ('PUT', 'POST', 'GET', 'DELETE', 'put'),
                ('', '_method=PUT', '_method=post', '_METHOD=PUT',
                 '_method=', '_method=PUT&_method=GET', '_method=%ff')):
            self.assert_same(method, path, query)

    def test_hosts(self):
        for host in ('glance', 'glance:9292', 'v2', 'a:b:c', '[::1]:9292'):
            self.assertTrue(self.assert_same(
                'PUT', f'/v2/images/{ID}/file', HTTP_HOST=host))

    def test_body_is_not_read(self):
        body = mock.Mock(spec=[])
        environ = webob.Request.blank(
            f'/v2/images/{ID}/file', method='POST').environ
        environ['wsgi.input'] = body
        environ['CONTENT_TYPE'] = 'application/x-www-form-urlencoded'
        environ['CONTENT_LENGTH'] = '10'
        self.assertIsNone(image_requests.of(environ))


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Paths(unittest.TestCase):

    def test_paths(self):
        self.assertEqual(f'/v2/images/{ID}', image_requests.path(ID))
        self.assertEqual(f'/v2/images/{ID}/stage', image_requests.path(
            ID, image_requests.STAGE))

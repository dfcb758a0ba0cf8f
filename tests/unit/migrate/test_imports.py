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

"""What Glance says of imports."""

from glance_xs_convert.migrate import imports
from tests.unit.migrate import responses

response = responses.response


class TestImports(responses.ServiceCase):
    """Imports are begun, and their tasks read."""

    def setUp(self):
        super().setUp()
        self.imports = imports.Imports(self.service)

    def test_what_is_not_there(self):
        self.answer(*[response(404) for _ in range(3)])
        self.assertEqual([], self.imports.tasks('a'))
        self.assertEqual([], self.imports.stores())
        self.assertEqual({}, self.imports.usage())

    def test_what_is_there(self):
        self.answer(
            response(200, '{"import-methods": {"value": ["glance-direct"]}}'),
            response(200, '{"stores": [{"id": "a"}, '
                          '{"id": "b", "read-only": "true"}]}'),
            response(200, '{"usage": {"q": {"limit": 1, "usage": 0}}}'),
            response(200, '{"tasks": [{"id": "t", "status": "success"}]}'))
        self.assertEqual(['glance-direct'], self.imports.methods())
        self.assertEqual(['a'], self.imports.stores())
        self.assertEqual({'q': {'limit': 1, 'usage': 0}},
                         self.imports.usage())
        self.assertEqual(['t'], [task.id for task in self.imports.tasks('a')])

    def test_begin(self):
        self.answer(response(202, ''), response(202, ''))
        self.imports.begin('a', {'name': 'm'})
        self.imports.begin('a/b', {'name': 'm'}, ('s',))
        one, other = self.proxy.requests
        self.assertEqual({'method': {'name': 'm'}}, one[2]['json'])
        self.assertEqual(['s'], other[2]['json']['stores'])
        self.assertEqual('/images/a%2Fb/import', other[1])

    def test_upload_has_a_length(self):
        self.answer(response(204, ''))
        self.imports.stage('a', b'xy', 2)
        headers = self.proxy.requests[0][2]['headers']
        self.assertEqual('2', headers['X-OpenStack-Image-Size'])

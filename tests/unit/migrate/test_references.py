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

"""Nova and Cinder are asked, if they are there."""

import types
from unittest import mock

from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import service
from tests.unit.migrate import responses

response = responses.response
SERVERS = ('{"servers": [{"id": "s", "image": {"id": "a"}}, '
           '{"id": "t", "image": ""}]}')
VOLUMES = ('{"volumes": [{"id": "v", "volume_image_metadata": '
           '{"image_id": "a"}}, {"id": "w"}]}')


class TestReferences(responses.ServiceCase):
    """What refers to the image ``a`` of the project ``p``."""

    def users(self, *services, is_admin=True, images=(), **options):
        cloud = types.SimpleNamespace(
            is_admin=is_admin, images=types.SimpleNamespace(
                listed_both=lambda: images),
            service=lambda kind: self.service if kind in services else None)
        return references.Users(cloud, {'a': 'p', 'b': 'p'}, **options)

    def test_servers_and_volumes(self):
        self.answer(response(200, SERVERS), response(200, '{"servers": []}'),
                    response(200, VOLUMES), response(200, '{"volumes": []}'))
        users = self.users('compute', 'block-storage')
        self.assertEqual(['server s', 'volume v'], users.of('a'))
        self.assertEqual([], users.of('b'))
        self.assertEqual([], users.unseen)
        queries = [arguments['params']
                   for _, _, arguments in self.proxy.requests]
        self.assertEqual('True', queries[0]['all_tenants'])
        self.assertEqual('t', queries[1]['marker'])

    def test_neither_is_needed(self):
        self.assertEqual([], self.users().of('a'))

    def test_members_ask_for_what_is_theirs(self):
        self.answer(response(200, '{"servers": []}'))
        self.users('compute', is_admin=False)
        self.assertNotIn('all_tenants',
                         self.proxy.requests[0][2]['params'])

    def test_one_that_cannot_be_asked(self):
        self.answer(response(403, 'not\nallowed'), response(200, VOLUMES),
                    response(200, '{"volumes": []}'))
        users = self.users('compute', 'block-storage')
        self.assertRegex(users.unseen[0], '^servers: .*not allowed$')
        self.assertEqual(['volume v'], users.of('a'))

    def test_service_that_does_not_know_markers(self):
        """It would begin anew for ever."""
        self.answer(response(200, SERVERS), response(200, SERVERS))
        users = self.users('compute')
        self.assertRegex(users.unseen[0], '^servers: the same page')

    def test_pages_that_are_too_long(self):
        with mock.patch.object(service, 'MOST_JSON', 200):
            self.answer(response(200, 'x' * 300), response(200, SERVERS),
                        response(200, '{"servers": []}'))
            users = self.users('compute')
        self.assertEqual(['server s'], users.of('a'))
        self.assertEqual([], users.unseen)

    def test_snapshots_of_the_same_project(self):
        """Anybody can say that his image is one."""
        images = [{'id': 'x', 'base_image_ref': 'a', 'owner': 'p'},
                  {'id': 'y', 'base_image_ref': 'a', 'owner': 'evil'},
                  {'id': 'z', 'base_image_ref': ['a'], 'owner': 'p'},
                  {'id': 'u', 'owner': 'p'}]
        users = self.users(images=images, snapshots=True)
        self.assertEqual(['image x'], users.of('a'))

    def test_ids_are_safe_to_show(self):
        self.answer(response(200, SERVERS.replace('"s"', '"\\u001b[2J"')),
                    response(200, '{"servers": []}'))
        self.assertTrue(self.users('compute').of('a')[0].isprintable())

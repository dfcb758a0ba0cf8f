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

"""What Glance says of images."""

from unittest import mock

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import service
from tests.unit.migrate import glance
from tests.unit.migrate import responses

response = responses.response
uid = glance.uid


def page(*names, more=False, padding=''):
    """A page of a list."""
    found = ', '.join('{"id": "%s", "x": "%s"}' % (name, padding)
                      for name in names)
    return response(200, '{"images": [%s]%s}' % (
        found, ', "next": "/v2/..."' if more else ''))


class ImagesCase(responses.ServiceCase):
    """Asks for images."""

    def setUp(self):
        super().setUp()
        self.images = images.Images(self.service)

    def queries(self):
        return [arguments['params']
                for _, _, arguments in self.proxy.requests]


class TestLists(ImagesCase):
    """Lists come in pages."""

    def test_pages(self):
        self.answer(page('a', more=True), page('b'))
        self.assertEqual(['a', 'b'], [
            image['id'] for image in self.images.listed(os_hidden='true')])
        self.assertEqual('a', self.queries()[1]['marker'])
        self.assertEqual('true', self.queries()[1]['os_hidden'])

    def test_both_lists(self):
        self.answer(page('a', 'b'), page('b', 'c'))
        self.assertEqual(['a', 'b', 'c'], [
            image['id'] for image in self.images.listed_both()])
        self.assertEqual(['false', 'true'], [
            query['os_hidden'] for query in self.queries()])

    def test_pages_that_are_too_long(self):
        """Users write many long properties."""
        long = 'x' * 1000
        with mock.patch.object(service, 'MOST_JSON', 1500):
            self.answer(page('a', 'b', more=True, padding=long),
                        page('a', more=True, padding=long),
                        page('b', padding=long))
            found = [image['id'] for image in self.images.listed()]
        self.assertEqual(['a', 'b'], found)
        sizes = [int(query['limit']) for query in self.queries()]
        self.assertLess(sizes[1], sizes[0])

    def test_image_that_is_too_long(self):
        with mock.patch.object(service, 'MOST_JSON', 100):
            self.answer(*[page('a', padding='x' * 1000) for _ in range(20)])
            with self.assertRaisesRegex(errors.RequestRefused, '--project'):
                list(self.images.listed())

    def test_image_that_is_deleted_meanwhile(self):
        """Another user's image must not end an administrator's list."""
        self.answer(page('a', 'b', more=True), response(400), page('b', 'c'))
        self.assertEqual(['a', 'b', 'b', 'c'], [
            image['id'] for image in self.images.listed()])
        self.assertEqual('a', self.queries()[2]['marker'])
        self.answer(page('a', more=True), response(400))
        with self.assertRaises(errors.RequestRefused):
            list(self.images.listed())

    def test_which_exist(self):
        ids = [uid(str(number)) for number in range(120)]
        self.answer(page(ids[0]), page(), page(ids[7]), page('x'), page(),
                    page())
        self.assertEqual({ids[0], ids[7]}, self.images.existing(ids))
        self.assertTrue(all(query['id'].startswith('in:')
                            for query in self.queries()))
        self.assertEqual(set(), self.images.existing([]))


class TestImages(ImagesCase):
    """Images are named by their ids."""

    def test_ids_are_quoted(self):
        self.answer(*[response(200, '{"members": []}') for _ in range(6)])
        for call, arguments in (
                (self.images.get, ()), (self.images.patch, ([],)),
                (self.images.delete, ()), (self.images.members, ()),
                (self.images.set_member_status, ('../x', 'accepted')),
                (self.images.set_active, (True,))):
            call('../tasks?x', *arguments)
        for _, path, _ in self.proxy.requests:
            self.assertTrue(path.startswith('/images/..%2Ftasks%3Fx'), path)
            self.assertNotIn('/../', path)

    def test_image_with_the_same_id_in_capitals(self):
        """Some databases find it."""
        self.answer(response(200, '{"id": "%s"}' % uid('a').upper()),
                    response(200, '{"id": "%s"}' % uid('a')))
        self.assertIsNone(self.images.get(uid('a')))
        self.assertEqual(uid('a'), self.images.get(uid('a'))['id'])

    def test_what_is_gone(self):
        self.answer(response(404), response(404))
        self.assertIsNone(self.images.get('a'))
        self.images.delete('a')

    def test_member_that_is_there_already(self):
        self.answer(response(409))
        self.images.add_member('a', 'p2')

    def test_data_from_the_middle(self):
        self.answer(response(206), response(200))
        self.images.open_data('a', 5)
        self.assertEqual({'Range': 'bytes=5-'},
                         self.proxy.requests[0][2]['headers'])
        with self.assertRaises(errors.RequestRefused):
            self.images.open_data('a', 5)

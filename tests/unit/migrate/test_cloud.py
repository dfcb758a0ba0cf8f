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

"""Requests are repeated, and answers understood."""

import io
import types
import unittest

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions
import requests

from glance_xs_convert.migrate import cloud
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience


def response(status, body='{}', **headers):
    """An answer of Glance's."""
    made = requests.Response()
    made.status_code = status
    made._content = body.encode()
    made.raw = io.BytesIO()
    made.headers.update(headers)
    return made


class Clock(patience.Clock):
    """Does not wait, but remembers for how long."""

    def __init__(self):
        super().__init__(0)
        self.pauses = []

    def pause(self, seconds):
        self.pauses.append(seconds)
        super().pause(seconds)


class CloudCase(unittest.TestCase):
    """Gives answers, one after the other."""

    def setUp(self):
        super().setUp()
        self.answers = []
        self.requests = []
        self.access = types.SimpleNamespace(
            project_id='p', role_names=['member'])
        connection = types.SimpleNamespace(
            image=types.SimpleNamespace(request=self.answer),
            session=types.SimpleNamespace(auth=types.SimpleNamespace(
                get_access=lambda session: self.access)))
        self.cloud = cloud.Cloud(connection, Clock())
        self.cloud.log_in()

    def answer(self, path, method, **arguments):
        self.requests.append((method, path, arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class TestRequests(CloudCase):
    """What is troubled is asked again."""

    def test_trouble_that_passes(self):
        self.answers = [
            response(503), response(429, **{'Retry-After': '7'}),
            response(500), response(502), response(504),
            ksa_exceptions.ConnectFailure('reset'),
            requests.exceptions.ConnectionError('reset'),
            response(200, '{"id": "a"}')]
        self.assertEqual({'id': 'a'}, self.cloud.image('a'))
        self.assertEqual(7, len(self.cloud.clock.pauses))
        self.assertEqual(7, self.cloud.clock.pauses[1])

    def test_trouble_that_stays(self):
        self.answers = [response(503, '<h1>503</h1>too <b>busy</b>')] * 20
        with self.assertRaisesRegex(errors.Unreachable, '503 too busy'):
            self.cloud.image('a')
        self.assertEqual(patience.RETRIES + 1, len(self.requests))

    def test_the_library_repeats_nothing(self):
        self.answers = [response(200)]
        self.cloud.image('a')
        arguments = self.requests[0][2]
        self.assertEqual((0, 0), (arguments['connect_retries'],
                                  arguments['status_code_retries']))

    def test_upload_is_not_repeated(self):
        self.answers = [response(503)]
        with self.assertRaises(errors.Unreachable):
            self.cloud.stage('a', b'x', 1)
        self.assertEqual(1, len(self.requests))

    def test_refusals(self):
        for status, error in (
                (400, errors.RequestRefused), (401, errors.LoginFailed),
                (403, errors.NotAllowed), (409, errors.Conflict),
                (413, errors.OutOfQuota)):
            self.answers = [response(
                status, '<html><head><title>x</title></head><body><h1>y'
                '</h1>not\n <br>so &amp; fast</body></html>')]
            with self.assertRaisesRegex(error, 'says: not so & fast$'):
                self.cloud.patch('a', [])

    def test_keystone_refuses(self):
        for raised, error in (
                (ksa_exceptions.Unauthorized('no'), errors.LoginFailed),
                (ksa_exceptions.MissingRequiredOptions([]),
                 errors.LoginFailed),
                (ksa_exceptions.NotFound('no'), errors.LoginFailed),
                (ksa_exceptions.EndpointNotFound('no'),
                 errors.CannotMigrate),
                (sdk_exceptions.SDKException('no'), errors.RequestRefused)):
            self.answers = [raised]
            with self.assertRaises(error):
                self.cloud.image('a')

    def test_keystone_is_troubled(self):
        self.answers = [ksa_exceptions.ServiceUnavailable('busy'),
                        response(200, '{"id": "a"}')]
        self.assertEqual({'id': 'a'}, self.cloud.image('a'))

    def test_service_that_is_not_found_at_once(self):
        class Connection:
            session = types.SimpleNamespace(auth=types.SimpleNamespace(
                get_access=lambda session: None))
            asked = 0

            @property
            def image(self):
                self.asked += 1
                if self.asked < 3:
                    raise sdk_exceptions.SDKException('no versions')
                return 'service'

        connection = Connection()
        cloud.Cloud(connection, Clock()).log_in()
        self.assertEqual(3, connection.asked)
        connection.asked = -20
        with self.assertRaisesRegex(errors.Unreachable, 'no versions'):
            cloud.Cloud(connection, Clock()).log_in()


class TestAnswers(CloudCase):
    """What Glance says."""

    def test_pages(self):
        self.answers = [
            response(200, '{"images": [{"id": "a"}], "next": "/v2/..."}'),
            response(200, '{"images": [{"id": "b"}]}')]
        self.assertEqual(['a', 'b'], [
            image['id'] for image in self.cloud.images(os_hidden='true')])
        self.assertEqual('a', self.requests[1][2]['params']['marker'])
        self.assertEqual('true', self.requests[1][2]['params']['os_hidden'])

    def test_what_is_gone(self):
        self.answers = [response(404)] * 5
        self.assertIsNone(self.cloud.image('a'))
        self.assertIsNone(self.cloud.newest_task('a'))
        self.assertEqual([], self.cloud.stores())
        self.assertEqual({}, self.cloud.usage())
        self.cloud.delete('a')

    def test_newest_task(self):
        self.answers = [response(
            200, '{"tasks": [{"created_at": "2", "id": "new"}, '
            '{"created_at": "1", "id": "old"}]}'), response(
            200, '{"tasks": []}')]
        self.assertEqual('new', self.cloud.newest_task('a')['id'])
        self.assertIsNone(self.cloud.newest_task('a'))

    def test_member_that_is_there_already(self):
        self.answers = [response(409)]
        self.cloud.add_member('a', 'p2')

    def test_data_from_the_middle(self):
        self.answers = [response(206), response(200)]
        self.cloud.open_data('a', 5)
        self.assertEqual({'Range': 'bytes=5-'},
                         self.requests[0][2]['headers'])
        with self.assertRaises(errors.RequestRefused):
            self.cloud.open_data('a', 5)

    def test_roles(self):
        self.assertFalse(self.cloud.is_admin)
        self.access.role_names = ['admin']
        self.assertTrue(self.cloud.is_admin)

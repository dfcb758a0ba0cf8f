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

"""Requests are repeated, and answers understood and bounded."""

import io
from unittest import mock

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions
import requests

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import service
from tests.unit.migrate import responses

response = responses.response


class Broken(io.BytesIO):
    """A body that breaks off."""

    def read(self, size=-1):
        raise requests.exceptions.ChunkedEncodingError('broken')


class Endless(io.RawIOBase):
    """A body that does not end, and how much of it was read."""

    count = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.count += len(buffer)
        buffer[:] = b'x' * len(buffer)
        return len(buffer)


class TestRequests(responses.ServiceCase):
    """What is troubled is asked again."""

    def test_trouble_that_passes(self):
        self.answer(
            response(503), response(429, **{'Retry-After': '7'}),
            response(500), response(502), response(504),
            ksa_exceptions.ConnectFailure('reset'),
            requests.exceptions.ConnectionError('reset'),
            response(200, Broken()),
            response(200, '{"id": "a"}'))
        self.assertEqual({'id': 'a'}, self.service.get('/a'))
        self.assertEqual(8, len(self.clock.pauses))
        self.assertEqual(7, self.clock.pauses[1])

    def test_odd_times_to_wait(self):
        for odd in ('²', '-1', '9' * 400, 'Sat, 28 Nov 2026 16:00:00 GMT'):
            self.answer(response(503, **{'Retry-After': odd}),
                        response(200))
            self.service.get('/a')
        self.assertLessEqual(max(self.clock.pauses), 120)

    def test_trouble_that_stays(self):
        self.answer(*[response(503, '<h1>503</h1>too <b>busy</b>')
                      for _ in range(20)])
        with self.assertRaisesRegex(errors.Unreachable, '503 too busy'):
            self.service.get('/a')
        self.assertEqual(patience.RETRIES + 1, len(self.proxy.requests))

    def test_services_that_matter_less(self):
        self.answer(*[response(503) for _ in range(3)])
        asked = service.Service(
            'Nova', self.proxy, self.clock, retries=2)
        self.assertRaises(errors.Unreachable, asked.get, '/servers')
        self.assertEqual(3, len(self.proxy.requests))

    def test_the_library_repeats_nothing(self):
        self.answer(response(200))
        self.service.get('/a')
        arguments = self.proxy.requests[0][2]
        self.assertEqual((0, 0), (arguments['connect_retries'],
                                  arguments['status_code_retries']))

    def test_nothing_is_waited_for_without_end(self):
        self.answer(response(200), response(204, ''), response(200))
        self.service.get('/a')
        self.service.change('DELETE', '/a')
        self.service.open('/a', {})
        for _, _, arguments in self.proxy.requests:
            self.assertTrue(all(0 < seconds < 1000
                                for seconds in arguments['timeout']))

    def test_what_is_sent_only_once(self):
        self.answer(response(503))
        with self.assertRaises(errors.Unreachable):
            self.service.change('PUT', '/a', once=True)
        self.assertEqual(1, len(self.proxy.requests))

    def test_refusals(self):
        for status, error in (
                (400, errors.RequestRefused), (401, errors.LoginFailed),
                (403, errors.NotAllowed), (404, errors.NotFound),
                (409, errors.Conflict), (413, errors.OutOfQuota)):
            self.answer(response(
                status, '<html><head><title>x</title></head><body><h1>y'
                '</h1>not\n <br>so &amp; fast</body></html>'))
            with self.assertRaisesRegex(error, 'says: not so & fast$'):
                self.service.change('PATCH', '/a')

    def test_keystone_refuses(self):
        for raised, error in (
                (ksa_exceptions.Unauthorized('no'), errors.LoginFailed),
                (ksa_exceptions.MissingRequiredOptions([]),
                 errors.LoginFailed),
                (ksa_exceptions.NotFound('no'), errors.LoginFailed),
                (ksa_exceptions.EndpointNotFound('no'),
                 errors.CannotMigrate),
                (sdk_exceptions.SDKException('no'), errors.RequestRefused)):
            self.answer(raised)
            with self.assertRaises(error):
                self.service.get('/a')

    def test_keystone_is_troubled(self):
        self.answer(ksa_exceptions.ServiceUnavailable('busy'),
                    response(200, '{"id": "a"}'))
        self.assertEqual({'id': 'a'}, self.service.get('/a'))


class TestAnswers(responses.ServiceCase):
    """What a service answers is not trusted."""

    def test_long_answers(self):
        with mock.patch.object(service, 'MOST_JSON', 1 << 20):
            body = Endless()
            self.answer(response(200, body))
            with self.assertRaises(errors.AnswerTooLong):
                self.service.get('/a')
        self.assertLess(body.count, 2 << 20)

    def test_long_errors(self):
        body = Endless()
        self.answer(response(400, body))
        with self.assertRaises(errors.RequestRefused) as caught:
            self.service.get('/a')
        self.assertLess(body.count, 1 << 20)
        self.assertLess(len(str(caught.exception)), 1100)

    def test_errors_that_break_off(self):
        self.answer(response(403, Broken()))
        with self.assertRaises(errors.NotAllowed):
            self.service.get('/a')

    def test_errors_are_safe_to_show(self):
        self.answer(response(400, '\x1b[2J\u202ex'))
        with self.assertRaises(errors.RequestRefused) as caught:
            self.service.get('/a')
        self.assertTrue(str(caught.exception).isprintable())

    def test_what_is_no_object(self):
        for body in ('[]', '"x"', 'x', '[' * 100000):
            self.answer(response(200, body))
            with self.assertRaises(errors.RequestRefused):
                self.service.get('/a')

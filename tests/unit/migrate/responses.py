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

"""A service that gives answers, one after the other."""

import io
import unittest

import requests

from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import service


def response(status, body='{}', **headers):
    """An answer of a service."""
    made = requests.Response()
    made.status_code = status
    made.raw = body if hasattr(body, 'read') else io.BytesIO(body.encode())
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


class Proxy:
    """Stands for openstacksdk's proxy of a service."""

    def __init__(self):
        self.answers = []
        self.requests = []

    def request(self, path, method, **arguments):
        self.requests.append((method, path, arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class ServiceCase(unittest.TestCase):
    """Asks a service."""

    def setUp(self):
        super().setUp()
        self.proxy = Proxy()
        self.clock = Clock()
        self.service = service.Service('Glance', self.proxy, self.clock)

    def answer(self, *answers):
        self.proxy.answers = list(answers)

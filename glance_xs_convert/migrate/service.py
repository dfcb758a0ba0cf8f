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

"""The requests to a service of the cloud.

openstacksdk sends them, but the retries are our own: openstacksdk's are not
randomized, do not know status 429, and would send a stream again that has
already been read. The bounds are our own, too: what a service answers can
consist of what its users have written.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import html
import http
import json
import re
from typing import Any

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert import text
from glance_xs_convert import units

#: The most bytes of an answer that are read. An image with as many properties
#: as Glance allows by default, each as long as its database allows, is
#: smaller.
MOST_JSON = 64 * units.MIB
_MOST_REASON = 64 * 1024
_CHUNK = 64 * 1024
#: How many characters of a reason are shown.
_LONGEST_REASON = 1000
#: How many seconds to wait for a connection, and for an answer.
_TIMEOUT = (30, 120)
#: The same for requests that make a service move data. Most stores delete
#: while the client waits.
_PATIENT_TIMEOUT = (120, 900)

#: The answers after which a request is repeated.
AGAIN = frozenset((
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.INTERNAL_SERVER_ERROR,
    http.HTTPStatus.BAD_GATEWAY,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
    http.HTTPStatus.GATEWAY_TIMEOUT,
))
_ERRORS: dict[int, type[errors.MigrationError]] = {
    http.HTTPStatus.UNAUTHORIZED: errors.LoginFailed,
    http.HTTPStatus.FORBIDDEN: errors.NotAllowed,
    http.HTTPStatus.NOT_FOUND: errors.NotFound,
    http.HTTPStatus.CONFLICT: errors.Conflict,
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.OutOfQuota,
}
_MOST_RETRY_AFTER = 120
_SECONDS = re.compile(r'[0-9]{1,6}')


@dataclasses.dataclass(frozen=True)
class _Answer:
    """An answer that says that a request was carried out, or why not.

    :ivar body: body of the answer; None if it is still to be read
    """

    response: Any
    body: bytes | None

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def is_error(self) -> bool:
        return self.status >= http.HTTPStatus.BAD_REQUEST

    @property
    def reason(self) -> str:
        """What the answer says, without its mark-up."""
        body = (self.body or b'').decode(errors='replace')
        body = re.sub(r'(?s)<(title|h1)>.*?</\1>', ' ', body)
        said = ' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', body)).split())
        return text.printable(said or str(self.response.reason),
                              _LONGEST_REASON)

    @property
    def retry_after(self) -> float:
        """The pause that the service asks for, in seconds."""
        said = self.response.headers.get('Retry-After', '')
        return (min(int(said), _MOST_RETRY_AFTER)
                if _SECONDS.fullmatch(said) else 0)


class Service:
    """A service of the cloud.

    :param name: name of the service in messages
    :param proxy: openstacksdk's proxy of the service
    :param clock: for the pauses before a request is repeated
    :param retries: how often a request is repeated
    """

    def __init__(self, name: str, proxy: Any, clock: patience.Clock,
                 retries: int = patience.RETRIES) -> None:
        self._name = name
        self._retries = retries
        self._proxy = proxy
        self._clock = clock

    def get(self, path: str, **arguments: Any) -> dict[str, Any]:
        """Return the JSON object that is found at a path.

        :raises AnswerTooLong: it has more than ``MOST_JSON`` bytes
        :raises MigrationError: the service refuses it, or does not answer
        """
        return self._json(self._send('GET', path, **arguments))

    def change(self, method: str, path: str, *, once: bool = False,
               **arguments: Any) -> dict[str, Any]:
        """Change something, and return what the service answers.

        :param once: whether to send the request only once
        :raises MigrationError: the service refuses it, or does not answer
        """
        return self._json(self._send(
            method, path, once=once, timeout=_PATIENT_TIMEOUT, **arguments))

    def open(self, path: str, headers: Mapping[str, str]) -> Any:
        """Return an answer whose body is still to be read and closed.

        :raises MigrationError: the service refuses it, or does not answer
        """
        return self._send('GET', path, unread=True, headers=headers).response

    def _json(self, answer: _Answer) -> dict[str, Any]:
        if not answer.body:
            return {}
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise errors.RequestRefused(
                f'{self._name} answered with something else than a JSON '
                'object')
        return found

    def _send(self, method: str, path: str, *, once: bool = False,
              unread: bool = False, timeout: Any = _TIMEOUT,
              **arguments: Any) -> _Answer:
        """Send a request, and repeat it after a temporary failure.

        :param unread: whether to leave the body of a good answer unread
        """
        from glance_xs_convert.migrate import sdk

        def send() -> _Answer:
            response = self._proxy.request(
                path, method, connect_retries=0, status_code_retries=0,
                stream=True, timeout=timeout, **arguments)
            if unread and response.status_code < http.HTTPStatus.BAD_REQUEST:
                return _Answer(response, None)
            return _Answer(response, self._body(response))

        pauses = patience.back_off(0 if once else self._retries)
        while True:
            asked = 0.0
            try:
                answer = sdk.checked(send)
            except errors.Passing as error:
                problem = str(error)
            else:
                if answer.status not in AGAIN:
                    return self._accepted(answer)
                problem = f'{answer.status} {answer.reason}'
                asked = answer.retry_after
            _wait(self._clock, pauses, asked, problem)

    def _body(self, response: Any) -> bytes:
        """Return the body of an answer: of an error, its beginning."""
        is_error = response.status_code >= http.HTTPStatus.BAD_REQUEST
        most = _MOST_REASON if is_error else MOST_JSON
        body = bytearray()
        try:
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > most:
                    break
        except OSError:
            if not is_error:
                raise
        finally:
            response.close()
        if len(body) > most and not is_error:
            raise errors.AnswerTooLong(
                f'{self._name} answered with more than {text.size(most)}')
        return bytes(body[:most])

    def _accepted(self, answer: _Answer) -> _Answer:
        if not answer.is_error:
            return answer
        kind = _ERRORS.get(answer.status, errors.RequestRefused)
        raise kind(f'{self._name} says: {answer.reason}')


def retried(call: Callable[[], Any], clock: patience.Clock, retries: int,
            say: Callable[[str], None] = lambda sentence: None) -> Any:
    """Make a call of openstacksdk, and repeat it after a temporary failure.

    :param say: called with a sentence after the first failure
    :raises Unreachable: the cloud does not answer
    :raises MigrationError: Keystone does not issue a token
    """
    from glance_xs_convert.migrate import sdk

    pauses = patience.back_off(retries)
    is_first = True
    while True:
        try:
            return sdk.checked(call)
        except errors.Passing as error:
            if is_first:
                say(f'The cloud does not answer properly yet: {error}')
            is_first = False
            _wait(clock, pauses, 0.0, str(error))


def _wait(clock: patience.Clock, pauses: Iterator[float], asked: float,
          problem: str) -> None:
    pause = next(pauses, None)
    if pause is None:
        raise errors.Unreachable(
            f'the cloud does not answer properly: {problem}')
    clock.pause(max(pause, asked))

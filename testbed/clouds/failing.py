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

"""Requests to Glance that fail on purpose.

Every cloud has a filter at the front of Glance's pipeline that makes chosen
requests fail, once or more often, before or after Glance did the work, in
whichever worker process they arrive. ``Cloud.failing`` plans failures::

    cloud.failing.plan('stage', 500, when='after')
    cloud.failing.plan('patch', 'cut', times=3, image_id=old_id)
    cloud.failing.plan('import', 503, times=ALWAYS)
    cloud.failing.plan('data', 'cut', when='halfway')
    cloud.failing.plan('stage', 'database', skip=1)
    ...
    cloud.failing.made()    # what failed so far, and what Glance answered
    cloud.failing.clear()   # nothing fails any more

The requests are the keys of ``REQUESTS``. How they can fail:

* with an HTTP status, say 500, 503 or 429;
* ``'cut'``: the connection ends without an answer. Behind an HAProxy, clients
  see an answer with status 502 instead. With ``when='halfway'``, this happens
  after half of the data that is sent or received (``data``, ``stage`` and
  ``upload``);
* ``'database'``: Glance's database refuses to change the image, and Glance
  answers what it sees fit. ``skip`` says how many changes in the course of the
  request it makes before that: ``stage`` changes the image once before it
  takes the data, and once afterwards.
"""

from collections import abc
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import random
import re
import socket
import threading
import typing
import uuid

ALWAYS = 0

_IMAGE = '/v2/images/(?P<id>[^/]+)'
#: Methods and paths of the requests that can fail, by name.
REQUESTS = {name: (method, re.compile(path)) for name, method, path in (
    ('list', 'GET', '/v2/images'),
    ('create', 'POST', '/v2/images'),
    ('show', 'GET', _IMAGE),
    ('patch', 'PATCH', _IMAGE),
    ('delete', 'DELETE', _IMAGE),
    ('data', 'GET', _IMAGE + '/file'),
    ('upload', 'PUT', _IMAGE + '/file'),
    ('stage', 'PUT', _IMAGE + '/stage'),
    ('import', 'POST', _IMAGE + '/import'),
    ('tasks', 'GET', _IMAGE + '/tasks'),
    ('actions', 'POST', _IMAGE + '/actions/.*'),
    ('members', '', _IMAGE + '/members(/.*)?'),
    ('tags', '', _IMAGE + '/tags/.*'),
)}
_WHEN = ('before', 'halfway', 'after')
_WITH_DATA = ('data', 'upload', 'stage')
_CHANGE = re.compile('(UPDATE|INSERT INTO) images? ', re.IGNORECASE)
_PIECE = 64 * 1024

Environ = dict[str, typing.Any]
Application = abc.Callable[..., abc.Iterable[bytes]]


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a request fails.

    :ivar request: a key of ``REQUESTS``
    :ivar kind: an HTTP status, ``cut`` or ``database``
    :ivar when: ``before``, ``halfway`` through or ``after`` Glance's work
    :ivar image_id: image that the request has to be about; empty for any
    :ivar skip: number of changes in the database that succeed
    :ivar chance: how likely a request fails that could
    :ivar once: whether only one request fails like this
    """

    request: str
    kind: int | str
    when: str
    image_id: str
    skip: int
    chance: float
    once: bool

    def is_about(self, environ: Environ) -> bool:
        """Whether a request is one that is to fail like this."""
        method, path = REQUESTS[self.request]
        found = path.fullmatch(environ['PATH_INFO'])
        return (found is not None
                and method in ('', environ['REQUEST_METHOD'])
                and self.image_id in ('', found.groupdict().get('id'))
                and random.random() < self.chance)


class Failing:
    """The planned failures of a cloud's requests, in a directory of theirs."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._numbers = itertools.count()
        for path in (_plans(directory), _made(directory)):
            path.mkdir(parents=True, exist_ok=True)

    def plan(self, request: str, kind: int | str, *, when: str = 'before',
             times: int = 1, image_id: str = '', skip: int = 0,
             chance: float = 1) -> None:
        """Let the next requests of a kind fail.

        :param times: number of requests, or ``ALWAYS``
        """
        if request not in REQUESTS or when not in _WHEN:
            raise ValueError('no such request or time')
        if when == 'halfway' and (kind != 'cut' or request not in _WITH_DATA):
            raise ValueError('only requests with data can be cut halfway')
        failure = Failure(request, kind, when, image_id, skip, chance,
                          times != ALWAYS)
        for _ in range(times or 1):
            name = '%08d' % next(self._numbers)
            # The filter does not see a file before it is complete.
            made = self.directory / name
            made.write_text(json.dumps(dataclasses.asdict(failure)))
            made.rename(_plans(self.directory) / name)

    def clear(self) -> None:
        """Let nothing fail any more, and forget what has failed."""
        for path in (_plans(self.directory), _made(self.directory)):
            for file in path.iterdir():
                file.unlink(missing_ok=True)

    def planned(self) -> int:
        """Return how many failures are still to come."""
        return len(list(_plans(self.directory).iterdir()))

    def made(self) -> list[dict[str, typing.Any]]:
        """Return what has failed.

        Each has ``request``, ``kind``, ``method``, ``path``, and ``status``:
        what Glance answered, if it was asked.
        """
        files = sorted(_made(self.directory).iterdir(),
                       key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(file.read_text()) for file in files]


def with_filter(paste: str, directory: pathlib.Path) -> str:
    """Put the filter at the front of every pipeline of the API.

    :param paste: text of glance-api-paste.ini
    :param directory: the directory of :class:`Failing`
    """
    return re.sub(r'^(\S+ = )(?=.* rootapp$)', r'\1failing ', paste,
                  flags=re.MULTILINE) + '''
[filter:failing]
paste.filter_factory = %s:filter_factory
directory = %s
''' % (__name__, directory)


def filter_factory(conf: abc.Mapping[str, str], directory: str,
                   ) -> abc.Callable[[Application], Application]:
    """Make the filter, as PasteDeploy wants it."""
    _watch_database()
    return lambda application: _Filter(application, pathlib.Path(directory))


def _plans(directory: pathlib.Path) -> pathlib.Path:
    return directory / 'plans'


def _made(directory: pathlib.Path) -> pathlib.Path:
    return directory / 'made'


class _DatabaseState(threading.local):
    """Whether the database fails in the request of this thread.

    :ivar left: number of changes until then; None if it does not fail
    """

    left: int | None = None


_database = _DatabaseState()


def _watch_database() -> None:
    """Let changes of images fail where that is planned."""
    from oslo_db import exception
    from sqlalchemy import engine
    from sqlalchemy import event

    @event.listens_for(engine.Engine, 'before_cursor_execute')
    def _refuse(connection: object, cursor: object, statement: str,
                *others: object) -> None:
        if _database.left is None or not _CHANGE.match(statement):
            return
        if _database.left == 0:
            raise exception.DBError(OSError('the database is full'))
        _database.left -= 1


class _Filter:
    """The filter in Glance's pipeline."""

    def __init__(self, application: Application,
                 directory: pathlib.Path) -> None:
        self._application = application
        self._directory = directory

    def __call__(self, environ: Environ, start_response: typing.Any,
                 ) -> abc.Iterable[bytes]:
        failure = self._next(environ)
        if failure is None:
            return self._application(environ, start_response)
        # What is behind this filter changes its environment.
        asked = dict(environ)
        if failure.kind == 'database':
            told = self._without_database(failure, environ)
            self._note(failure, asked, told.status)
            start_response(told.status, told.headers)
            return [told.body]
        if failure.when == 'halfway':
            return self._halfway(failure, environ, start_response)
        status = ''
        if failure.when == 'after':
            status = self._do(environ).status
        else:
            _drain(environ)
        self._note(failure, asked, status)
        if failure.kind == 'cut':
            _cut(environ)
        return _answer(failure.kind, start_response)

    def _next(self, environ: Environ) -> Failure | None:
        """Find out how a request is to fail, if it is."""
        for name in sorted(os.listdir(_plans(self._directory))):
            plan = _plans(self._directory) / name
            # Another process may have been faster, also with the next.
            with contextlib.suppress(FileNotFoundError):
                failure = Failure(**json.loads(plan.read_text()))
                if failure.is_about(environ):
                    if failure.once:
                        plan.unlink()
                    return failure
        return None

    def _note(self, failure: Failure, environ: Environ, status: str) -> None:
        """Tell the tests what has failed."""
        note = self._directory / uuid.uuid4().hex
        note.write_text(json.dumps({
            'request': failure.request, 'kind': failure.kind,
            'method': environ['REQUEST_METHOD'],
            'path': environ['PATH_INFO'], 'status': status}))
        note.rename(_made(self._directory) / note.name)

    def _do(self, environ: Environ) -> '_Told':
        """Let Glance do the work, and keep its answer."""
        told: list[typing.Any] = []

        def start_response(status: str, headers: list[tuple[str, str]],
                           exc_info: object = None) -> None:
            told[:] = [status, headers]

        body = _consume(self._application(environ, start_response))
        return _Told(*told, body)

    def _without_database(self, failure: Failure, environ: Environ,
                          ) -> '_Told':
        _database.left = failure.skip
        try:
            return self._do(environ)
        finally:
            _database.left = None

    def _halfway(self, failure: Failure, environ: Environ,
                 start_response: typing.Any) -> abc.Iterable[bytes]:
        asked = dict(environ)
        if environ['REQUEST_METHOD'] == 'PUT':
            environ['wsgi.input'] = _HalfBody(environ)
            self._note(failure, asked, self._do(environ).status)
            return _answer(500, start_response)
        self._note(failure, asked, '')
        return _half_answer(
            environ, self._application(environ, start_response))


@dataclasses.dataclass(frozen=True)
class _Told:
    """What Glance answered."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


class _HalfBody:
    """The body of a request that breaks off."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._source = environ['wsgi.input']
        self._left = int(environ.get('CONTENT_LENGTH') or 2 * _PIECE) // 2

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes.

        :raises OSError: half of the data was read
        """
        if self._left <= 0:
            _cut(self._environ)
            raise OSError('the connection was cut on purpose')
        wanted = self._left if size < 0 else min(size, self._left)
        data: bytes = self._source.read(wanted)
        self._left -= len(data)
        return data


def _half_answer(environ: Environ, body: abc.Iterable[bytes],
                 ) -> abc.Iterator[bytes]:
    """Give half of an answer, all of which is read to know what half is."""
    whole = _consume(body)
    yield whole[:len(whole) // 2]
    _cut(environ)


def _consume(body: abc.Iterable[bytes]) -> bytes:
    """Read the whole answer of an application."""
    try:
        return b''.join(body)
    finally:
        if (close := getattr(body, 'close', None)) is not None:
            close()


def _drain(environ: Environ) -> None:
    """Read a request to its end, so that the client sees the answer."""
    chunked = 'chunked' in environ.get('HTTP_TRANSFER_ENCODING', '')
    left = int(environ.get('CONTENT_LENGTH') or 0)
    with contextlib.suppress(OSError):
        while chunked or left > 0:
            data = environ['wsgi.input'].read(
                _PIECE if chunked else min(_PIECE, left))
            if not data:
                return
            left -= len(data)


def _answer(kind: int | str, start_response: typing.Any) -> list[bytes]:
    status = kind if isinstance(kind, int) else 500
    headers = [('Content-Type', 'text/plain'), ('Content-Length', '0')]
    if status in (429, 503):
        headers.append(('Retry-After', '1'))
    start_response('%d Made to fail' % status, headers)
    return [b'']


def _cut(environ: Environ) -> None:
    """End the connection under the server, gunicorn or uWSGI."""
    connection = environ.get('gunicorn.socket')
    if connection is None:
        import uwsgi
        connection = socket.socket(fileno=os.dup(uwsgi.connection_fd()))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)

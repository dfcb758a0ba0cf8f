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

"""A proxy before a service that troubles its clients now and then."""

import collections
import http.client
import http.server
import random
import re
import socket
import struct
import threading
import typing
import urllib.parse

from testbed.clouds import services

_CHUNK = 64 * 1024
_ID = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_NOT_PASSED_ON = {'connection', 'keep-alive', 'transfer-encoding'}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: 'TroubledProxy'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _pass_on(self) -> None:
        owner = self.server.owner
        trouble = owner.trouble_for(self.command, self.path)
        if trouble in ('503', '429'):
            self._refuse(int(trouble))
        elif trouble == 'reset before':
            self._reset()
        else:
            self._forward(owner.upstream, trouble == 'reset after')

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header('Content-Length', '0')
        self.send_header('Connection', 'close')
        if status == 429:
            self.send_header('Retry-After', '1')
        self.end_headers()
        self.close_connection = True

    def _forward(self, upstream: str, lose_answer: bool) -> None:
        connection = http.client.HTTPConnection(upstream, timeout=600)
        length = int(self.headers.get('Content-Length') or 0)
        body = _Body(self.rfile, length) if length else None
        try:
            connection.request(self.command, self.path, body, {
                name: value for name, value in self.headers.items()
                if name.lower() not in _NOT_PASSED_ON})
            response = connection.getresponse()
            if lose_answer:
                response.read()
                self._reset()
                return
            self._answer(response)
        finally:
            connection.close()

    def _answer(self, response: http.client.HTTPResponse) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _NOT_PASSED_ON | {'date', 'server'}:
                self.send_header(name, value)
        if response.getheader('Content-Length') is None:
            self.send_header('Connection', 'close')
            self.close_connection = True
        self.end_headers()
        while chunk := response.read(_CHUNK):
            self.wfile.write(chunk)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack('ii', 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


class _Body:
    """The body of a request, as a file that ends in time."""

    def __init__(self, source: typing.BinaryIO, length: int) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = _CHUNK) -> bytes:
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        return data


class TroubledProxy:
    """Passes requests on, counts them, and fails some; a context manager.

    :param upstream: the URL of the service
    :param troubles: how likely each kind of trouble is: ``503``, ``429``,
                     ``reset before`` the service has seen the request, and
                     ``reset after`` it, so that its answer is lost
    :param seed: of the chances
    """

    def __init__(self, upstream: str,
                 troubles: dict[str, float] | None = None,
                 seed: object = '') -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        #: How many requests there were of each method and path.
        self.counts: collections.Counter[str] = collections.Counter()
        #: How often there was trouble of each kind.
        self.troubled: collections.Counter[str] = collections.Counter()
        self._troubles = troubles or {}
        self._random = random.Random(str(seed))
        self._lock = threading.Lock()
        self._server = _Server((services.LOOPBACK, 0), _Handler)
        self._server.owner = self
        self.url = 'http://%s:%d' % (
            services.LOOPBACK, self._server.server_port)
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    def trouble_for(self, method: str, path: str) -> str | None:
        """Count a request, and choose the trouble it gets into."""
        with self._lock:
            self.counts['%s %s' % (method, _ID.sub(
                'ID', urllib.parse.urlsplit(path).path))] += 1
            chance = self._random.random()
            for trouble, likely in self._troubles.items():
                if chance < likely:
                    self.troubled[trouble] += 1
                    return trouble
                chance -= likely
        return None

    def close(self) -> None:
        """Stop passing on."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> 'TroubledProxy':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

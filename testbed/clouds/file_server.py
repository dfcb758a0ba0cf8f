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


"""An HTTP server that users import images from, well behaved or not."""

import contextlib
import dataclasses
import http.server
import io
import os
import pathlib
import socket
import struct
import threading
import time
import typing

from testbed.clouds import services

CHUNK = 64 * 1024


@dataclasses.dataclass(frozen=True)
class _Page:
    content: bytes | pathlib.Path
    drop_after: int | None
    bytes_per_second: int | None
    stall: float

    def open(self) -> tuple[typing.BinaryIO, int]:
        """:returns: the content as a file, and its size in bytes"""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content), len(self.content)
        return self.content.open('rb'), self.content.stat().st_size


class _Handler(http.server.BaseHTTPRequestHandler):
    pages: dict[str, _Page]

    def do_GET(self) -> None:
        page = self.pages.get(self.path)
        if page is None:
            self.send_error(404)
            return
        source, size = page.open()
        self.send_response(200)
        self.send_header('Content-Type', 'application/octet-stream')
        self.send_header('Content-Length', str(size))
        self.end_headers()
        # A client may have had enough, or be gone.
        with source, contextlib.suppress(ConnectionError):
            self._send(source, page)

    def _send(self, source: typing.BinaryIO, page: _Page) -> None:
        left = page.drop_after
        while chunk := source.read(CHUNK if left is None
                                   else min(CHUNK, left)):
            self.wfile.write(chunk)
            if page.bytes_per_second:
                time.sleep(len(chunk) / page.bytes_per_second)
            if left is not None:
                left -= len(chunk)
        if left == 0:
            time.sleep(page.stall)
            self._reset()

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack('ii', 1, 0))
        self.connection.close()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    #: How many imports may begin at once.
    request_queue_size = 128


class FileServer:
    """Serves files over HTTP until it is closed; a context manager.

    :param address: where it listens; by default where Glance downloads from
    """

    def __init__(self, address: str = '') -> None:
        self._pages: dict[str, _Page] = {}
        handler = type('Handler', (_Handler,), {'pages': self._pages})
        self._server = _Server(
            (address or services.own_address(), 0), handler)
        #: The server's URL, without a slash at its end.
        self.url = 'http://%s:%d' % self._server.server_address[:2]
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    def add(self, name: str, content: bytes | str | os.PathLike[str],
            drop_after: int | None = None,
            bytes_per_second: int | None = None,
            stall: float = 0) -> str:
        """Offer a file.

        :param name: last part of the file's URL
        :param content: the bytes, or the path of a file
        :param drop_after: number of bytes after which to reset the connection
        :param bytes_per_second: highest rate at which to send
        :param stall: seconds to send nothing before the connection is reset
        :returns: the file's URL
        """
        if not isinstance(content, bytes):
            content = pathlib.Path(content)
        self._pages['/' + name] = _Page(content, drop_after,
                                        bytes_per_second, stall)
        return '%s/%s' % (self.url, name)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> 'FileServer':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

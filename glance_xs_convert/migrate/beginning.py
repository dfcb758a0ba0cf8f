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

"""The beginning of an archive at an address, without the rest.

An export says in its first file which disks it has. This computer reads from
the address as much as whoever reads the archive wants, and then hangs up.
Bounds keep a server from sending much or slowly. The address may hold a
secret, so no error shows more of it than the name of the host.
"""

from collections.abc import Iterator
import contextlib
import http.client
import os
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

#: The most bytes to read, twice as many as any description has.
MOST = 16 * units.MIB
#: The longest time for all of it and for each answer, in seconds.
MAX_TIME = 60.0
_MAX_SILENCE = 15.0
_PIECE = 64 * 1024
#: What a server or an address can cause.
_FAULTS = (OSError, http.client.HTTPException, ValueError)


@contextlib.contextmanager
def open_beginning(url: str) -> Iterator[int]:
    """Begin to download an archive.

    :param url: its address, which begins with http or https
    :returns: descriptor of a pipe with the first ``MOST`` bytes
    :raises UnreadableSource: the server does not send them. If that was the
                              cause, it replaces the error of the reader.
    """
    failures: list[Exception] = []
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(contextlib.closing(_request(url)))
        except _FAULTS as error:
            raise _unreadable(url, error) from None
        reader, writer = os.pipe()
        pump = threading.Thread(target=_pump, args=(answer, writer, failures),
                                daemon=True)
        pump.start()
        stack.callback(pump.join, _MAX_SILENCE)
        # The thread ends when nobody reads.
        stack.callback(os.close, reader)
        try:
            yield reader
        except exceptions.XsConvertError:
            if failures:
                raise _unreadable(url, failures[0]) from None
            raise


def _request(url: str) -> http.client.HTTPResponse:
    """Request the beginning, by HTTP only, also after a redirection."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(),
                    urllib.request.UnknownHandler(),
                    urllib.request.HTTPHandler(),
                    urllib.request.HTTPSHandler(),
                    urllib.request.HTTPDefaultErrorHandler(),
                    urllib.request.HTTPRedirectHandler(),
                    urllib.request.HTTPErrorProcessor()):
        opener.add_handler(handler)
    answer: http.client.HTTPResponse = opener.open(
        urllib.request.Request(url, headers={
            'Accept-Encoding': 'identity', 'Range': f'bytes=0-{MOST - 1}'}),
        timeout=_MAX_SILENCE)
    return answer


def _pump(answer: http.client.HTTPResponse, writer: int,
          failures: list[Exception]) -> None:
    """Write to the pipe what the server sends.

    :param failures: receives what has ended it early
    """
    left = MOST
    end = time.monotonic() + MAX_TIME
    try:
        while left and (data := answer.read1(min(left, _PIECE))):
            left -= len(data)
            if time.monotonic() > end:
                raise TimeoutError
            _write(writer, data)
    except BrokenPipeError:
        # The reader has what it wanted.
        pass
    except _FAULTS as error:
        failures.append(error)
    finally:
        os.close(writer)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _unreadable(url: str, error: Exception) -> exceptions.UnreadableSource:
    return exceptions.UnreadableSource(
        'this computer cannot read the beginning of the archive from '
        f'{_host(url)}: {_reason(error)}')


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        return text.printable(urllib.parse.urlsplit(url).hostname or 'there')
    return 'there'


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f'the server answers with status {error.code}'
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f'its certificate is not accepted ({cause.verify_message})'
    if isinstance(cause, TimeoutError):
        return 'the server is too slow'
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return 'the address or the answer is not valid'

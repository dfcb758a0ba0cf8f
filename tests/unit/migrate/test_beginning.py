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

"""Reading the beginning of an archive from servers of every kind."""

import http.server
import os
import sys
import threading
import time
import unittest
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import beginning

from tests.unit import cases

MIB = 1 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    """What the address asks for."""

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        getattr(self, self.path[1:].partition('?')[0].replace('/', '_'))()
        self.server.ended.set()

    def _begin(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def whole(self):
        self._begin()
        self.wfile.write(b'x' * MIB)

    def part(self):
        self._begin(206)
        self.wfile.write(b'x' * 10)

    def endless(self):
        self._begin()
        try:
            while True:
                self.wfile.write(bytes(65536))
                self.server.sent += 65536
        except ConnectionError:
            pass

    def slow(self):
        self._begin()
        try:
            for _ in range(200):
                self.wfile.write(b'x')
                time.sleep(0.02)
        except ConnectionError:
            pass

    def silent(self):
        self._begin()
        self.server.released.wait(cases.PATIENCE)

    def missing(self):
        self.send_error(404)

    def moved(self):
        self._begin(302, Location='/part')

    def moved_to_file(self):
        self._begin(302, Location='file:///etc/hostname')

    def moved_to_ftp(self):
        self._begin(302, Location='ftp://127.0.0.1/a')

    def round(self):
        self._begin(302, Location='/round')

    def nonsense(self):
        self.wfile.write(b'nonsense\r\n\r\n')

    def log_message(self, *arguments):
        pass


@unittest.skipIf(
    sys.version_info < (3, 11),
    'the Glance of this Python loads eventlet, which does not expect threads')
class Beginning(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler)
        self.server.requests = []
        self.server.sent = 0
        self.server.ended = threading.Event()
        self.server.released = threading.Event()
        # No thread of this test disturbs the next one.
        self.server.daemon_threads = False
        threading.Thread(target=self.server.serve_forever, args=(0.05,),
                         daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.released.set)
        self.address = 'http://127.0.0.1:%d/' % self.server.server_address[1]
        patched = mock.patch.dict(os.environ, {'no_proxy': '*'})
        patched.start()
        self.addCleanup(patched.stop)
        threads, files = threading.active_count(), self._files()
        self.addCleanup(self._check_nothing_left, threads, files)

    def _files(self):
        """The pipes that are open."""
        found = []
        for name in os.listdir('/proc/self/fd'):
            try:
                target = os.readlink(f'/proc/self/fd/{name}')
            except FileNotFoundError:
                continue
            if target.startswith('pipe:'):
                found.append(target)
        return sorted(found)

    def _check_nothing_left(self, threads, files):
        self.assertEqual(files, self._files())
        self.assertFalse([one for one in threading.enumerate()
                          if one.name.endswith('(_pump)')])

    def read(self, name, size=None):
        """Read a number of bytes, or all, as the reader would."""
        with beginning.open_beginning(self.address + name) as descriptor:
            data = b''
            while size is None or len(data) < size:
                more = os.read(descriptor, 65536)
                if not more:
                    break
                data += more
            return data

    def assert_unreadable(self, name, reason, read=None):
        with self.assertRaisesRegex(
                exceptions.UnreadableSource,
                f'read the beginning of the archive from 127.0.0.1: .*'
                f'{reason}') as caught:
            (read or self.read)(name)
        self.assertNotIn('secret', str(caught.exception))

    def read_as_worker(self, name):
        """Read until the end, and then complain."""
        with beginning.open_beginning(self.address + name) as descriptor:
            while os.read(descriptor, 65536):
                pass
            raise exceptions.DamagedArchive('it ends too early')

    def test_all_of_it(self):
        self.assertEqual(b'x' * MIB, self.read('whole'))
        self.assertEqual(b'x' * 10, self.read('part'))
        (_, headers), *_ = self.server.requests
        self.assertEqual(f'bytes=0-{beginning.MOST - 1}', headers['Range'])

    def test_redirected(self):
        self.assertEqual(b'x' * 10, self.read('moved'))

    def test_redirected_to_other_than_http(self):
        for name in ('moved_to_file?secret', 'moved_to_ftp?secret', 'round'):
            self.assert_unreadable(name, '')

    def test_hangs_up_early(self):
        """The server cannot send on when the reader has enough."""
        self.assertLessEqual(MIB, len(self.read('endless', MIB)))
        self.assertTrue(self.server.ended.wait(cases.PATIENCE))
        self.assertLess(self.server.sent, 100 * MIB)

    def test_endless(self):
        with mock.patch.object(beginning, 'MOST', 3 * MIB):
            self.assertEqual(bytes(3 * MIB), self.read('endless'))
        self.assertTrue(self.server.ended.wait(cases.PATIENCE))

    def test_too_slow(self):
        with mock.patch.object(beginning, 'MAX_TIME', 0.1):
            self.assert_unreadable('slow?secret', 'the server is too slow',
                                   self.read_as_worker)

    def test_silent(self):
        with mock.patch.object(beginning, '_MAX_SILENCE', 0.3):
            self.assert_unreadable('silent?secret', 'the server is too slow',
                                   self.read_as_worker)

    def test_error_of_the_reader(self):
        """It stays if the server is not to blame."""
        with self.assertRaises(exceptions.DamagedArchive):
            self.read_as_worker('part')

    def test_faults(self):
        self.assert_unreadable('missing?secret', 'status 404')
        self.assert_unreadable('nonsense?secret', 'not valid')
        self.assertTrue(self.server.requests)

    def test_nobody_there(self):
        self.server.shutdown()
        self.server.server_close()
        self.assert_unreadable('whole?secret', 'Connection refused')

    def test_secrets_in_the_address(self):
        for url in ('http://user:secret@127.0.0.1/a', 'http://[secret/a',
                    'http://127.0.0.1:secret/a'):
            with (self.assertRaises(exceptions.UnreadableSource) as caught,
                  beginning.open_beginning(url)):
                pass
            self.assertNotIn('secret', str(caught.exception))

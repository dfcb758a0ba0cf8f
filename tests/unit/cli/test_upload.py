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
"""What ``upload`` does before it talks to a cloud."""

import argparse
import functools
import http.server
import json
import os
import threading
import unittest
from unittest import mock

from glance_xs_convert.cli import upload
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import uploading

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from testbed.images import xva
from tests.unit.cli import base
from tests.unit.migrate import glance


class Arguments(base.CommandCase):

    def test_no_archive(self):
        self.assert_fails(self.run_here('upload', self.scratch / 'missing'),
                          'is neither a file nor an address')

    def test_broken_archive(self):
        """It is refused before anything is made."""
        path = self.scratch / 'broken.xva'
        path.write_bytes(b'nothing')
        cloud = glance.Glance()
        with mock.patch.object(upload.Upload, 'connect',
                               lambda *arguments: cloud):
            self.assert_fails(self.run_here('upload', path), 'the image is')
        self.assertEqual(0, cloud.requests)

    def test_no_cloud(self):
        """It is said before the archive is read."""
        path = self.scratch / 'broken.xva'
        path.write_bytes(b'nothing')
        refusal = exceptions.XsConvertError('no cloud')
        with mock.patch.object(upload.Upload, 'connect', autospec=True,
                               side_effect=refusal):
            self.assert_fails(self.run_here('upload', path), 'no cloud')


class Address(base.CommandCase):
    """An archive that the cloud downloads; this computer reads its start."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        self.cloud.methods = lambda: ['web-download']
        disks = [
            xva.random_disk('data', glance.DISK, ref='Ref:7', device='xvdb',
                            userdevice='1', bootable=False),
            xva.random_disk('system', glance.DISK, ref='Ref:8')]
        self.path = self.scratch / 'vm.xva'
        self.path.write_bytes(xva.Export(disks).tar())
        handler = functools.partial(_Quiet, directory=self.scratch)
        server = _Server(('127.0.0.1', 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,),
                         daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.address = 'http://127.0.0.1:%d/' % server.server_address[1]
        for patched in (
                mock.patch.dict(os.environ, {'no_proxy': '*'}),
                mock.patch.object(upload.Upload, 'connect',
                                  lambda *arguments: self.cloud)):
            patched.start()
            self.addCleanup(patched.stop)

    def upload(self, *arguments, source='vm.xva'):
        ended = self.run_here('upload', '-f', 'json',
                              self.address + source, *arguments)
        return ended, json.loads(ended.stdout or '[]')

    def test_all_disks(self):
        """Nothing has to be named, and nothing else is sent."""
        ended, rows = self.upload()
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertEqual(
            [('xvda', 'web-1-xvda', True), ('xvdb', 'web-1-xvdb', False)],
            [(row['Disk'], row['Name'], row['Boots']) for row in rows])
        self.assertEqual(
            {('xvda', 2048), ('xvdb', 2048)},
            {(one['xs_convert_disk'], one['min_ram'])
             for one in self.cloud.records.values()})
        self.assertEqual([], self.cloud.staged)
        self.assertIn('openstack server create', ended.stderr)
        again, same = self.upload()
        self.assertEqual((0, rows), (again.status, same))
        self.assertEqual(2, len(self.cloud.records))

    def test_one_disk(self):
        _, rows = self.upload('--disk', 'xvdb', '--name', 'mine')
        self.assertEqual(['mine-xvdb'], [row['Name'] for row in rows])

    def test_disk_that_is_not_there(self):
        """It is known before anything is made."""
        ended, _ = self.upload('--disk', 'xvdz')
        self.assert_fails(ended, 'no disk xvdz; it has xvda, xvdb')
        self.assertEqual(0, self.cloud.requests)

    def test_not_an_archive(self):
        (self.scratch / 'page').write_bytes(b'<html>Log in</html>' * 300)
        ended, _ = self.upload(source='page')
        self.assert_fails(ended, 'an HTML page')
        self.assertEqual(0, self.cloud.requests)

    def test_chain(self):
        """It says nothing about itself, and has one disk."""
        layers = chains.linked([vhd.Layer(glance.DISK, [(0, b'x' * 512)])])
        archive.write_tgz(self.scratch / 'root.tgz',
                          archive.chain_members(layers))
        ended, rows = self.upload(source='root.tgz')
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertEqual([('', 'root')],
                         [(row['Disk'], row['Name']) for row in rows])

    def test_unreachable(self):
        """It is not guessed what the archive holds."""
        ended, _ = self.upload(source='missing?token=secret')
        self.assert_fails(ended, 'status 404; if only the cloud can, use '
                          '--no-inspect')
        self.assertNotIn('secret', ended.stderr)
        self.assertEqual(0, self.cloud.requests)

    def test_not_inspected(self):
        ended, rows = self.upload('--no-inspect', '--disk', '1', '--disk',
                                  '0', source='missing.xva')
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertEqual([('1', 'missing-1', True), ('0', 'missing-0', False)],
                         [(row['Disk'], row['Name'], row['Boots'])
                          for row in rows])


class _Server(http.server.ThreadingHTTPServer):
    # No thread of this test disturbs the next one.
    daemon_threads = False

    def handle_error(self, *arguments):
        """Expect clients to hang up."""


class _Quiet(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *arguments):
        """Keep quiet."""


class Helpers(unittest.TestCase):

    def test_names(self):
        for path, name in (
                ('/a/web-1.xva', 'web-1'), ('web.tar.gz', 'web'),
                ('https://h/x/db.XVA.zst?sign=a.b', 'db'), ('http://h/', 'vm'),
                ('plain', 'plain')):
            self.assertEqual(name, upload._stem(path))

    def test_wishes(self):
        """Only the disk that boots has a guest to adapt."""
        wanted = argparse.Namespace(adapt=True, more=[('a', 'b=c')])
        boot = uploading.Part('xvda', 'x', {'min_ram': 1}, 5, True)
        data = uploading.Part('xvdb', 'y', {}, 5, False)
        self.assertEqual({'min_ram': 1, 'a': 'b=c', 'xs_adapt': 'true'},
                         upload._with_wishes(boot, wanted).attributes)
        self.assertEqual({'a': 'b=c'},
                         upload._with_wishes(data, wanted).attributes)

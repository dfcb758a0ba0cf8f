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

"""The clouds of the testbed are what they are said to be."""

import io
import re
import unittest

from glanceclient import exc
from keystoneauth1 import exceptions as ksa_exc
import requests

from testbed.clouds import cloud
from testbed.clouds import failing
from testbed.clouds import snapshots
from tests.functional import __main__ as runner
from tests.functional import archives
from tests.functional import base

CUT = (ksa_exc.ConnectFailure, exc.CommunicationError,
       requests.exceptions.RequestException)


class TestSpread(unittest.TestCase):
    """The tests are spread over processes."""

    CASES = {'long': (90, 'a'), 'longer': (100, 'b'), 'short': (15, 'a'),
             'shorter': (10, 'b'), 'own': (5, 'c')}

    def spread(self, count):
        cases = [type(name, (base.ImportCase,), {
            'SECONDS': seconds, 'OPTIONS': {'cloud': cloud_}})
            for name, (seconds, cloud_) in self.CASES.items()]
        shares = runner.spread([*cases, type(self)], count)
        self.assertEqual(sorted([*cases, type(self)], key=repr),
                         sorted((case for share in shares for case in share),
                                key=repr))
        return [{case.__name__ for case in share} for share in shares]

    def test_evenly_and_with_their_cloud(self):
        self.assertEqual([{'longer', 'shorter', 'TestSpread'},
                          {'long', 'short', 'own'}],
                         self.spread(2))

    def test_together_with_ceph(self):
        cases = [type(name, (base.ImportCase,), {
            'SECONDS': 10, 'OPTIONS': {'rbd_stores': (name,)}})
            for name in 'ab'] + [type(name, (base.ImportCase,), {
                'SECONDS': seconds, 'OPTIONS': {name: True}})
                for name, seconds in (('c', 60), ('d', 14))]
        self.assertEqual([{'c'}, {'a', 'b', 'd'}], [
            {case.__name__ for case in share}
            for share in runner.spread(cases, 2)])

    def test_one_process(self):
        self.assertEqual([{*self.CASES, 'TestSpread'}], self.spread(1))

    def test_every_class_has_its_process(self):
        shares = [[type(self)], [TestCloud, base.ImportCase], []]
        patterns = [share['worker'] for share in runner.workers(shares)]
        self.assertEqual([1, 2], list(map(len, patterns)))
        for name, found in ((self.id(), [True, False]),
                            (f'{__name__}.TestCloud.test_x', [False, True]),
                            (f'{__name__}.TestCloudy.test_x', [False] * 2)):
            self.assertEqual(found, [
                any(re.search(pattern, name) for pattern in share)
                for share in patterns])


class TestCloud(base.ImportCase):
    """A cloud as the other tests have it."""

    OPTIONS = {'stores': ('fast', 'slow', 'spare')}

    def setUp(self):
        super().setUp()
        self.addCleanup(self.cloud.failing.clear)

    def stage(self, image_id, data):
        """Stage data, without the attempts of a client."""
        return self.cloud.keystone.session('demo').put(
            f'{self.cloud.url}/v2/images/{image_id}/stage', data=data,
            headers={'Content-Type': 'application/octet-stream'},
            raise_exc=False)

    def test_several_workers_on_mariadb(self):
        self.assertEqual(1 + cloud.WORKERS, len(self.cloud.glance_pids()))
        (version,), = self.cloud.rows('SELECT version()')
        self.assertIn('MariaDB', version)

    def test_filter_is_the_default_and_two_ports(self):
        options, = re.findall(r'\[import_filtering_opts\]\n(.*?)\n\n',
                              self.cloud.import_config.read_text(), re.S)
        ports = {int(url.rpartition(':')[2])
                 for url in (self.cloud.url, self.files.url)}
        found = re.fullmatch(r'allowed_ports = \[(80,443,.*)\]', options)
        self.assertEqual({80, 443, *ports}, {*map(int, found[1].split(','))})

    def test_status_before_and_after_the_work(self):
        with self.new_image('image') as image_id:
            for status, error in ((500, exc.HTTPInternalServerError),
                                  (503, exc.HTTPServiceUnavailable),
                                  (429, exc.HTTPException)):
                for when, expected in (('before', ''), ('after', 'yes')):
                    self.cloud.failing.plan('patch', status, when=when,
                                            image_id=image_id)
                    self.assertRaises(error, self.client.images.update,
                                      image_id, done='yes')
                    self.assertEqual(expected, self.client.images.get(
                        image_id).get('done', ''))
                    self.client.images.update(image_id,
                                              remove_props=['done'])
        self.assertEqual(['', '200 OK'] * 3, [
            one['status'] for one in self.cloud.failing.made()])

    def test_other_images_and_requests_go_on(self):
        with self.new_image('one') as one, self.new_image('other') as other:
            self.cloud.failing.plan('patch', 503, times=failing.ALWAYS,
                                    image_id=one)
            self.client.images.get(one)
            self.client.images.update(other, name='new')
            for _ in range(3):
                self.assertRaises(exc.HTTPServiceUnavailable,
                                  self.client.images.update, one, name='new')
            self.cloud.failing.clear()
            self.client.images.update(one, name='new')

    def test_cut_connections(self):
        for when, expected in (('before', 'queued'), ('after', 'uploading')):
            with self.new_image('image') as image_id:
                self.cloud.failing.plan('stage', 'cut', when=when)
                self.assertRaises(CUT, self.stage, image_id, b'data')
                self.assertEqual(expected,
                                 self.client.images.get(image_id).status)

    def test_cut_halfway(self):
        data = bytes(1 << 20)
        with self.new_image('disk', 'raw', 'bare') as image_id:
            self.client.images.upload(image_id, io.BytesIO(data))
            self.cloud.failing.plan('data', 'cut', when='halfway')
            self.assertRaises(CUT, self.download, image_id)
            self.assertEqual(len(data), self.download(image_id)[0])
        with self.new_image('image') as image_id:
            self.cloud.failing.plan('stage', 'cut', when='halfway')
            self.assertRaises(CUT, self.stage, image_id, data)
            self.assertIsNone(self.client.images.get(image_id).size)

    def test_database_that_fails(self):
        with self.new_image('image') as image_id:
            self.cloud.failing.plan('stage', 'database', skip=1)
            self.assertEqual(500, self.stage(image_id, b'data').status_code)
            image = self.client.images.get(image_id)
            self.assertEqual(('uploading', None), (image.status, image.size))
            self.assertEqual([image_id], self.cloud.staged())
            self.assertEqual(409, self.stage(image_id, b'data').status_code)

    def test_one_request_id_for_all(self):
        request_id = 'req-11111111-1111-4111-8111-111111111111'
        client = self.cloud.client(request_id=request_id)
        small = archives.small()
        for _ in range(2):
            with self.new_image(small.name) as image_id:
                client.images.image_import(
                    image_id, 'web-download',
                    uri=self.files.add(image_id, small.data))
                task = self.cloud.wait_for_import(client, image_id)
                self.assertEqual(request_id, task['request_id'])

    def test_snapshots_inherit_and_are_younger(self):
        small = archives.small()
        with self.new_image(small.name, os_distro='debian',
                            long_one='x' * 300) as image_id:
            self.web_download(image_id, small.data)
            base_ = self.client.images.get(image_id)
            for made, length in (
                    (snapshots.of_server(self.client, image_id), 255),
                    (snapshots.of_volume(self.client, image_id), 300)):
                self.addCleanup(self.client.images.delete, made)
                copy = self.client.images.get(made)
                self.assertEqual(
                    ('active', 'raw', 'bare', base_.owner, 'debian',
                     'vhd/ovf', 'x' * length, base_.size),
                    (copy.status, copy.disk_format, copy.container_format,
                     copy.owner, copy.os_distro,
                     copy.xs_convert_source_format, copy.long_one,
                     copy.size))
                self.assertGreater(copy.created_at, base_.created_at)
                self.assertNotEqual(base_.os_hash_value, copy.os_hash_value)
                self.assertNotIn('os_glance_failed_import', copy)

    def test_snapshot_of_a_snapshot_of_a_volume(self):
        with self.new_image('disk', 'raw', 'bare', kind='web') as image_id:
            self.client.images.upload(image_id, io.BytesIO(b'disk' * 1024))
            first = snapshots.of_server(self.client, image_id)
            self.addCleanup(self.client.images.delete, first)
            second = snapshots.of_server(self.client, first,
                                         volume_backed=True)
            self.addCleanup(self.client.images.delete, second)
            snapshot = self.client.images.get(second)
            self.assertEqual((image_id, 'web', 0, 'active'),
                             (snapshot.base_image_ref, snapshot.kind,
                              snapshot.size, snapshot.status))

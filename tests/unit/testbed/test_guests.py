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

"""Guests' disks, wrapped as XenServer images."""

import os
import random
import unittest
from unittest import mock

from glance_xs_convert import api
from testbed.guests import adapting
from testbed.guests import machine
from testbed.guests import wrapping

from tests.unit import cases

MIB = 1 << 20


class Wrapping(cases.DiskCase):

    def setUp(self):
        super().setUp()
        self.disk = self.scratch / 'guest.raw'
        rng = random.Random('guest')
        with self.disk.open('wb') as file:
            file.truncate(20 * MIB)
            for offset in (0, 3 * MIB, 7 * MIB + 4096, 11 * MIB, 19 * MIB):
                file.seek(offset)
                file.write(rng.randbytes(70_000))
        self.image = self.scratch / 'image'

    def test_chain(self):
        """Both of its layers have a part of the disk."""
        wrapping.write_chain(self.disk, self.image)
        result = api.convert(self.image, self.target)
        self.assertEqual(self.disk.read_bytes(), self.target.read_bytes())
        self.assertEqual(2, result.layer_count)
        self.assertTrue(all(layer.allocated_size for layer in result.layers))

    def test_export(self):
        wrapping.write_export(self.disk, self.image, name_label='other')
        result = api.convert(self.image, self.target)
        self.assertEqual(self.disk.read_bytes(), self.target.read_bytes())
        self.assertEqual('other', result.guest.name)

    def test_content(self):
        self.assertEqual(self.disk.read_bytes(),
                         wrapping.content(self.disk).tobytes())


class Adapting(unittest.TestCase):

    def test_options(self):
        for variables, expected in (
                ({'HOME': '/root'}, {'max_time': 60}),
                ({'LIBGUESTFS_DEBUG': '1', 'LIBGUESTFS_TRACE': '0'},
                 {'max_time': 60, 'libguestfs':
                  'LIBGUESTFS_DEBUG:1,LIBGUESTFS_TRACE:0'})):
            with mock.patch.dict(os.environ, variables, clear=True):
                self.assertEqual({
                    'image_import_plugins': ('xs_convert', 'xs_adapt'),
                    'options': {'xs_adapt': expected}}, adapting.options(60))

    def test_missing(self):
        with mock.patch.dict(os.environ, PATH='/nowhere'):
            self.assertIn('virt-v2v-in-place', adapting.missing())


class Console(unittest.TestCase):
    """What a guest says arrives in pieces, which may end anywhere."""

    def test_up(self):
        said = 'x\r\nGUEST IS UP: root=/dev/vda2 network=virtio_net\r\n'
        self.assertEqual(('/dev/vda2', 'virtio_net'),
                         machine._UP.search(said).groups())
        for end in range(len(said) - 1):
            self.assertIsNone(machine._UP.search(said[:end]), said[:end])

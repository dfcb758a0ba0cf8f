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

"""``glance-xs-convert check``."""

import os

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.unit.cli import base

MIB = vhd.MIB
GIB = vhd.GIB


class Check(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.story = chains.story_chain()
        self.archive = self.source(self.story.archive)

    def test_fields(self):
        ended = self.run_here('check', '-f', 'json', self.archive)
        self.assertEqual(0, ended.status)
        found = ended.json()
        staging = found.pop('staging_space')
        self.assertEqual({
            'importable': True,
            'layers': 3,
            'virtual_size': 64 * MIB,
            'min_disk': 1,
            'archive_size': len(self.story.archive),
            'raw_allocated': model.allocation(self.story.layers),
            'partition_table': 'MBR',
            'efi_system_partition': False,
            'boot_code': True,
        }, found)
        self.assertGreaterEqual(
            staging, found['archive_size'] + found['raw_allocated'])

    def test_min_disk_is_rounded_up(self):
        for size, expected in ((GIB - 512, '1'), (GIB, '1'),
                               (GIB + 512, '2'), (30 * GIB, '30')):
            data = archive.tgz(archive.chain_members([vhd.Layer(size)]))
            ended = self.run_here('check', '-f', 'value', '-c', 'min_disk',
                                  self.source(data))
            self.assertEqual(expected, ended.stdout.strip())

    def test_units_for_people(self):
        ended = self.run_here('check', self.archive)
        self.assertRegex(ended.stdout, r'\| virtual_size +\| 64 MiB ')

    def test_standard_input(self):
        ended = self.run_apart('check', '-', '-f', 'json',
                               stdin=self.story.archive)
        self.assertEqual(len(self.story.archive),
                         ended.json()['archive_size'])

    def test_refused(self):
        data = archive.tgz(archive.chain_members(self.story.layers)[1:])
        ended = self.run_apart('check', self.source(data))
        self.assert_fails(ended, '0.vhd is missing before ./1.vhd')

    def test_limits(self):
        data = archive.tgz(archive.chain_members([vhd.Layer(2 * GIB)]))
        path = self.source(data)
        self.assertEqual(0, self.run_here('check', path).status)
        ended = self.run_here('check', '--max-virtual-size', 1, path)
        self.assert_fails(
            ended, 'the limit, which is 1 GiB (1073741824 bytes)')

    def test_writes_nothing(self):
        before = os.listdir(self.scratch)
        self.run_here('check', self.archive)
        self.assertEqual(before, os.listdir(self.scratch))

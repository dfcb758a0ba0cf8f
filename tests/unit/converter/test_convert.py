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


"""Exact bytes: sound archives, judged by the builder's model."""

import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import unittest

import ddt


from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
pattern = chains.pattern
QEMU_IMG = shutil.which('qemu-img')
chain = shapes.chain
named = shapes.named


@ddt.ddt
class Lengths(cases.ConvertCase):

    @ddt.data(*range(1, 31))
    def test_chain_of(self, count):
        layers = chain(count, seed=count)
        order = list(range(count))
        random.Random(count).shuffle(order)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_layers_without_any_block(self):
        self.assert_converts(chains.linked([vhd.Layer(MIB)] * 4))


@ddt.ddt
class Orders(cases.ConvertCase):

    @ddt.data(*itertools.permutations(range(3)))
    def test_members_in_order(self, order):
        layers = chain()
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    @ddt.data(*range(8))
    def test_seven_members_at_random(self, seed):
        layers = chains.random_chain(
            seed, [100_000, 90_112, 110_000, 70_000, 131_072, 65_536, 98_304],
            [4096, 512, 8192])
        order = random.Random(seed).sample(range(7), 7)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_twenty_to_leaf_first(self):
        layers = chain(21)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=reversed(range(21)))))


@ddt.ddt
class Sizes(cases.ConvertCase):
    """The leaf's current size to the byte; shorter and longer layers."""

    @ddt.data(1, 511, 512, 513, 4095, 4096, 4097, 5000, 65_535, 65_537,
              MIB - 1, MIB + 512, 2 * MIB + 4096, 3 * MIB + 17)
    def test_size(self, size):
        for block_size in (512, 4096, 2 * MIB):
            layers = chains.random_chain(size, [size] * 2, [block_size])
            self.assert_converts(layers)
            self.target.unlink()

    @ddt.data(512, 1536, 4096, 6656, MIB - 512, MIB + 512)
    def test_written_to_the_last_sector(self, size):
        for cut in (0, 1, 511):
            layers = chains.linked([vhd.Layer(
                size - cut, [(0, pattern(size, size // 512))],
                block_size=4096)])
            self.assert_converts(layers)
            self.target.unlink()

    @ddt.named_data(*named(
        grown=(200_000, 200_000, 65_536),
        grown_twice=(300_000, 200_000, 100_000),
        shrunk=(65_536, 100_000, 200_000),
        middle_shorter=(200_704, 65_536, 200_704),
        middle_shorter_unaligned=(200_001, 65_537, 199_999),
        middle_longer=(100_000, 300_000, 100_000),
        leaf_longer=(300_000, 100_000, 200_000),
        leaf_one_sector_longer=(66_048, 65_536, 65_536),
        leaf_one_byte_longer=(65_537, 65_536, 65_535),
        leaf_one_byte=(1, 100_000, 200_000),
        base_one_byte=(100_000, 50_000, 1),
        up_and_down=(90_000, 120_000, 50_000, 110_000, 70_001, 130_000),
    ))
    def test_layers_of_sizes(self, sizes):
        for seed in range(3):
            layers = chains.random_chain(seed, sizes, [4096, 512, 32_768])
            for order in (range(len(sizes)), reversed(range(len(sizes)))):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    def test_past_the_end_of_a_shorter_layer_all_is_zeros(self):
        full = [(0, pattern('base', 256))]
        layers = chains.linked([
            vhd.Layer(256 * 512), vhd.Layer(100 * 512 + 99),
            vhd.Layer(256 * 512, full)])
        for order in itertools.permutations(range(3)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    def test_data_behind_the_end_in_the_last_block(self):
        layers = chains.linked([
            vhd.Layer(5 * 512, [(0, pattern('leaf', 16))]),
            vhd.Layer(9 * 512 + 1, [(0, pattern('base', 16))])])
        self.assert_converts(layers)

    def test_data_behind_the_end_of_a_shorter_parent(self):
        layers = chains.linked([
            vhd.Layer(64 * KIB, [(1, pattern('leaf'))]),
            vhd.Layer(9 * 512 + 1, [(0, pattern('base', 128))])])
        for order in ((0, 1), (1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.data(b'tap\0', b'vpc ', b'vs  ', b'win ', b'wa\0\0', b'qemu',
              b'qem2', b'vbox', b'd2v ', b'\xff\xfe\0\1', b'\0\0\0\0')
    def test_any_creator(self, creator):
        size = 3 * MIB + 5 * 512
        layers = chains.linked([vhd.Layer(
            size, [(0, pattern(0)), (size // 512 - 1, pattern(1))],
            creator_application=creator, creator_version=0x000A0003,
            creator_host_os=b'Wi2k')])
        self.assert_converts(layers)

    def test_original_size_does_not_count(self):
        self.assert_converts(chains.linked([
            vhd.Layer(MIB, [(5, pattern(0))], original_size=9 * MIB),
            vhd.Layer(MIB, [(9, pattern(1))], original_size=512)]))

    def test_geometry_does_not_count(self):
        self.assert_converts([vhd.Layer(
            MIB, [(2047, pattern(0))], footer_fields={'disk_geometry': 0})])


class Large(cases.ConvertCase):

    def test_chain_of_30_on_2040_gib(self):
        size = 2040 * vhd.GIB
        last = size // 512 - 1
        layers = chains.linked([
            vhd.Layer(size, [(number, pattern(number)),
                             (last - 4096 * number, pattern(-number))],
                      batmap=number % 2 == 0)
            for number in range(30)])
        path = self.scratch / 'large.tgz'
        archive.write_tgz(path, archive.chain_members(layers))
        with self.memory(vhd.GIB):
            self.assert_converts(layers, path)

    def test_member_over_8_gib(self):
        per_block = 2 * MIB // 512
        blocks = 4100
        layers = chains.linked([
            vhd.Layer(10 * vhd.GIB, [(5, pattern('leaf'))]),
            vhd.Layer(10 * vhd.GIB, [
                (block * per_block + block % per_block, pattern(block))
                for block in range(blocks)])])
        members = archive.chain_members(layers)
        self.assertGreater(members[1].size, 8 * vhd.GIB)
        path = self.scratch / 'large.tgz'
        archive.write_tgz(path, members)
        with self.memory(vhd.GIB):
            self.assert_converts(layers, path)

    def test_story(self):
        story = chains.story_chain()
        result = self.assert_converts(story.layers, story.archive)
        self.assertEqual(story.size, result.virtual_size)


@ddt.ddt
@unittest.skipUnless(QEMU_IMG, 'qemu-img is not installed')
class QemuImg(cases.ConvertCase):
    """VHDs that qemu-img made, wrapped as images of one layer."""

    @ddt.data('dynamic', 'fixed', 'dynamic,force_size=on',
              'fixed,force_size=on')
    def test_converts(self, options):
        disk = sparse.Sparse()
        for sector, data in ((0, pattern('a', 9)), (4095, pattern('b', 3)),
                             (10_000, pattern('c', 700)),
                             (20_479, pattern('d'))):
            disk.put(sector * 512, data)
        raw, image = self.scratch / 'raw', self.scratch / 'image.vhd'
        disk.write_to(raw)
        subprocess.run(
            [QEMU_IMG, 'convert', '-f', 'raw', '-O', 'vpc', '-o',
             f'subformat={options}', raw, image],
            check=True, capture_output=True)
        result = self.convert(archive.tgz(
            [archive.Member('./image.vhd', image.read_bytes())]))
        found = self.target.read_bytes()
        self.assertEqual(result.virtual_size, len(found))
        if 'force_size' in options:
            self.assertEqual(disk.size, len(found))
        self.assertGreaterEqual(len(found), disk.size)
        self.assertEqual(
            hashlib.sha256(disk.tobytes().ljust(len(found), b'\0')).digest(),
            hashlib.sha256(found).digest())


@ddt.ddt
class Fixtures(cases.ConvertCase):
    """The images made with XenServer's own library."""

    def setUp(self):
        super().setUp()
        self.fixtures = cases.fixtures(self)
        with open(self.fixtures / 'manifest.json') as manifest:
            self.manifest = json.load(manifest)
        self.sums = {}

    def test_accepted(self):
        for name, wanted in self.manifest['accept'].items():
            with self.subTest(name):
                result = self.convert(self.fixtures / name)
                self.assertEqual(wanted['virtual_size'], result.virtual_size)
                self.assertEqual(wanted['layers'], len(result.layers))
                self.assertEqual(wanted['sha256'], self.sha256())
                self.assertEqual([self.target.name],
                                 os.listdir(self.output))
                self.target.unlink()

    def sha256(self):
        """The sum of the raw disk; disks that are alike are summed once."""
        size = self.target.stat().st_size
        extents = [(sector, data.ljust(512, b'\0'))
                   for sector, data in model.stored_sectors(self.target)
                   if any(data)]
        key = size, hash(tuple(extents))
        if key not in self.sums:
            self.sums[key] = model.sha256([vhd.Layer(size, extents)])
        return self.sums[key]

    def test_rejected(self):
        for name in self.manifest['reject']:
            with self.subTest(name):
                self.assert_refused(self.fixtures / name)

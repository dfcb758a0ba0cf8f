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

"""Sectors that alternate between layers, judged by the model."""

import random

import ddt

from glance_xs_convert import api
from glance_xs_convert.converter.disk import sparse_file

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.unit import cases

MIB = vhd.MIB
SECTOR = vhd.SECTOR
COUNT = 2 * MIB // SECTOR


def scattered(seed, step, count=COUNT):
    """Single sectors of a block, some of them zeros."""
    rng = random.Random(seed)
    return [(sector, rng.choice((rng.randbytes(SECTOR), bytes(SECTOR))))
            for sector in range(rng.randrange(step), count, step)]


@ddt.ddt
class Scattered(cases.ConvertCase):

    @ddt.data((0, 1), (1, 0))
    def test_alternating_layers(self, order):
        layers = chains.linked([
            vhd.Layer(4 * MIB, scattered('leaf', 2)),
            vhd.Layer(4 * MIB, scattered('base', 3, 2 * COUNT))])
        data = archive.tgz(archive.chain_members(layers, order=order))
        self.assert_converts(layers, data)
        result = api.check(self.source_of(data))
        self.assertEqual(model.amounts(layers, SECTOR),
                         result.disk_map.cells(SECTOR))
        occupied = self.target.stat().st_blocks * 512
        self.assertLessEqual(occupied, result.allocated + cases.SLACK)
        if order == (0, 1):
            self.assertLessEqual(result.allocated, occupied + cases.SLACK)

    @ddt.data(*range(6))
    def test_any_layers(self, seed):
        rng = random.Random(seed)
        layers = chains.linked([
            vhd.Layer(rng.choice((2 * MIB, 3 * MIB, 4 * MIB - 512)),
                      scattered(f'{seed} {rank}', rng.choice((2, 3, 5, 9))))
            for rank in range(3)])
        order = rng.sample(range(3), 3)
        data = archive.tgz(archive.chain_members(layers, order=order))
        self.assert_converts(layers, data)
        self.assertEqual(
            model.amounts(layers, SECTOR),
            api.check(self.source_of(data)).disk_map.cells(SECTOR))

    def test_first_sectors(self):
        """They are kept also when the sectors of a block are scattered."""
        boot = bytes(440) + b'\xeb'.rjust(4) + bytes(66) + b'\x55\xaa'
        written = [(0, b'\xeb\x63' + boot[2:]),
                   *((sector, b'x' * SECTOR)
                     for sector in range(2, COUNT, 2))]
        data = archive.tgz(archive.chain_members(
            [vhd.Layer(2 * MIB, written)]))
        self.assertTrue(api.check(
            self.source_of(data)).first_sectors.has_boot_code)

    def test_few_calls(self):
        """A block is written at once, not sector by sector."""
        writes = []

        def counted(self, view, offset, write=sparse_file.SparseFile._write):
            writes.append(len(view))
            write(self, view, offset)

        layers = [vhd.Layer(2 * MIB, [
            (sector, b'x' * SECTOR) for sector in range(0, COUNT, 2)])]
        self.addCleanup(setattr, sparse_file.SparseFile, '_write',
                        sparse_file.SparseFile._write)
        sparse_file.SparseFile._write = counted
        self.assert_converts(layers)
        self.assertEqual([2 * MIB], writes)

    def source_of(self, data):
        path = self.scratch / 'archive'
        path.write_bytes(data)
        return path

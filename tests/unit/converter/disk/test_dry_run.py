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

"""What a conversion would write, judged by the model and the real thing."""

import io
import os
import random

import ddt

from glance_xs_convert import api

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.unit import cases

KIB = vhd.KIB
MIB = vhd.MIB
PAGE = 4096


def chain_in_disorder(seed):
    """A chain of layers of many sizes, in an archive in any order."""
    rng = random.Random(seed)
    count = rng.randint(1, 6)
    sizes = [rng.choice((65_536, 70_000, 90_112, 100_000, 131_072, 3 * MIB))
             for _ in range(count)]
    layers = chains.random_chain(seed, sizes, [4096, 512, 8192])
    return layers, archive.tgz(archive.chain_members(
        layers, order=rng.sample(range(count), count)))


def joined(ranges):
    """Ranges in order, those that touch made one."""
    whole = []
    for each in ranges:
        if whole and whole[-1].stop == each.start:
            each = range(whole.pop().start, each.stop)
        whole.append(each)
    return whole


@ddt.ddt
class DryRun(cases.ConvertCase):

    @ddt.data(*range(24))
    def test_every_sector_has_the_right_layer(self, seed):
        layers, data = chain_in_disorder(seed)
        disk_map = api.check(io.BytesIO(data)).disk_map
        self.assertEqual(model.size(layers), disk_map.size)
        self.assertEqual(model.amounts(layers, vhd.SECTOR),
                         disk_map.cells(vhd.SECTOR))

    @ddt.data(*range(24, 40))
    def test_larger_cells_add_up(self, seed):
        layers, data = chain_in_disorder(seed)
        disk_map = api.check(io.BytesIO(data)).disk_map
        for cell_size in (4 * KIB, 64 * KIB, MIB, 2 * MIB, 4 * MIB):
            self.assertEqual(model.amounts(layers, cell_size),
                             disk_map.cells(cell_size))
        self.assertEqual(model.amounts(layers, 4 * MIB)[0], disk_map.sizes())

    @ddt.data(*range(64, 80))
    def test_extents(self, seed):
        layers, data = chain_in_disorder(seed)
        disk_map = api.check(io.BytesIO(data)).disk_map
        size = model.size(layers)
        for rank in range(len(layers)):
            extents = list(disk_map.extents(rank))
            found = [range(offset, offset + size) for offset, size in extents]
            wanted = [
                range(sector * 512, min(size, sector * 512 + 512))
                for sector in range(-(-size // 512))
                if model.owner(layers, sector) == rank]
            self.assertEqual(joined(wanted), found)

    @ddt.data(*range(40, 64))
    def test_space(self, seed):
        _, data = chain_in_disorder(seed)
        result = api.check(io.BytesIO(data))
        self.convert(data)
        occupied = self.target.stat().st_blocks * 512
        # A file system may keep the map of many extents in a page.
        self.assertLessEqual(occupied, result.allocated + PAGE)
        self.assertLessEqual(result.allocated, occupied + PAGE)
        self.assertGreaterEqual(result.room, result.allocated)

    def test_result(self):
        story = chains.story_chain()
        result = api.check(io.BytesIO(story.archive))
        self.assertEqual(story.size, result.virtual_size)
        self.assertEqual(len(story.archive), result.source_size)
        self.assertEqual([layer.current_size for layer in story.layers],
                         [layer.current_size for layer in result.layers])
        self.assertEqual(model.allocation(story.layers), result.allocated)

    def test_room_is_what_the_blocks_take(self):
        """As much as is asked for before a layer is written."""
        layer = vhd.Layer(64 * MIB, [(0, chains.pattern(1)),
                                     (32 * KIB, chains.pattern(2))])
        data = archive.tgz(archive.chain_members([layer]))
        result = api.check(io.BytesIO(data))
        self.assertEqual(2 * PAGE, result.allocated)
        self.assertEqual(4 * MIB, result.room)

    def test_two_passes(self):
        layers = chains.linked([
            vhd.Layer(MIB, [(7, chains.pattern(1, 3))],
                      layout=('blocks', 'header', 'bat')),
            vhd.Layer(MIB, [(8, chains.pattern(2, 9))])])
        data = archive.tgz(archive.chain_members(layers))
        result = api.check(io.BytesIO(data))
        self.assertEqual(len(data), result.source_size)
        self.assertEqual(model.amounts(layers, vhd.SECTOR),
                         result.disk_map.cells(vhd.SECTOR))

    def test_nothing_is_written(self):
        before = os.listdir(self.scratch)
        api.check(io.BytesIO(chains.story_chain().archive))
        self.assertEqual(before, os.listdir(self.scratch))

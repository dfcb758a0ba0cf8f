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


"""Blocks of any size in any order, and what their bitmaps say."""


import ddt


from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
pattern = chains.pattern
CREATOR_0_1 = 0x00000001
with_layer = shapes.with_layer
named = shapes.named


@ddt.ddt
class Blocks(cases.ConvertCase):
    """Block sizes, and where the parts of a VHD lie."""

    @ddt.data(*(512 << power for power in range(13)))
    def test_block_size(self, block_size):
        sizes = [4 * block_size + 512, 4 * block_size, 3 * block_size]
        layers = chains.random_chain(
            block_size, [size + 8192 for size in sizes], [block_size])
        for order in ((0, 1, 2), (2, 1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.data((512, 2 * MIB, 4096), (2 * MIB, 512, 65_536),
              (32_768, 16_384, 8192), (4096, 2 * MIB, 512))
    def test_block_sizes_mixed(self, block_sizes):
        for seed in range(3):
            layers = chains.random_chain(
                seed, [130_000, 150_000, 140_000], block_sizes)
            for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    @ddt.named_data(*named(
        any_order={'block_order': (3, 0, 7, 5, 1)},
        gaps={'gaps': {0: 1, 3: 5, 5: 1000}},
        bat_behind_blocks={'layout': ('header', 'locators', 'blocks', 'bat')},
        header_behind_blocks={'layout': ('blocks', 'header', 'bat',
                                         'locators')},
        bat_then_blocks_then_header={'layout': ('bat', 'blocks', 'locators',
                                                'header')},
        blocks_bat_header={'layout': ('blocks', 'bat', 'locators',
                                      'header')},
        bat_before_header={'layout': ('bat', 'locators', 'header',
                                      'blocks')},
        locators_first={'layout': ('locators', 'header', 'bat', 'blocks')},
        locators_last={'layout': ('header', 'bat', 'blocks', 'locators')},
        header_far={'padding': {'header': 777}},
        bat_far={'padding': {'bat': 1234}},
        blocks_far={'padding': {'blocks': 3}},
        tail_far={'padding': {'tail': 9}},
        batmap={'batmap': True},
        no_batmap={'batmap': False},
        batmap_behind_blocks={'batmap': True, 'layout': (
            'header', 'locators', 'blocks', 'bat')},
        data_aligned={'data_alignment': 4096},
        more_entries={'extra_table_entries': 1},
        many_more_entries={'extra_table_entries': 10_000, 'batmap': True},
        allocated_and_empty={'allocated': (2, 4), 'batmap': True},
        many_locators={'locators': [
            (b'W2ru', bytes([i]) * 600) for i in range(8)]},
    ))
    def test_layout(self, changes):
        writes = [[(n * 8 + i, pattern((n, i), 3)) for n in (0, 1, 3, 5, 7)]
                  for i in range(3)]
        plain = chains.linked([
            vhd.Layer(64 * KIB + 512, written, block_size=4096)
            for written in writes])
        for changed in ((0,), (1,), (2,), (0, 1, 2)):
            layers = plain
            for number in changed:
                layers = with_layer(layers, number, **changes)
            for order in ((0, 1, 2), (2, 1, 0)):
                with self.subTest(changed=changed, order=order):
                    self.assert_converts(layers, archive.tgz(
                        archive.chain_members(layers, order=order)))
                    self.target.unlink()

    def test_table_moved_by_a_resize(self):
        first = pattern('before', 8)
        layers = chains.linked([
            vhd.Layer(8 * MIB, [(9, pattern('leaf'))]),
            vhd.Layer(8 * MIB, [(0, first), (8000, pattern('after', 9))],
                      padding={'bat': 40}, block_order=(1, 0),
                      gaps={1: 8}, original_size=MIB),
            vhd.Layer(4 * MIB, [(4, pattern('base', 90))])])
        self.assert_converts(layers)

    def test_table_longer_than_needed_by_one_unused_block(self):
        # vhd-util rounds a shrunk disk's table up to what it was.
        layers = chains.linked([vhd.Layer(
            100_000, [(3, pattern(0))], block_size=4096,
            extra_table_entries=40)])
        self.assert_converts(layers)


@ddt.ddt
class Bitmaps(cases.ConvertCase):
    """A sector counts if its bit is set, in every layer."""

    SECTORS = 64

    def layers(self, *selections, **options):
        """Layers full of bytes with only the selected bits set."""
        return chains.linked([
            vhd.Layer(self.SECTORS * 512, [
                (sector, pattern((number, sector)))
                for sector in range(self.SECTORS) if selected(sector)
            ], stale=[(0, pattern(('stale', number), self.SECTORS))],
                block_size=8192, **options)
            for number, selected in enumerate(selections)])

    def both_orders(self, layers):
        numbers = range(len(layers))
        for order in (numbers, reversed(numbers)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.named_data(*named(
        even=lambda s: s % 2 == 0, odd=lambda s: s % 2, none=lambda s: False,
        all=lambda s: True, first=lambda s: s % 16 == 0,
        last=lambda s: s % 16 == 15, seven=lambda s: s % 8 == 7,
        runs=lambda s: s // 3 % 2, one=lambda s: s == 37))
    def test_bits(self, selected):
        self.both_orders(self.layers(selected))
        self.both_orders(self.layers(selected, lambda s: s % 3))
        self.both_orders(self.layers(lambda s: s % 5 == 0, selected))
        self.both_orders(self.layers(
            lambda s: s % 7 == 0, selected, lambda s: s % 4 == 0))

    def test_stale_bytes_in_thirty_layers(self):
        self.both_orders(self.layers(
            *[lambda s, n=n: s % 31 == n for n in range(30)]))

    def test_stale_bytes_alone_take_no_space(self):
        layers = [vhd.Layer(4 * MIB, stale=[(0, pattern(0, 8192))])]
        self.assert_converts(layers)
        self.assertLess(self.target.stat().st_blocks * 512, cases.SLACK)

    @ddt.named_data(*named(leaf_first=(0, 1, 2), base_first=(2, 1, 0),
                           middle_first=(1, 0, 2), middle_last=(2, 0, 1)))
    def test_zeros_hide_what_is_older(self, order):
        size = 256 * KIB
        layers = chains.linked([
            vhd.Layer(size, [(16, bytes(8192)), (100, pattern('new'))]),
            vhd.Layer(size, [(64, bytes(64 * KIB)), (99, pattern('mid', 3)),
                             (20, pattern('hidden'))]),
            vhd.Layer(size, [(0, pattern('old', 512))])])
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_zeros_over_data_leave_a_hole(self):
        layers = chains.linked([
            vhd.Layer(4 * MIB, [(0, bytes(4 * MIB))]),
            vhd.Layer(4 * MIB, [(0, pattern('old', 8192))])])
        for order in ((0, 1), (1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.assertLess(
                self.target.stat().st_blocks * 512, cases.SLACK)
            self.target.unlink()

    def test_blocks_of_zeros_take_no_space(self):
        layers = [vhd.Layer(8 * MIB, [(0, bytes(8 * MIB)),
                                      (5000, pattern('one'))])]
        self.assert_converts(layers)

    def test_bits_of_the_first_tap_begin_at_the_lowest(self):
        self.both_orders(self.layers(
            lambda s: s % 5 == 1, lambda s: s % 3 == 0, lambda s: s % 2,
            creator_version=CREATOR_0_1, bit_order=vhd.LSB_FIRST))

    def test_bits_past_the_end_of_a_small_block(self):
        # 512 bytes a block: one bit of the bitmap counts.
        layers = chains.linked([
            vhd.Layer(8192, [(s, pattern(s)) for s in range(0, 16, 3)],
                      stale=[(0, pattern('s', 16))], block_size=512),
            vhd.Layer(8192, [(0, pattern('b', 16))], block_size=1024)])
        self.both_orders(layers)

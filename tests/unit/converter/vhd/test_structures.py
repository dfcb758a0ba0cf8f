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


"""Footers, headers and tables, damaged or missing or out of order."""

import dataclasses
import itertools

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
CREATOR_1_1 = 0x00010001
chain = shapes.chain
with_layer = shapes.with_layer
named = shapes.named


@ddt.ddt
class Fixed(cases.ConvertCase):

    @ddt.data(512, 3 * 512, 4096, 100_000, MIB, MIB + 512)
    def test_single(self, size):
        self.assert_converts([vhd.Layer(
            size, [(0, pattern(size, -(-size // 512)))],
            disk_type=vhd.FIXED)])

    def test_single_sparse(self):
        self.assert_converts([vhd.Layer(
            16 * MIB, [(9, pattern(1)), (20_000, pattern(2, 9)),
                       (32_767, pattern(3))], disk_type=vhd.FIXED)])

    def test_single_empty(self):
        self.assert_converts([vhd.Layer(MIB, disk_type=vhd.FIXED)])

    @ddt.named_data(*named(
        same=100_352, shorter=50_176, longer=204_800, odd=99_999))
    def test_base(self, size):
        upper = chains.random_chain('fixed', [100_352, 100_352, 100_352])
        layers = [*upper[:2], dataclasses.replace(
            upper[2], current_size=size, disk_type=vhd.FIXED, stale=(),
            written=[(0, pattern('fixed', size // 512))])]
        for order in itertools.permutations(range(3)):
            with self.subTest(order=order):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    def test_first_sector_that_looks_like_a_footer(self):
        # The guest's data begin with what the copy of a dynamic disk's
        # footer would be.
        inner = vhd.Layer(MIB, [(0, pattern('inner'))]).tobytes()
        self.assert_converts([vhd.Layer(
            2 * MIB, [(0, inner[:inner.rindex(b'conectix')])],
            disk_type=vhd.FIXED)])

    def test_any_name(self):
        layers = [vhd.Layer(MIB, [(0, pattern(0))], disk_type=vhd.FIXED)]
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, ['fixed.vhd'])))


@ddt.ddt
class Footers(cases.ConvertCase):

    STATES = named(
        tail_absent={'tail': vhd.ABSENT},
        tail_zeroed={'tail': vhd.ZEROED},
        tail_damaged={'tail': vhd.DAMAGED},
        tail_short={'tail': vhd.SHORT},
        front_zeroed={'front': vhd.ZEROED},
        front_damaged={'front': vhd.DAMAGED},
        times_differ={'tail_fields': {'time_stamp': 1}},
        saved_state_differs={'front_fields': {'saved_state': 1}},
        hidden_differs={'front_fields': {'hidden': 1}},
        hidden={'hidden': 1},
        saved={'saved_state': 1},
        hidden_unsummed_0_1={'hidden': 1, 'hidden_unsummed': True,
                             'creator_version': CREATOR_0_1,
                             'bit_order': vhd.LSB_FIRST},
        hidden_unsummed_1_1={'hidden': 1, 'hidden_unsummed': True,
                             'creator_version': CREATOR_1_1},
        features={'footer_fields': {'features': 3}},
        reserved_bytes={'footer_fields': {'reserved': b'r' * 426}},
        front_zeroed_header_far={'front': vhd.ZEROED,
                                 'padding': {'header': 1}},
        front_damaged_bat_behind={
            'front': vhd.DAMAGED,
            'layout': ('header', 'locators', 'blocks', 'bat')},
        tail_absent_header_behind={
            'tail': vhd.ABSENT,
            'layout': ('locators', 'blocks', 'bat', 'header')},
    )

    @ddt.named_data(*STATES)
    def test_single(self, changes):
        self.assert_converts(with_layer(chain(1), 0, **changes))

    @ddt.named_data(*STATES)
    def test_in_a_chain(self, changes):
        for number in range(3):
            layers = with_layer(chain(), number, **changes)
            for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
                with self.subTest(number=number, order=order):
                    self.assert_converts(layers, archive.tgz(
                        archive.chain_members(layers, order=order)))
                    self.target.unlink()

    def test_every_front_copy_damaged(self):
        layers = [dataclasses.replace(layer, front=vhd.DAMAGED)
                  for layer in chain()]
        self.assert_converts(layers)

    def test_every_tail_absent(self):
        layers = [dataclasses.replace(layer, tail=vhd.ABSENT)
                  for layer in chain()]
        self.assert_converts(layers)

    @ddt.data(1, 100, 511, 512)
    def test_cut_in_the_tail(self, missing):
        layers = chain()
        for number in range(3):
            members = archive.chain_members(layers)
            whole = layers[number].tobytes()
            members[number] = archive.Member(
                f'./{number}.vhd', whole[:-missing])
            self.assert_converts(layers, archive.tgz(members))
            self.target.unlink()

    @ddt.data(bytes(512), bytes(4096), b'x', b'x' * 5000)
    def test_bytes_behind_the_tail(self, more):
        layers = chain()
        for number in range(3):
            members = archive.chain_members(layers)
            members[number] = archive.Member(
                f'./{number}.vhd', layers[number].tobytes() + more)
            self.assert_converts(layers, archive.tgz(members))
            self.target.unlink()

    @ddt.data(512, 60 * KIB, 100 * KIB, 4 * MIB)
    def test_copies_of_different_sizes(self, size):
        # The footer at the end holds, as in blktap's vhd_read_footer.
        for number in range(2):
            layers = with_layer(chain(2), number,
                                front_fields={'current_size': size})
            self.assert_right_or_refused(layers, archive.tgz(
                archive.chain_members(layers)))

    def test_no_ids(self):
        layers = [dataclasses.replace(
            layer, unique_id=vhd.NIL, parent_unique_id=vhd.NIL)
            for layer in chain()]
        self.assert_converts(layers)

    def test_last_block_ends_the_file(self):
        self.assert_converts([vhd.Layer(
            MIB, [(0, pattern(0, 2048))], block_size=4096,
            tail=vhd.ABSENT)])

    def test_parent_names_that_point_nowhere(self):
        layers = with_layer(
            chain(), 0, parent_unicode_name='../../etc/passwd',
            locators=chains.locators('/dev/zero'))
        self.assert_converts(layers)

    def test_parent_name_of_256_letters(self):
        self.assert_converts(with_layer(
            chain(), 0, parent_unicode_name='ü' * 256))

    def test_parent_ids_unknown(self):
        layers = chain()
        for number in (0, 1):
            layers = with_layer(layers, number,
                                parent_unique_id=chains.layer_id(99))
        self.assert_converts(layers)

    def test_parent_ids_nil(self):
        layers = with_layer(chain(), 1, parent_unique_id=vhd.NIL)
        self.assert_converts(layers)

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

"""From the members' names to a chain, and whether it is one."""

import unittest
import uuid

import ddt

from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import limits

from testbed.images import chains
from testbed.images import vhd

NUMBERED, OLD, SINGLE = (
    chain.Naming.NUMBERED, chain.Naming.OLD, chain.Naming.SINGLE)


@ddt.ddt
class Places(unittest.TestCase):

    @ddt.data(
        ('0.vhd', NUMBERED, 0, ''), ('./12.vhd', NUMBERED, 12, ''),
        ('./a/b/7.vhd', NUMBERED, 7, 'a/b'), ('3.VHD', NUMBERED, 3, ''),
        ('007.vhd', NUMBERED, 7, ''), ('9' * 50 + '.vhd', NUMBERED,
                                       999_999_999, ''),
        ('snap.vhd', OLD, 0, ''), ('./image.vhd', OLD, 1, ''),
        ('x/Base.vhd', OLD, 2, 'x'),
        ('disk.vhd', SINGLE, 0, ''), ('0.0.vhd', SINGLE, 0, ''),
        ('-1.vhd', SINGLE, 0, ''), ('\u0660.vhd', SINGLE, 0, ''))
    @ddt.unpack
    def test_by_name(self, name, naming, rank, directory):
        self.assertEqual(chain.Place(naming, rank, directory),
                         chain.place_of(name))

    @ddt.data('swap.vhd', './swap.vhd', '._0.txt', '._disk.vhd', 'notes',
              '0.vhd/', '0.vhd.gz', 'vhd', '.txt')
    def test_no_part_of_the_disk(self, name):
        self.assertIsNone(chain.place_of(name))

    def test_by_content(self):
        self.assertEqual(chain.Place(SINGLE, 0, 'a'),
                         chain.place_by_content('a/disk.img'))
        for name in ('swap.vhd', 'a/._disk.img'):
            self.assertIsNone(chain.place_by_content(name))


def members(count):
    """The VHDs of a chain, from the leaf to the base, as if read."""
    made = chains.linked([vhd.Layer(1 << 21) for _ in range(count)])
    found = []
    for number, layer in enumerate(made):
        data = layer.tobytes()
        found.append(chain.Vhd(
            f'{number}.vhd', len(data), 0, layout.Footer.unpack(data[:512]),
            layout.DynamicHeader.unpack(data[512:1536])))
    return found


def named(found, **ids):
    """A VHD with other UUIDs: its own, or its parent's."""
    footer, header = vars(found.footer), vars(found.header)
    return chain.Vhd(
        found.name, found.file_size, found.allocated_size,
        layout.Footer(**footer | {
            'unique_id': ids.get('own', found.unique_id)}),
        layout.DynamicHeader(**header | {
            'parent_unique_id': ids.get('parent', found.parent_unique_id)}))


def built(found, order=None):
    """A chain to which the VHDs are added in some order."""
    tested = chain.Chain(limits.Limits())
    for rank in order or range(len(found)):
        tested.claim(chain.place_of(found[rank].name), found[rank].name)
        if not found[rank].footer.is_differencing:
            tested.set_base(rank)
        tested.add(rank, found[rank])
    return tested


@ddt.ddt
class Chain(unittest.TestCase):

    @ddt.data([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2])
    def test_from_leaf_to_base_in_any_order(self, order):
        found = members(4)
        tested = built(found, order)
        self.assertEqual(found, tested.layers())
        self.assertEqual(4, len(tested))
        self.assertEqual(NUMBERED, tested.naming)

    def test_empty(self):
        tested = chain.Chain(limits.Limits())
        self.assertIsNone(tested.naming)
        self.assertRaises(exceptions.NoVhd, tested.layers)

    @ddt.data((0, 'before 1.vhd'), (1, 'between 0.vhd and 2.vhd'))
    @ddt.unpack
    def test_gap(self, missing, where):
        order = [rank for rank in range(3) if rank != missing]
        with self.assertRaisesRegex(exceptions.MissingLayer, where):
            built(members(3), order).layers()

    def test_no_base(self):
        with self.assertRaisesRegex(exceptions.MissingBase, '1.vhd'):
            built(members(3), [0, 1]).layers()

    @ddt.data([0, 1], [1, 0])
    def test_layer_below_one_without_a_parent(self, order):
        base = members(1)[0]
        below = chain.Vhd('1.vhd', 0, 0, base.footer, base.header)
        with self.assertRaisesRegex(exceptions.NotDifferencing,
                                    '0.vhd.*1.vhd'):
            built([base, below], order)

    def test_parent_that_is_another_member(self):
        found = members(4)
        found[0] = named(found[0], parent=found[2].unique_id)
        with self.assertRaisesRegex(exceptions.WrongParent,
                                    '0.vhd.*2.vhd.*1.vhd'):
            built(found).layers()

    def test_parent_that_nobody_knows(self):
        found = members(3)
        found[0] = named(found[0], parent=uuid.UUID(int=99))
        found[1] = named(found[1], own=uuid.UUID(int=0))
        self.assertEqual(found, built(found).layers())

    @ddt.data(
        (['0.vhd', '0.vhd'], exceptions.DuplicateLayer),
        (['0.vhd', '00.VHD'], exceptions.DuplicateLayer),
        (['0.vhd', 'a/1.vhd'], exceptions.AmbiguousNames),
        (['0.vhd', 'snap.vhd'], exceptions.AmbiguousNames),
        (['a.vhd', 'b.vhd'], exceptions.AmbiguousNames),
        (['0.vhd', '30.vhd'], exceptions.LimitExceeded))
    @ddt.unpack
    def test_claims(self, names, error):
        tested = chain.Chain(limits.Limits(max_chain_length=30))
        tested.claim(chain.place_of(names[0]), names[0])
        with self.assertRaisesRegex(error, names[1]):
            tested.claim(chain.place_of(names[1]), names[1])


class Vhd(unittest.TestCase):

    def test_only_a_differencing_disk_has_a_parent(self):
        leaf, base = members(2)
        self.assertEqual(base.unique_id, leaf.parent_unique_id)
        self.assertIsNone(base.parent_unique_id)
        self.assertEqual(('differencing', 'dynamic'),
                         (leaf.disk_type, base.disk_type))

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

"""From the VHDs of an archive to a chain, and whether it is one.

``test_shapes`` has the rules for whole archives.
"""

import itertools
import unittest
import uuid

import ddt

from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results

from testbed.images import vhd


def link(path, own, parent=None, **changes):
    """A VHD; its UUIDs are given as numbers."""
    return chain.Link(path, results.Vhd(**{
        'name': path,
        'disk_type': 'dynamic' if parent is None else 'differencing',
        'current_size': 4096, 'allocated_size': 0, 'file_size': 4096,
        'creator': 'tap 1.3', 'unique_id': str(uuid.UUID(int=own)),
        'parent_unique_id': None if parent is None else str(
            uuid.UUID(int=parent)), 'is_hidden': False, **changes}))


def arrange(*links):
    return chain.arrange(links, image_limits.Limits(max_chain_length=5))


@ddt.ddt
class Arranged(unittest.TestCase):

    @ddt.data(['0.vhd', '1.vhd', '2.vhd', '3.vhd'], ['d', 'a', 'c', 'b'],
              ['3.img', '2.img', 'x.img', '0.img'])
    def test_any_order_of_arrival(self, paths):
        links = [link(paths[0], 4, 3), link(paths[1], 3, 2),
                 link(paths[2], 2, 1), link(paths[3], 1)]
        for order in itertools.permutations(links):
            found = arrange(*order)
            self.assertEqual(links, found.links)
            self.assertEqual([each.vhd for each in links], found.layers)
            self.assertEqual([], found.notes)

    def test_none(self):
        self.assertRaises(chain.NoVhds, arrange)

    def test_too_many(self):
        links = [link(f'x{n}', n + 1, n or None) for n in range(6)]
        with self.assertRaisesRegex(exceptions.LimitExceeded, '5 layers'):
            arrange(*links)
        self.assertEqual(5, len(arrange(*links[:5]).links))

    def test_notes_name_both(self):
        [note] = arrange(link('full', 1), link('delta', 2, 7)).notes
        for words in ('delta', 'full', str(uuid.UUID(int=7)),
                      str(uuid.UUID(int=1))):
            self.assertIn(words, note)
        [note] = arrange(link('1.vhd', 1), link('0.vhd', 2, 7)).notes
        self.assertRegex(note, '0.vhd.*1.vhd')

    def test_refusals_in_any_order_of_arrival(self):
        for kind, links in (
                (exceptions.AmbiguousOrder, [
                    link('a', 1), link('b', 2, 1), link('c', 3, 1)]),
                (exceptions.AmbiguousOrder, [
                    link('a', 1), link('b', 2, 7), link('c', 3, 7)]),
                (exceptions.WrongParent, [
                    link('a', 1, 2), link('b', 2, 3), link('c', 3, 1)]),
                (exceptions.MissingBase, [
                    link('a', 1, 2), link('b', 2, 7)]),
                (exceptions.DuplicateLayer, [
                    link('0.vhd', 1), link('0.VHD', 2, 1), link('x', 3, 2)]),
                (exceptions.MissingLayer, [
                    link('0.vhd', 3, 2), link('2.vhd', 2)])):
            for order in itertools.permutations(links):
                with self.assertRaises(kind):
                    arrange(*order)


class ForSwapping(unittest.TestCase):

    def is_for_swap(self, swap, *others):
        return chain.is_for_swap(swap.path, swap.vhd, others)

    def test_beside_names_of_nova(self):
        swap = link('./swap.vhd', 9)
        for paths in (['0.vhd', '1.vhd'], ['image.vhd', 'base.vhd']):
            self.assertTrue(self.is_for_swap(
                swap, link(paths[0], 2, 1), link(paths[1], 1)))
        self.assertTrue(self.is_for_swap(swap))

    def test_other_names(self):
        swap = link('swap.vhd', 9)
        self.assertFalse(self.is_for_swap(swap, link('disk.vhd', 1)))
        self.assertFalse(self.is_for_swap(swap, link('a/0.vhd', 1)))
        self.assertFalse(self.is_for_swap(link('x.vhd', 9),
                                          link('0.vhd', 1)))

    def test_linked_with_the_chain(self):
        self.assertFalse(self.is_for_swap(
            link('swap.vhd', 9), link('0.vhd', 1, 9)))
        self.assertFalse(self.is_for_swap(
            link('swap.vhd', 9, 1), link('0.vhd', 1)))

    def test_damaged(self):
        self.assertTrue(chain.is_for_swap(
            'swap.vhd', None, [link('0.vhd', 1)]))

    def test_whose_parent_is_not_known(self):
        swap = link('swap.vhd', 9, disk_type='differencing')
        self.assertFalse(self.is_for_swap(swap, link('0.vhd', 1)))


class Descriptions(unittest.TestCase):

    def test_without_a_footer(self):
        self.assertRaises(exceptions.DamagedVhd, chain.describe, 'a', 512,
                          structures.Structures())

    def test_by_the_ends(self):
        layer = vhd.Layer(8 << 20, disk_type=vhd.DIFFERENCING,
                          unique_id=uuid.UUID(int=2),
                          parent_unique_id=uuid.UUID(int=1))
        data = layer.tobytes()
        for start in (data[:2048], data[:512]):
            found = chain.describe_by_ends('a', len(data), start, data[-512:])
            self.assertEqual(str(uuid.UUID(int=2)), found.unique_id)
            self.assertEqual(
                str(uuid.UUID(int=1)) if len(start) > 512 else None,
                found.parent_unique_id)
        self.assertIsNone(chain.describe_by_ends('a', 9, bytes(9), bytes(9)))

    def test_only_a_differencing_disk_has_a_parent(self):
        layer = vhd.Layer(8 << 20, parent_unique_id=uuid.UUID(int=1))
        data = layer.tobytes()
        found = chain.describe_by_ends('a', len(data), data[:2048], b'')
        self.assertIsNone(found.parent_unique_id)

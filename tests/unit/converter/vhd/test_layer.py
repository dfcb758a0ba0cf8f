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

"""A VHD as a layer: what it says is written, and how it ends."""

import random
import unittest

import ddt

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layer
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import chains
from testbed.images import vhd

KIB = vhd.KIB
SECTOR = vhd.SECTOR
DATA = random.Random('layer').randbytes(3 * SECTOR)


def begin(made, cut=None):
    """Read the front of a VHD, of which the end may be missing."""
    data = made.tobytes()[:cut]
    return layer.begin(stream.VhdStream(
        '0.vhd', len(data), forward.ForwardReader([data]),
        image_limits.DEFAULT))


def dynamic(**options):
    return vhd.Layer(**{'current_size': 64 * KIB, 'block_size': 4 * KIB,
                        'written': [(7, DATA), (100, DATA)]} | options)


def read(found):
    """The sectors that a layer says are written, with their data."""
    sectors = {}
    for extent in found.extents():
        data = found.data.read(extent.size)
        for number in range(extent.size // SECTOR):
            if extent.written >> extent.sectors - 1 - number & 1:
                sectors[extent.offset // SECTOR + number] = data[
                    number * SECTOR:(number + 1) * SECTOR]
    return sectors


@ddt.ddt
class Written(unittest.TestCase):

    @ddt.data(*range(5))
    def test_dynamic(self, seed):
        made, = chains.random_chain(seed, [96 * KIB], [4 * KIB])
        found = begin(made)
        self.assertEqual(made.sectors, read(found))
        self.assertEqual(96 * KIB, found.finish().footer.current_size)

    def test_blocks(self):
        """They are known before their data is read."""
        self.assertEqual(
            [(0, 4 * KIB), (4 * KIB, 4 * KIB), (48 * KIB, 4 * KIB)],
            sorted(begin(dynamic()).blocks()))

    def test_fixed(self):
        """Until its footer is read, its size is that of its data."""
        made = vhd.Layer(5 * SECTOR, [(1, DATA)], disk_type=vhd.FIXED)
        found = begin(made)
        self.assertEqual((5 * SECTOR, None, False, None, []), (
            found.size, found.unique_id, found.has_parent,
            found.parent_unique_id, list(found.blocks())))
        sectors = read(found)
        self.assertEqual(bytes(SECTOR) + DATA + bytes(SECTOR),
                         b''.join(sectors[number] for number in range(5)))
        self.assertEqual(made.unique_id, found.finish().footer.unique_id)

    def test_blocks_beyond_the_end(self):
        """They are no part of the disk."""
        options = {'extra_table_entries': 2, 'padding': {'tail': 9}}
        end = len(dynamic(**options).tobytes()) // SECTOR - 1
        made = dynamic(**options, bat_entries={17: end - 9})
        found = begin(made)
        self.assertEqual(made.sectors, read(found))
        self.assertEqual(3, len(list(found.blocks())))
        self.assertEqual(3, len(list(begin(made).extents())))

    def test_parent(self):
        leaf, base = chains.linked([dynamic(), dynamic()])
        found = begin(leaf)
        self.assertTrue(found.has_parent)
        self.assertEqual((leaf.unique_id, base.unique_id),
                         (found.unique_id, found.parent_unique_id))
        # A disk without a parent may hold an id in its place.
        found = begin(dynamic(parent_unique_id=leaf.unique_id))
        self.assertFalse(found.has_parent)
        self.assertIsNone(found.parent_unique_id)


class End(unittest.TestCase):
    """The footer behind the data."""

    def finish(self, made, cut=None):
        found = begin(made, cut)
        read(found)
        return found.finish()

    def test_absent(self):
        """The copy at the front is enough."""
        self.finish(dynamic(tail=vhd.ABSENT))

    def test_contradiction(self):
        with self.assertRaises(layers.NotInOrder):
            self.finish(dynamic(tail_fields={'current_size': 32 * KIB}))

    def test_no_footer_of_a_fixed_disk(self):
        made = vhd.Layer(8 * SECTOR, disk_type=vhd.FIXED)
        with self.assertRaises(exceptions.DamagedVhd) as caught:
            self.finish(made, 8 * SECTOR)
        self.assertEqual('0.vhd', caught.exception.member)

    def test_footer_of_another_kind_of_disk(self):
        """It may be dynamic, and have lost the copy at its front."""
        with self.assertRaises(layers.NotInOrder):
            self.finish(dynamic(front=vhd.ZEROED))

    def test_footer_of_a_smaller_disk(self):
        with self.assertRaises(layers.NotInOrder):
            self.finish(vhd.Layer(
                8 * SECTOR, disk_type=vhd.FIXED,
                tail_fields={'current_size': 7 * SECTOR}))

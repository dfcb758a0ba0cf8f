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

"""The chain that the VHDs of an archive form, as they arrive."""

import io
import itertools
import unittest

import ddt

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import image
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import vhd
from tests.unit.converter import shapes

FIXED = vhd.Layer(8 * vhd.SECTOR, disk_type=vhd.FIXED).tobytes()


class Files:
    """A container of these files: pairs of a name and the bytes."""

    def __init__(self, *files, **kinds):
        self._files = files
        self._kinds = kinds
        self.ignored = []

    def members(self):
        for index, (name, data) in enumerate(self._files):
            yield member.Member(
                index, name, len(data), forward.Window(
                    forward.ForwardReader(iter(io.BytesIO(data).read, b'')),
                    len(data)), **self._kinds)

    def ignore(self, item):
        self.ignored.append(item.name)


def read(files, found=None, **bounds):
    """Read an image, and give it with the ranks of its layers."""
    made = image.VhdImage(files, image_limits.Limits(**bounds), found)
    return made, {layer.name: rank for rank, layer in made.layers()}


@ddt.ddt
class Order(unittest.TestCase):

    @ddt.data(['0.vhd', '1.vhd', '2.vhd'], ['one', 'two', 'three'],
              ['2.vhd', 'two', '0.vhd'])
    def test_ranks(self, names):
        """Either they are right, or another pass has to follow."""
        wanted = shapes.chain()
        passes = []
        for order in itertools.permutations(range(3)):
            files = Files(*((names[number], wanted[number].tobytes())
                            for number in order))
            try:
                made, ranks = read(files)
            except layers.NotInOrder:
                passes.append(order)
                continue
            self.assertEqual(names, sorted(ranks, key=ranks.get))
            self.assertEqual([str(layer.unique_id) for layer in wanted],
                             [found.unique_id for found in made.vhds])
            self.assertEqual(wanted[0].current_size, made.size)
        self.assertNotIn((0, 1, 2), passes)

    def test_places_that_an_earlier_pass_has_found(self):
        """What it did not find is ignored, whatever it is."""
        wanted = shapes.chain(2)
        files = Files(('a', wanted[1].tobytes()), ('b', wanted[0].tobytes()),
                      ('0.vhd', wanted[0].tobytes()))
        made, ranks = read(files, {
            0: image.Found(1, structures.Structures()),
            1: image.Found(0, structures.Structures())})
        self.assertEqual({'a': 1, 'b': 0}, ranks)
        self.assertEqual((['0.vhd'], ['b', 'a']),
                         (files.ignored, [one.name for one in made.vhds]))


class Members(unittest.TestCase):
    """What belongs to the chain."""

    def test_others(self):
        base, = shapes.chain(1)
        files = Files(('notes', b'text' * 900), ('0.vhd', base.tobytes()),
                      ('swap.vhd', FIXED), ('empty', b''))
        made, ranks = read(files)
        self.assertEqual({'0.vhd': 0}, ranks)
        self.assertEqual(['notes', 'swap.vhd', 'empty'], files.ignored)
        self.assertEqual(files.ignored, [one.name for one in made.ignored])

    def test_vhd_that_only_its_end_tells(self):
        base, = shapes.chain(1)
        with self.assertRaises(layers.NotInOrder):
            read(Files(('0.vhd', base.tobytes()), ('other', FIXED)))

    def test_none(self):
        with self.assertRaises(chain.NoVhds):
            read(Files(('notes', b'text')))

    def test_links(self):
        for files in (
                Files(('0.vhd', b''), special='a symbolic link to x'),
                Files(('x', b''), special='a hard link', linked='0.vhd')):
            with self.assertRaises(exceptions.UnsafeMember):
                read(files)

    def test_too_many(self):
        data = [(f'{number}.vhd', one.tobytes())
                for number, one in enumerate(shapes.chain(4))]
        read(Files(*data), max_chain_length=4)
        with self.assertRaises(exceptions.LimitExceeded):
            read(Files(*data), max_chain_length=3)

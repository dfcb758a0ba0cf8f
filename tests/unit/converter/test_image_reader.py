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

"""How often an image is read for its disks, and what comes of it."""

import ddt

from glance_xs_convert.converter import image_reader
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import xva
from tests.unit.converter import exports
from tests.unit.converter import readers
from tests.unit.converter import shapes

KIB = 1 << 10
layer = readers.layer
out_of_order = readers.out_of_order
bare = readers.bare
package = readers.package


@ddt.ddt
class OneDisk(readers.ReaderCase):

    reader = image_reader.ImageReader

    def write(self, data, choice=None, **options):
        return self.open(data, **options).write(self.new_file(), choice)

    def test_one_pass(self):
        layers = shapes.chain()
        data = archive.tgz(archive.chain_members(layers))
        for can_seek in (True, False):
            self.files.clear()
            origin = self.write(data, can_seek=can_seek)
            self.assertEqual(1, self.file.passes)
            self.assert_written([layers])
            self.assertEqual((96 * KIB, 3, None), (
                origin.size, len(origin.layers), origin.disk))

    def test_out_of_order(self):
        wanted = out_of_order('x')
        self.write(bare(wanted))
        self.assert_written([[wanted]])
        self.assertLess(1, self.file.passes)
        self.assertLessEqual(self.file.passes, 4)

    def test_out_of_order_in_a_pipe(self):
        with self.assertRaises(exceptions.UnreadableSource):
            self.write(bare(out_of_order('x')), can_seek=False)

    def test_descriptor_behind_the_disks(self):
        first, second = layer('first'), out_of_order('second')
        data = package(first, second, late=True)
        origin = self.write(data, '1')
        self.assert_written([[second]])
        self.assertEqual(('second', 'web-1'),
                         (origin.disk.name, origin.guest.name))

    @ddt.data('0', 'xvda')
    def test_choice_among_one(self, choice):
        """A chain has no names, and no descriptor that would give them."""
        data = archive.tgz(archive.chain_members(shapes.chain(1)))
        for can_seek in (True, False):
            with self.assertRaises(exceptions.NoSuchDisk):
                self.write(data, choice, can_seek=can_seek)

    def test_damage(self):
        """Reading it once more does not help, nor go on for ever."""
        data = bare(layer('x', header_fields={'cookie': b'nonsense'}))
        with self.assertRaises(exceptions.DamagedVhd):
            self.write(data)
        self.assertLessEqual(self.file.passes, 4)


class AllDisks(readers.ReaderCase):

    reader = image_reader.ImageReader

    def write(self, data, **options):
        return self.open(data, **options).write_all(self.new_file)

    def test_chain(self):
        layers = shapes.chain()
        found = self.write(archive.tgz(archive.chain_members(layers)))
        self.assertEqual(1, len(found))
        self.assert_written([layers])

    def test_package(self):
        """Only the disk that is out of order is read again."""
        first, second = out_of_order('first'), layer('second')
        found = self.write(package(first, second))
        self.assertEqual(['first', 'second'],
                         [origin.disk.name for origin, _ in found])
        self.assert_written([[first], [second]])
        self.assertLess(1, self.file.passes)

    def test_package_whose_descriptor_comes_late(self):
        first, second = layer('first'), layer('second')
        self.write(package(first, second, late=True))
        self.assert_written([[first], [second]])

    def test_package_in_a_pipe(self):
        first, second = layer('first'), layer('second')
        self.write(package(first, second), can_seek=False)
        self.assert_written([[first], [second]])
        self.files.clear()
        with self.assertRaises(exceptions.UnreadableSource):
            self.write(package(first, second, late=True), can_seek=False)

    def test_export(self):
        disks = exports.two_disks()
        found = self.write(xva.Export(disks).tar())
        self.assertEqual(1, self.file.passes)
        self.assertEqual(['xvda', 'xvdb'],
                         [origin.disk.device for origin, _ in found])
        self.assertEqual([None, None], [
            model.difference_from(self.names[raw], disk.content)
            for (_, raw), disk in zip(found, disks, strict=True)])


class Examined(readers.ReaderCase):

    reader = image_reader.ImageReader

    def examine(self, data, choice=None, **options):
        return self.open(data, **options).examine(choice)

    def test_export(self):
        disks = exports.two_disks()
        data = xva.Export(disks).tar()
        for choice, wanted in ((None, disks), ('1', disks[1:])):
            found = self.examine(data, choice)
            self.assertEqual(
                [(disk.size, disk.device) for disk in wanted],
                [(origin.size, origin.disk.device) for origin, _ in found])
            self.assertEqual(
                [disk.content.tobytes()[:512] for disk in wanted],
                [bytes(contents.start[:512]) for _, contents in found])
        with self.assertRaises(exceptions.NoSuchDisk):
            self.examine(data, '2')

    def test_out_of_order(self):
        """What an attempt has counted does not count twice."""
        for wanted in (layer('x'), out_of_order('x')):
            [(origin, contents)] = self.examine(bare(wanted))
            self.assertEqual(96 * KIB, origin.size)
            self.assertLessEqual(contents.allocated, 8 * KIB)
            self.assertEqual(bytes(3 * 512) + chains.pattern('x', 3),
                             bytes(contents.start[:6 * 512]))

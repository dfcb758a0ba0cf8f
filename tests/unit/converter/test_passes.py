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

"""Single passes over an image, and what the next one knows of the last."""

from glance_xs_convert.converter import appliance
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import passes
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import xva
from tests.unit.converter import exports
from tests.unit.converter import readers
from tests.unit.converter import shapes


class Passes(readers.ReaderCase):

    reader = passes.Passes

    def test_in_order(self):
        chain = shapes.chain()
        read = self.open(archive.tgz(archive.chain_members(chain)))
        read.write(self.new_file(), None)
        self.assert_written([chain])
        self.assertEqual(([], 1), (read.guests, self.file.passes))

    def test_out_of_order(self):
        """One pass is not enough, and writes nothing that stays."""
        wanted = readers.out_of_order('x')
        read, raw = self.open(readers.bare(wanted)), self.new_file()
        with self.assertRaises(layers.NotInOrder):
            read.write(raw, None)
        read.rewind()
        read.write_surveyed(raw, None)
        self.assert_written([[wanted]])

    def test_pipe(self):
        chain = archive.tgz(archive.chain_members(shapes.chain()))
        read = self.open(chain, can_seek=False)
        self.assertFalse(read.can_repeat)
        read.write(self.new_file(), None)
        self.assertRaises(exceptions.UnreadableSource, read.rewind)

    def test_descriptor(self):
        """It is looked for once; the passes that follow know it."""
        first, second = readers.layer('first'), readers.layer('second')
        read = self.open(readers.package(first, second, late=True))
        with self.assertRaises(
                (appliance.LateDescriptor, exceptions.XsConvertError)):
            read.write(self.new_file(), '0')
        read.rewind()
        self.assertTrue(read.look_for_descriptor())
        self.assertFalse(read.look_for_descriptor())
        self.files.clear()
        origin = read.write(self.new_file(), '1')
        self.assert_written([[second]])
        self.assertEqual(('second', ['web-1']), (
            origin.disk.name, [guest.name for guest in read.guests]))

    def test_no_descriptor(self):
        read = self.open(archive.tgz(archive.chain_members(shapes.chain())))
        self.assertFalse(read.look_for_descriptor())
        read.write(self.new_file(), None)
        self.assert_written([shapes.chain()])

    def test_files_of_an_earlier_attempt(self):
        """They are written again, and no more are made than are needed."""
        wanted = readers.layer('first'), readers.layer('second')
        read, files = self.open(readers.package(*wanted)), []
        for _ in range(2):
            read.write_all(self.new_file, files)
            self.assertEqual((2, 2), (len(files), len(self.files)))
            self.assert_written([[layer] for layer in wanted])
            read.rewind()

    def test_export(self):
        disks = exports.two_disks()
        read, files = self.open(xva.Export(disks).tar()), []
        found = read.examine(files, None)
        self.assertEqual(['xvda', 'xvdb'],
                         [origin.disk.device for origin, _ in found])
        self.assertEqual(([], 'web-1'), (files, read.guests[0].name))

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

"""What a check and an inspection find out about an image."""

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import exports
from tests.unit.converter import shapes

KIB = 1 << 10
MIB = 1 << 20


class FirstSectors(cases.ConvertCase):

    BOOT = b'\xeb\x63\x90'.ljust(510, b'\0') + b'\x55\xaa'

    def found(self, data):
        """What ``check`` and ``inspect`` find in an image."""
        source = self.source(data)
        checked = api.check(source).first_sectors
        [disk] = api.inspect(source).disks
        self.assertEqual(checked, disk.first_sectors)
        return checked

    def test_of_a_chain(self):
        """The newest layer that has written a sector counts."""
        boot, none = (0, self.BOOT), (0, bytes(512))
        for written, expected in (
                ([[], [boot]], True), ([[none], [boot]], False),
                ([[boot], [none]], True), ([[boot], []], True),
                ([[(1, self.BOOT)], []], False)):
            layers = chains.linked([
                vhd.Layer(96 * KIB, extents) for extents in written])
            for order in ((0, 1), (1, 0)):
                found = self.found(archive.tgz(archive.chain_members(
                    layers, order=order)))
                self.assertEqual(expected, found.has_boot_code)

    def test_of_bare_vhds(self):
        for layer in (shapes.fixed(self.BOOT),
                      vhd.Layer(96 * KIB, [(0, self.BOOT)])):
            self.assertTrue(self.found(layer.tobytes()).has_boot_code)

    def test_of_an_export(self):
        content = xva.random_disk('first', 3 * MIB).content
        content.put(0, self.BOOT)
        for chunk_size in (100, 512, 1 << 20):
            data = xva.Export([xva.Disk(content, chunk_size)]).tar()
            self.assertTrue(self.found(data).has_boot_code)
        empty = xva.random_disk('empty', 512)
        self.assertFalse(
            self.found(xva.Export([empty]).tar()).has_boot_code)


class Inspection(cases.ConvertCase):

    def test_of_an_export(self):
        disks = exports.two_disks()
        found = api.inspect(self.source(xva.Export(disks).tar()))
        self.assertEqual([], found.layers)
        self.assertEqual('web-1', found.guest.name)
        self.assertEqual(
            [(disk.size, disk.device) for disk in disks],
            [(disk.virtual_size, disk.disk.device) for disk in found.disks])
        for disk, seen in zip(disks, found.disks, strict=True):
            self.assertEqual(
                sum(len(chunk.data) for chunk in disk.chunks()), seen.stored)

    def test_of_a_chain(self):
        layers = shapes.chain()
        found = api.inspect(self.source(
            archive.tgz(archive.chain_members(layers))))
        self.assertEqual(3, len(found.layers))
        self.assertIsNone(found.guest)
        self.assertEqual([(96 * KIB, None)], [
            (disk.virtual_size, disk.disk) for disk in found.disks])

    def test_damage_is_found(self):
        data = bytearray(xva.Export(exports.two_disks()).tar())
        data[-5000] ^= 1
        with self.assertRaises(exceptions.XsConvertError):
            api.inspect(self.source(bytes(data)))

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

"""What an image says about itself in its first file, read without the rest."""

import io
import random

import ddt

from glance_xs_convert.converter import convert
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results

from testbed.images import archive
from testbed.images import chains
from testbed.images import ova
from testbed.images import sparse
from testbed.images import vhd
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import shapes
from tests.unit.converter import sources

MIB = 1 << 20
#: How far an archive is read ahead of the description, in bytes.
AHEAD = 12 * MIB


def export(**vm):
    data = sparse.Sparse()
    data.put(0, random.Random('data').randbytes(3 * MIB))
    return xva.Export([
        xva.Disk(data, ref='Ref:7', device='xvdb', userdevice='1',
                 bootable=False),
        xva.random_disk('system', 40 * MIB, ref='Ref:8', device='xvda',
                        userdevice='0')], vm=vm).tar()


def describe(data):
    """Describe data that can be read once, as from a pipe."""
    return convert.describe(sources.OnceOnly(io.BytesIO(data)))


@ddt.ddt
class Describe(cases.ConvertCase):

    def assert_export(self, found):
        self.assertEqual(
            [('Ref:8', 'xvda', '0', 40 * MIB, True),
             ('Ref:7', 'xvdb', '1', 3 * MIB, False)],
            [(disk.ref, disk.device, disk.position, disk.size, disk.bootable)
             for disk in found.disks])
        guest, = found.guests
        self.assertEqual(('web-1', 'uefi', 2 << 30),
                         (guest.name, guest.firmware, guest.memory))

    def test_export(self):
        self.assert_export(describe(export(**xva.UEFI)))

    def test_beginning_of_an_export(self):
        """The rest is neither there nor missed."""
        self.assert_export(describe(export(**xva.UEFI)[:MIB]))

    @ddt.data(*sources.COMPRESSIONS)
    def test_beginning_of_a_compressed_export(self, name):
        data = sources.COMPRESSIONS[name](export(**xva.UEFI))
        self.assert_export(describe(data[:2 * MIB]))

    def test_reads_no_more_than_it_needs(self):
        source = io.BytesIO(export(**xva.UEFI))
        self.assert_export(convert.describe(source))
        self.assertLess(source.tell(), AHEAD)

    def test_package(self):
        """Its sizes are the VHDs' affair."""
        data = ova.Package([
            ova.Machine([ova.Disk(vhd.Layer(MIB, [(0, b'x' * 512)]),
                                  name=name)], name)
            for name in ('web', 'db')]).tar()
        for whole in (data, data[:64 * 1024]):
            found = describe(whole)
            self.assertEqual(['web', 'db'],
                             [guest.name for guest in found.guests])
            self.assertEqual([('web', 0), ('db', 0)],
                             [(disk.machine, disk.size)
                              for disk in found.disks])

    def test_without_description(self):
        layers = chains.linked([vhd.Layer(MIB, [(0, b'x' * 512)])])
        for data in (archive.tgz(archive.chain_members(layers)),
                     layers[0].tobytes(), shapes.fixed().tobytes()):
            self.assertEqual(results.Description([], []), describe(data))

    def test_no_image(self):
        with self.assertRaisesRegex(exceptions.NotAnArchive, 'HTML'):
            describe(b'<!DOCTYPE html><html>Log in</html>'.ljust(5000))

    def test_damaged(self):
        with self.assertRaises(exceptions.DamagedExport):
            describe(export().replace(b'<value>', b'<xalue>', 1))
        with self.assertRaises(exceptions.XsConvertError):
            describe(export()[:600])

    def test_too_many_disks(self):
        disks = [xva.Disk(xva.random_disk(0, 512).content, ref=f'Ref:{n}',
                          device=f'd{n}', userdevice=str(n))
                 for n in range(results.MOST_DISKS + 1)]
        with self.assertRaises(exceptions.LimitExceeded):
            convert.describe(io.BytesIO(xva.Export(disks).tar()),
                             limits=image_limits.DEFAULT)

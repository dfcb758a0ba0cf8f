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


"""The members' names decide the order."""

import os
import tarfile

import ddt


from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
pattern = chains.pattern
chain = shapes.chain


@ddt.ddt
class Names(cases.ConvertCase):

    @ddt.named_data(
        ('all', 3, archive.OLD_NAMES),
        ('image_base', 2, ('image.vhd', 'base.vhd')),
        ('snap_base', 2, ('snap.vhd', 'base.vhd')),
        ('snap_image', 2, ('snap.vhd', 'image.vhd')),
        ('image', 1, ('image.vhd',)),
        ('base', 1, ('base.vhd',)),
    )
    @ddt.unpack
    def test_old_names(self, count, names):
        layers = chain(count)
        for order in (range(count), range(count)[::-1]):
            for prefix in ('', './'):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(
                        layers, [prefix + name for name in names], order)))
                self.target.unlink()

    @ddt.data('disk.vhd', 'image.vhd', './7b21a3de-0001.vhd', 'a b.vhd',
              'x/y/z.vhd', 'größe.vhd', 'DISK.VHD', '-.vhd',
              'n' * 150 + '.vhd')
    def test_single(self, name):
        layers = chain(1)
        result = self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, [name])))
        self.assertIn(os.path.basename(name), result.layers[0].name)

    @ddt.data('disk', './disk.img', 'image.vhd.bak')
    def test_single_without_the_suffix(self, name):
        self.assert_converts(chain(1), archive.tgz(
            archive.chain_members(chain(1), [name])))
        self.target.unlink()
        fixed = [vhd.Layer(MIB, [(0, pattern(0)), (9, pattern(9, 9))],
                           disk_type=vhd.FIXED)]
        self.assert_converts(fixed, archive.tgz(
            archive.chain_members(fixed, [name])))

    def test_numbers_of_two_digits_are_numbers(self):
        layers = [vhd.Layer(64 * KIB, [(0, pattern(i)), (i + 1, pattern(i))])
                  for i in range(12)]
        layers = chains.linked(layers)
        self.assert_converts(layers, archive.tgz(archive.chain_members(
            layers, order=sorted(range(12), key=str))))

    def ignored(self, *members):
        """Put members before, between and behind a chain's."""
        layers = chain()
        good = archive.chain_members(layers, order=(1, 0, 2))
        for place in range(4):
            self.assert_converts(layers, archive.tgz(
                [*good[:place], *members, *good[place:]]))
            self.target.unlink()

    def test_swap_is_ignored(self):
        self.ignored(archive.Member(
            './swap.vhd', vhd.Layer(MIB, [(0, pattern('swap'))]).image()))

    def test_damaged_swap_is_ignored(self):
        self.ignored(archive.Member('swap.vhd', b'conectix' * 100))

    def test_swap_beside_old_names(self):
        layers = chain()
        self.assert_converts(layers, archive.tgz([
            archive.Member('swap.vhd', vhd.Layer(MIB).image()),
            *archive.chain_members(layers, archive.OLD_NAMES)]))

    def test_text_is_ignored(self):
        self.ignored(archive.Member('./manifest.ovf', b'<Envelope/>' * 99),
                     archive.Member('empty'),
                     archive.Member('0.vhd.sha256', b'0' * 64))

    def test_directories_are_ignored(self):
        self.ignored(archive.directory('./'), archive.directory('./empty/'))

    @ddt.data(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
              tarfile.CHRTYPE, tarfile.BLKTYPE)
    def test_other_kinds_are_ignored(self, kind):
        self.ignored(archive.Member('other', type=kind, linkname='./0.vhd'))

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


"""Sound VHDs that are refused because they are not one chain."""


import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

chain = shapes.chain
with_layer = shapes.with_layer


def packed(layers, names=None, order=None):
    """The chain in a .tgz."""
    return archive.tgz(archive.chain_members(layers, names, order))


@ddt.ddt
class Chains(cases.ConvertCase):
    """Sound VHDs that are not one chain."""

    ORDERS = ((0, 1, 2), (2, 1, 0), (1, 2, 0))

    @ddt.data((0, 2), (2, 0), (0, 2, 3), (3, 0, 2), (2, 3, 0))
    def test_gap(self, order):
        layers = chain(max(order) + 1)
        self.assert_refused(packed(layers, order=order),
                            exceptions.MissingLayer, '1.vhd')

    @ddt.data((1, 2), (2, 1), (1,), (2,))
    def test_no_leaf(self, order):
        self.assert_refused(packed(chain(), order=order),
                            exceptions.BrokenChain, '.vhd')

    @ddt.data((0,), (0, 1), (1, 0))
    def test_missing_base(self, order):
        self.assert_refused(packed(chain(), order=order),
                            exceptions.MissingBase, f'{max(order)}.vhd')

    def test_missing_base_of_a_single_vhd(self):
        layers = chain(2)[:1]
        for name in ('disk.vhd', 'snap.vhd', 'base.vhd'):
            self.assert_refused(packed(layers, [name]),
                                exceptions.MissingBase, name)

    @ddt.data((0, 1, 2), (2, 1, 0), (1, 2, 0))
    def test_layer_in_the_middle_that_is_no_differencing_disk(self, order):
        for disk_type in (vhd.DYNAMIC, vhd.FIXED):
            for number in (0, 1):
                layers = with_layer(chain(), number, disk_type=disk_type)
                self.assert_refused(packed(layers, order=order),
                                    exceptions.NotDifferencing,
                                    f'{number}.vhd')

    @ddt.data((0, 2), (0, 0), (1, 0), (1, 1))
    @ddt.unpack
    def test_parent_id_of_another_member(self, number, parent):
        layers = with_layer(chain(), number,
                            parent_unique_id=chains.layer_id(parent))
        for order in self.ORDERS:
            self.assert_refused(packed(layers, order=order),
                                exceptions.WrongParent, f'{number}.vhd')

    def test_layers_swapped(self):
        layers = chain(4)
        layers[1:3] = layers[2:0:-1]
        self.assert_refused(packed(layers), exceptions.WrongParent, '.vhd')

    @ddt.data(('0.vhd', './0.vhd'), ('./1.vhd', './1.vhd'),
              ('2.vhd', './/2.vhd'))
    @ddt.unpack
    def test_number_twice(self, first, second):
        layers = chain()
        names = archive.names(3)
        number = int(first[-5])
        names[number] = first
        again = archive.Member(second, layers[number].image())
        members = archive.chain_members(layers, names)
        for placed in ([again, *members], [*members, again]):
            self.assert_refused(archive.tgz(placed),
                                exceptions.XsConvertError, f'{number}.vhd')

    def test_number_twice_in_two_directories(self):
        layers = chain(1)
        self.assert_refused(archive.tgz(
            archive.chain_members(layers, prefix='a/')
            + archive.chain_members(layers, prefix='b/')),
            exceptions.BrokenChain, '0.vhd')

    def test_old_name_twice(self):
        layers = chain()
        members = archive.chain_members(layers, archive.OLD_NAMES)
        self.assert_refused(archive.tgz([*members, members[1]]),
                            exceptions.BrokenChain, 'image.vhd')

    def test_chain_of_31(self):
        self.assert_refused(packed(chain(31)), exceptions.LimitExceeded)

    def test_chain_longer_than_the_limit(self):
        self.assert_refused(
            packed(chain(4)), exceptions.LimitExceeded,
            limits=image_limits.Limits(max_chain_length=3))

    @ddt.data('30.vhd', '999.vhd')
    def test_number_beyond_the_limit(self, name):
        self.assert_refused(packed(chain(2), ['0.vhd', name]),
                            exceptions.MissingLayer, name)

    @ddt.data('4294967296.vhd', '9' * 80 + '.vhd')
    def test_huge_number(self, name):
        """It may be a date, so the UUIDs decide."""
        self.assert_converts(chain(2), packed(chain(2), ['0.vhd', name]))

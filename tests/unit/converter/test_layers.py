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

import unittest

import ddt

from glance_xs_convert.converter import layers
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

GIB = 1 << 30


@ddt.ddt
class Sizes(unittest.TestCase):

    def test_exactly_the_limit(self):
        bounds = image_limits.Limits(max_virtual_size=GIB, max_disk_size=GIB)
        layers.check_size(GIB, '0.vhd', bounds)
        layers.check_disk(GIB, '0.vhd', bounds)

    @ddt.data(('', 'the limit'), ('max_virtual_size', 'max_virtual_size'))
    @ddt.unpack
    def test_a_layer_is_too_large(self, option, name):
        bounds = image_limits.Limits(max_virtual_size=GIB, size_limit=option)
        with self.assertRaises(exceptions.LimitExceeded) as caught:
            layers.check_size(GIB + 1, '1.vhd', bounds)
        self.assertEqual(
            f'1.vhd: the disk has 1.0 GiB (1073741825 bytes), more than '
            f'{name}, which is 1 GiB (1073741824 bytes)',
            str(caught.exception))

    def test_the_disk_is_too_large(self):
        bounds = image_limits.Limits(
            max_disk_size=512, disk_limit='what is left of the quota')
        with self.assertRaises(exceptions.DiskTooLarge) as caught:
            layers.check_disk(513, '0.vhd', bounds)
        self.assertEqual(
            '0.vhd: the disk has 513 bytes, more than what is left of the '
            'quota, which is 512 bytes', str(caught.exception))

    def test_layers_may_be_larger_than_the_disk(self):
        layers.check_size(GIB, '1.vhd', image_limits.Limits(max_disk_size=512))

    def test_no_limit_on_the_disk(self):
        layers.check_disk(1 << 60, '0.vhd', image_limits.Limits())

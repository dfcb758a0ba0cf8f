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

"""What a layer hands to the disk."""

import unittest

import ddt

from glance_xs_convert.converter.disk import extents


@ddt.ddt
class Extent(unittest.TestCase):

    @ddt.data((0, 0), (1, 1), (511, 1), (512, 1), (513, 2), (4096, 8))
    @ddt.unpack
    def test_sectors(self, size, count):
        """The last one counts, though it may be shorter."""
        self.assertEqual(count, extents.Extent(0, size, 0).sectors)
        self.assertEqual('1' * count or '0',
                         f'{extents.all_written(size):b}')

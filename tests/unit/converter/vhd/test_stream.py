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

"""The file of one VHD is read forward only."""

import unittest

import ddt

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

DATA = bytes(range(256)) * 8


def new(data=DATA, size=None, **bounds):
    return stream.VhdStream(
        '0.vhd', len(data) if size is None else size,
        forward.ForwardReader([data[:700], data[700:]]),
        image_limits.Limits(**bounds))


@ddt.ddt
class VhdStream(unittest.TestCase):

    def test_forward(self):
        file = new()
        self.assertEqual(DATA[10:20], file.read_at(10, 10))
        self.assertEqual(DATA[650:750], file.read_at(650, 100))
        file.go_to(2000)
        self.assertEqual(DATA[2000:], file.data.read(48))

    def test_back(self):
        """Another pass is necessary then."""
        file = new()
        file.read_at(10, 10)
        with self.assertRaises(layers.NotInOrder):
            file.read_at(19, 1)
        file.go_to(20)

    def test_bytes_that_are_put_back(self):
        file = new()
        file.put_back(file.read_at(600, 200))
        self.assertEqual(DATA[600:900], file.read_at(600, 300))
        file.put_back(b'')
        with self.assertRaises(layers.NotInOrder):
            file.go_to(899)

    def test_end(self):
        file = new(size=5000)
        with self.assertRaises(EOFError):
            file.read_at(2000, 49)

    @ddt.data((1536, 1024), (1535, 1024), (1537, 1025), (512, 0))
    @ddt.unpack
    def test_footer(self, size, data_end):
        """It has 511 bytes only where that makes up whole sectors."""
        file = new(bytes(size))
        self.assertEqual(data_end, file.data_end)
        self.assertTrue(file.has_bytes(0, data_end))
        self.assertFalse(file.has_bytes(1, data_end))

    def test_largest_disk(self):
        file = new(max_virtual_size=1 << 30)
        file.check_limit(1 << 30)
        with self.assertRaises(exceptions.LimitExceeded) as caught:
            file.check_limit((1 << 30) + 1)
        self.assertEqual('0.vhd', caught.exception.member)

    def test_damage(self):
        error = new().damaged('it is odd', 77)
        self.assertEqual(('0.vhd', 77), (error.member, error.offset))

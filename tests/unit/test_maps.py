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

"""Maps of disks: how extents are joined, judged and counted."""

import struct
import unittest

import ddt

from glance_xs_convert import maps

MIB = 1 << 20


def packed(*extents):
    """Extents as a process would write them that does as it likes."""
    return b''.join(struct.pack('<QQH', *extent) for extent in extents)


@ddt.ddt
class DiskMap(unittest.TestCase):

    def test_extents_that_touch_become_one(self):
        found = maps.DiskMap.of(8192, 2, [
            (0, 512, 0), (512, 512, 0), (1024, 512, 1), (2048, 512, 1),
            (2560, 1024, 1)])
        self.assertEqual(
            [(0, 1024, 0), (1024, 512, 1), (2048, 1536, 1)], list(found))
        self.assertEqual([(0, 1024)], list(found.extents(0)))
        self.assertEqual([1024, 2048], found.sizes())
        self.assertTrue(found.is_sound())

    def test_first_extent_may_be_of_any_layer(self):
        self.assertEqual([(0, 512, 1)],
                         list(maps.DiskMap.of(512, 2, [(0, 512, 1)])))

    def test_nothing_written(self):
        found = maps.DiskMap.of(512, 1, [])
        self.assertEqual(([], [0], True),
                         (list(found), found.sizes(), found.is_sound()))

    @ddt.data(
        packed((0, 512, 2)), packed((512, 512, 0), (0, 512, 0)),
        packed((0, 1024, 0), (512, 512, 1)), packed((0, 0, 0)),
        packed((0, 4097, 0)), packed((4096, 512, 0)),
        packed((2 ** 64 - 1, 2 ** 64 - 1, 0)), packed((0, 512, 0))[:-1])
    def test_unsound(self, data):
        self.assertFalse(maps.DiskMap(4096, 2, data).is_sound())

    def test_cells(self):
        found = maps.DiskMap.of(4 * MIB - 512, 2, [
            (MIB - 512, 1024, 1), (2 * MIB, 2 * MIB - 512, 0)])
        self.assertEqual(
            [[0, 512], [0, 512], [MIB, 0], [MIB - 512, 0]],
            found.cells(MIB))
        self.assertEqual([[2 * MIB - 512, 1024]], found.cells(4 * MIB))

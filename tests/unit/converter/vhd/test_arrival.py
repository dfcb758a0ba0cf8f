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

"""Places that VHDs get while others are still to come."""

import unittest
import uuid

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.vhd import arrival
from glance_xs_convert.converter.vhd import names
from glance_xs_convert import results


def number(value):
    return None if value is None else uuid.UUID(int=value)


class Arrivals(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.arrivals = arrival.Arrivals()

    def from_first(self, *ranks):
        return [arrival.FIRST + rank for rank in ranks]

    def rank(self, name, own=None, parent=None):
        return self.arrivals.rank(name, names.parse(name), number(own),
                                  number(parent))

    def test_numbers(self):
        self.assertEqual([1, 0, 2], [self.rank(name) for name in (
            '1.vhd', '0.vhd', '2.vhd')])

    def test_parents_below_their_children(self):
        self.assertEqual(self.from_first(0, 1, 2), [
            self.rank('c', 3, 2), self.rank('b', 2, 1), self.rank('a', 1)])

    def test_children_above_their_parents(self):
        self.assertEqual(self.from_first(0, -1, -2), [
            self.rank('a', 1), self.rank('b', 2, 1), self.rank('c', 3, 2)])

    def test_a_name_beside_numbers(self):
        self.assertEqual([0, 1, -1], [
            self.rank('0.vhd', 2, 1), self.rank('1.vhd', 1),
            self.rank('delta.vhd', 3, 2)])

    def test_one_base_and_one_difference(self):
        self.assertEqual(self.from_first(0, -1), [
            self.rank('a', 1), self.rank('b', 2, 7)])

    def test_one_difference_and_one_base(self):
        self.assertEqual(self.from_first(0, 1), [
            self.rank('b', 2, 7), self.rank('a', 1)])

    def test_a_base_whose_uuid_follows(self):
        self.assertEqual(arrival.FIRST, self.rank('a'))
        self.arrivals.complete(arrival.FIRST, results.Vhd(
            'a', 'fixed', 512, 512, 1024, 'tap 1.3', str(number(1)), None,
            False))
        self.assertEqual(arrival.FIRST - 1, self.rank('b', 2, 1))

    def assert_unknown(self, name, own, parent=None):
        with self.assertRaises(layers.NotInOrder):
            self.rank(name, own, parent)

    def test_between_two_that_are_apart(self):
        self.rank('a', 1)
        self.rank('b', 2, 1)
        self.assert_unknown('d', 4, 3)

    def test_two_children(self):
        self.rank('a', 1)
        self.rank('b', 2, 1)
        self.assert_unknown('c', 3, 1)

    def test_uuids_that_name_two_places(self):
        self.rank('c', 3, 2)
        self.rank('b', 2, 1)
        self.assert_unknown('x', 1, 3)

    def test_zeros_name_nobody(self):
        self.rank('b', 2, 0)
        self.rank('a', 0)
        self.assert_unknown('c', 3, 0)

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

"""Pauses grow, and are not the same for all."""

import itertools
import unittest

from glance_xs_convert.migrate import patience


class TestPauses(unittest.TestCase):
    """Pauses are random within bounds."""

    def test_back_off(self):
        one, other = (list(patience.back_off(8)) for _ in range(2))
        self.assertNotEqual(one, other)
        for number, pause in enumerate(one):
            longest = min(0.5 * 2 ** number, 30)
            self.assertTrue(longest / 2 <= pause <= longest)

    def test_polls_and_turns(self):
        for pauses, longest in ((patience.polls(), 4),
                                (patience.turns(), 60)):
            some = list(itertools.islice(pauses, 100))
            self.assertLessEqual(max(some), longest)
            self.assertLess(some[0], some[99])


class TestClock(unittest.TestCase):
    """A clock can be ended."""

    def test_end(self):
        clock = patience.Clock()
        clock.pause(0)
        clock.end()
        self.assertTrue(clock.ended)
        with self.assertRaises(patience.Interrupted):
            clock.pause(60)

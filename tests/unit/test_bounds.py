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

"""Which values fields may have."""

import unittest

import ddt

from glance_xs_convert import bounds


@ddt.ddt
class Bounds(unittest.TestCase):

    @ddt.data((-1, False), (0, True), (7, True), (8, False))
    @ddt.unpack
    def test_between(self, value, expected):
        self.assertIs(expected, bounds.Between(0, 7).accepts(value))

    @ddt.data(('', True), ('name', True), ('four5', False), ('a\n', False),
              ('\u202e', False), ('\ud800', False), ('\U0001f600', False),
              ('\u00e4\u2026', True))
    @ddt.unpack
    def test_printable(self, value, expected):
        self.assertIs(expected, bounds.Printable(4).accepts(value))

    @ddt.data(('ab', True), ('ab\n', False), ('xab', False), ('', False))
    @ddt.unpack
    def test_matches(self, value, expected):
        self.assertIs(expected, bounds.Matches('[ab]+').accepts(value))

    @ddt.data(([], True), ([1, 2], True), ([1, 2, 3], False))
    @ddt.unpack
    def test_at_most(self, value, expected):
        self.assertIs(expected, bounds.AtMost(2).accepts(value))

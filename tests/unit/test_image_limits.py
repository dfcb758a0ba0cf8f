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

"""The limits that hold where nobody sets others."""

import unittest

from glance_xs_convert import image_limits


class Defaults(unittest.TestCase):

    def test_what_xenserver_makes_is_allowed(self):
        found = image_limits.Limits()
        self.assertEqual(2040 * 2 ** 30, found.max_virtual_size)
        self.assertEqual(30, found.max_chain_length)

    def test_limits_stay_as_they_are(self):
        with self.assertRaises(AttributeError):
            image_limits.Limits().max_members = 5

    def test_largest_disk(self):
        for disk, largest in ((None, 100), (50, 50), (200, 100)):
            self.assertEqual(largest, image_limits.Limits(
                max_virtual_size=100, max_disk_size=disk).largest_disk)

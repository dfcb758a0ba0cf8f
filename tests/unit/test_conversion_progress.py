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

"""How far a conversion is."""

import unittest

import ddt

from glance_xs_convert import conversion_progress


@ddt.ddt
class Fraction(unittest.TestCase):

    @ddt.data((None, 5, None), (0, 0, None), (100, 0, 0), (100, 25, 0.25),
              (100, 100, 1), (100, 130, 1))
    @ddt.unpack
    def test_fraction(self, size, read, fraction):
        """The archive may have grown since its size was looked up."""
        self.assertEqual(fraction, conversion_progress.Progress(
            source_size=size, source_read=read).fraction)

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

"""What bzip2 data is."""

import bz2
import random
import unittest

from glance_xs_convert.converter.streams import bzip2

DATA = random.Random('bzip2').randbytes(1000)


class Bzip2(unittest.TestCase):

    def test_what_is_bzip2(self):
        for level in (1, 9):
            for data in (b'', b'x', DATA):
                self.assertTrue(bzip2.is_bzip2(bz2.compress(data, level)))
        for other in (b'', b'BZ', b'BZh', b'BZh9', b'BZh0' + bytes(9),
                      b'BZhello, this is text'):
            self.assertFalse(bzip2.is_bzip2(other))

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

"""Names and numbers as people read them."""

import unittest

import ddt

from glance_xs_convert import text

KIB, MIB, GIB = 1024, 1024 ** 2, 1024 ** 3


@ddt.ddt
class Size(unittest.TestCase):

    @ddt.data((0, '0 B'), (1023, '1023 B'), (1024, '1 KiB'),
              (1536, '1.5 KiB'), (MIB - 1, '1024.0 KiB'), (MIB, '1 MiB'),
              (2040 * GIB, '2.0 TiB'), (5 << 60, '5242880 TiB'))
    @ddt.unpack
    def test_size(self, number, shown):
        self.assertEqual(shown, text.size(number))

    def test_count(self):
        self.assertEqual(['0 layers', '1 layer', '2 layers'],
                         [text.count(number, 'layer') for number in range(3)])


@ddt.ddt
class Printable(unittest.TestCase):

    @ddt.data(('0.vhd', '0.vhd'), ('Müller.vhd', 'Müller.vhd'),
              ('a\nb', r'a\x0ab'), ('\x1b[31m', r'\x1b[31m'),
              ('\U0001f4be.vhd', r'\x1f4be.vhd'),
              ('x' * 200, 'x' * 200), ('x' * 201, 'x' * 200 + '…'))
    @ddt.unpack
    def test_printable(self, name, shown):
        self.assertEqual(shown, text.printable(name))

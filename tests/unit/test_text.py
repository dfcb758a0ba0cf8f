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
              (1536, '1.5 KiB'), (MIB - 1, '1.0 MiB'), (MIB, '1 MiB'),
              (MIB - 52, '1023.9 KiB'), (GIB - 1, '1.0 GiB'),
              (1 - MIB, '-1.0 MiB'), (2040 * GIB, '2.0 TiB'),
              (2 ** 60 - 1, '1048576.0 TiB'), (5 << 60, '5242880 TiB'))
    @ddt.unpack
    def test_size(self, number, shown):
        self.assertEqual(shown, text.size(number))

    @ddt.data((0, '0 bytes'), (1, '1 byte'), (1023, '1023 bytes'),
              (1024, '1 KiB (1024 bytes)'), (-1, '-1 bytes'),
              (8 * GIB, '8 GiB (8589934592 bytes)'),
              (8 * GIB - 1, '8.0 GiB (8589934591 bytes)'))
    @ddt.unpack
    def test_exact_size(self, number, shown):
        self.assertEqual(shown, text.exact_size(number))

    def test_count(self):
        self.assertEqual(['0 layers', '1 layer', '2 layers'],
                         [text.count(number, 'layer') for number in range(3)])


@ddt.ddt
class Duration(unittest.TestCase):

    @ddt.data((0, '0 s'), (59.4, '59 s'), (75, '1 min 15 s'),
              (3600, '1 h 0 min'), (7380.2, '2 h 3 min'))
    @ddt.unpack
    def test_duration(self, seconds, shown):
        self.assertEqual(shown, text.duration(seconds))


@ddt.ddt
class Spreadsheet(unittest.TestCase):

    @ddt.data('=1', '+1', '-1', '@x', ' =1', '＝1', '＋', '－', '＠')
    def test_formula(self, cell):
        self.assertEqual(f"'{cell}", text.for_spreadsheet(cell))

    @ddt.data('', 'a', '1=1', 'x@y', '1')
    def test_text(self, cell):
        self.assertEqual(cell, text.for_spreadsheet(cell))


class OneLine(unittest.TestCase):

    def test_error(self):
        self.assertEqual(r'a b \x1b', text.one_line(OSError('a\n\tb \x1b')))
        self.assertEqual('OSError', text.one_line(OSError()))
        self.assertLess(len(text.one_line(OSError('x' * 9999))), 1100)


@ddt.ddt
class Printable(unittest.TestCase):

    @ddt.data(('0.vhd', '0.vhd'), ('Müller.vhd', 'Müller.vhd'),
              ('a\nb', r'a\x0ab'), ('\x1b[31m', r'\x1b[31m'),
              ('a\u202eb', r'a\x202eb'),
              ('\U0001f4be.vhd', r'\x1f4be.vhd'),
              ('x' * 200, 'x' * 200), ('x' * 201, 'x' * 200 + '…'))
    @ddt.unpack
    def test_printable(self, name, shown):
        self.assertEqual(shown, text.printable(name))


@ddt.ddt
class Tags(unittest.TestCase):

    def test_tag_comes_back(self):
        message = text.tagged('The archive is cut short.', 'DamagedArchive')
        self.assertEqual('The archive is cut short. [DamagedArchive]',
                         message)
        self.assertEqual('DamagedArchive', text.tag_of(message))

    @ddt.data('', 'The archive is cut short.', '[DamagedArchive] at first',
              'a member called x [NoVhd].', 'no space[NoVhd]', 'x []',
              'x [No Vhd]', 'x [NoVhd]\n', f'x [{"N" * 65}]', 'x [Nö]')
    def test_no_tag(self, message):
        self.assertIsNone(text.tag_of(message))

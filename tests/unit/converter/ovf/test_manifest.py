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

import codecs
import hashlib
import unittest

import ddt

from glance_xs_convert.converter.ovf import manifest

SHA1 = hashlib.sha1(b'x', usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(b'x').hexdigest()
SHA512 = hashlib.sha512(b'x').hexdigest()


def parse(*lines, mark=b''):
    return manifest.parse(
        mark + '\n'.join(lines).encode('utf-8', 'surrogateescape'), 'web.mf')


@ddt.ddt
class Manifest(unittest.TestCase):

    @ddt.data(('SHA1', 'sha1', SHA1), ('SHA256', 'sha256', SHA256),
              ('SHA-256', 'sha256', SHA256), ('sha512', 'sha512', SHA512))
    @ddt.unpack
    def test_algorithms(self, written, name, digits):
        found = parse(f'{written}(disk.vhd)= {digits.upper()}')
        self.assertEqual(({'disk.vhd': (name, digits)}, []), found)

    @ddt.data('SHA1(a (1).vhd)= {}', ' SHA1 (a (1).vhd) = {} ',
              'SHA1(a (1).vhd)={}\r')
    def test_forms(self, line):
        found = parse('', line.format(SHA1), '')
        self.assertEqual(({'a (1).vhd': ('sha1', SHA1)}, []), found)

    def test_byte_order_mark(self):
        found = parse(f'SHA1(a)= {SHA1}', mark=codecs.BOM_UTF8)
        self.assertEqual(({'a': ('sha1', SHA1)}, []), found)

    @ddt.data('no checksum', f'SHA1(a)= {SHA1[1:]}', f'SHA256(a)= {SHA1}',
              f'MD5(a)= {SHA1[:32]}', f'SHA1 a = {SHA1}', 'SHA1(a)= ',
              '\x1b[31m', '\udcff')
    def test_lines_that_say_nothing(self, line):
        """They are told, in a form that is safe to show."""
        found = parse(f'SHA1(b)= {SHA1}', line, line)
        self.assertEqual({'b': ('sha1', SHA1)}, found.sums)
        [note] = found.notes
        self.assertRegex(note, '^web.mf holds 2 lines without a checksum')
        self.assertTrue(note.isprintable(), note)

    def test_case(self):
        found = parse(f'SHA1(Disk.VHD)= {SHA1}', f'SHA256(disk.vhd)= {SHA256}')
        self.assertEqual('sha256', found.sum_of('disk.vhd').algorithm)
        self.assertEqual('sha1', found.sum_of('DISK.vhd').algorithm)
        self.assertIsNone(found.sum_of('other.vhd'))

    def test_many_lines(self):
        found = parse(*[f'SHA1({number})= {SHA1}' for number in range(20_000)])
        self.assertEqual(10_000, len(found.sums))

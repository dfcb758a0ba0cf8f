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

"""What names and first and last bytes tell."""

import unittest

import ddt

from glance_xs_convert.converter.vhd import names

from testbed.images import vhd


@ddt.ddt
class Parts(unittest.TestCase):

    @ddt.data(
        ('0.vhd', ('', '0', '.vhd')), ('./0.VHD', ('', '0', '.vhd')),
        ('.//a/./B/x.y.avhd', ('a/B', 'x.y', '.avhd')),
        ('disk', ('', 'disk', '')), ('a/.vhd', ('a', '', '.vhd')),
        ('', ('', '', '')), ('./', ('', '', '')))
    @ddt.unpack
    def test_parts(self, path, parts):
        self.assertEqual(parts, tuple(names.parse(path)))

    @ddt.data(('a.vhd', True), ('A.AVHD', True), ('._a.vhd', False),
              ('a.vhdx', False), ('vhd', False), ('a.vhd.gz', False),
              ('a.img', False), ('x/.vhd', True))
    @ddt.unpack
    def test_claims(self, path, claims):
        self.assertEqual(claims, names.parse(path).claims)

    @ddt.data(('swap.vhd', True), ('a/Swap.VHD', True), ('swap', False),
              ('swap.avhd', False), ('swap1.vhd', False))
    @ddt.unpack
    def test_swap(self, path, is_swap):
        self.assertEqual(is_swap, names.parse(path).is_swap)

    @ddt.data(('0.vhd', 0), ('007.img', 7), ('12', 12), ('999.vhd', 999),
              ('0' * 30 + '.vhd', 0), ('1000.vhd', None),
              ('20240101.vhd', None), ('-1.vhd', None), ('1.0.vhd', None),
              ('\u0661.vhd', None), ('a1.vhd', None), ('.vhd', None))
    @ddt.unpack
    def test_numbers(self, path, number):
        self.assertEqual(number, names.parse(path).number)

    def test_paths_of_one_file(self):
        for path in ('a/b.vhd', './a/b.vhd', './/a//./b.vhd'):
            self.assertEqual('a/b.vhd', names.normalized(path))
        self.assertNotEqual('a/b.vhd', names.normalized('a/B.vhd'))


@ddt.ddt
class Ranks(unittest.TestCase):

    @ddt.data(
        (['2.vhd', '0.vhd'], [2, 0]), (['./0.vhd', '01.VHD'], [0, 1]),
        (['a/0', 'a/1'], [0, 1]), (['base.vhd', 'Snap.vhd'], [2, 0]),
        (['image.vhd'], [1]), (['7.vhd'], [7]),
        (['7.img'], None), (['0.vhd', '1.avhd'], None),
        (['a/0.vhd', 'b/1.vhd'], None), (['0.vhd', 'snap.vhd'], None),
        (['snap.avhd', 'base.avhd'], None), (['a.vhd', '1.vhd'], None),
        (['a.vhd'], None), ([], None))
    @ddt.unpack
    def test_ranks(self, paths, ranks):
        self.assertEqual(ranks, names.ranks(
            [names.parse(path) for path in paths]))


@ddt.ddt
class Ends(unittest.TestCase):

    def test_of_a_vhd(self):
        data = vhd.Layer(8 << 20).tobytes()
        self.assertTrue(names.has_vhd_start(data[:names.START_SIZE]))
        self.assertTrue(names.has_vhd_end(data[-512:]))
        self.assertTrue(names.has_vhd_end(data[-512:-1]))

    def test_of_a_damaged_one(self):
        data = bytes(512) + vhd.Layer(8 << 20).tobytes()[512:]
        self.assertTrue(names.has_vhd_start(data[:names.START_SIZE]))
        self.assertTrue(names.has_vhd_start(b'conectix'))

    @ddt.data(b'', b'conecti', bytes(520), bytes(511) + b'cxsparse ')
    def test_of_something_else(self, data):
        self.assertFalse(names.has_vhd_start(data))
        self.assertFalse(names.has_vhd_end(data))

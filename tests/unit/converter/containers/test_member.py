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

"""The members of an archive, as their readers take them."""

import random
import unittest

import ddt

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions

DATA = random.Random('member').randbytes(9000)


def new(data, name='0.vhd'):
    return member.Member(0, name, len(data), forward.Window(
        forward.ForwardReader([data, b'the next member']), len(data)))


@ddt.ddt
class Member(unittest.TestCase):

    @ddt.data(0, 1, 511, 2047, 2048, 2049, 2048 + 511, 2048 + 513, 9000)
    def test_skim(self, size):
        """Both ends are told, whether or not they overlap."""
        data = DATA[:size]
        item = new(data)
        found = item.skim()
        self.assertEqual((data[:2048], data[-512:], size),
                         (found.start, found.end, found.size))
        self.assertEqual(size, item.data.position)

    def test_peek_uses_nothing_up(self):
        item = new(DATA)
        self.assertEqual(DATA[:512], item.peek(512))
        self.assertEqual(0, item.data.position)
        self.assertEqual(DATA[:100], item.peek(100))
        self.assertEqual(DATA, item.data.read(9000))

    def test_peek_at_a_short_one(self):
        item = new(b'short')
        self.assertEqual(b'short', item.peek(512))
        self.assertEqual(b'short', item.skim().start)

    def test_name_that_is_safe_to_show(self):
        item = new(b'', 'a\n\x1b[31m.vhd')
        self.assertEqual('a\n\x1b[31m.vhd', item.path)
        self.assertTrue(item.name.isprintable())
        self.assertTrue(item.skim().name.isprintable())


class ArchiveReader(unittest.TestCase):

    def test_end_names_the_member(self):
        reader = member.ArchiveReader([b'some ', b'bytes'])
        reader.inside = '1.vhd'
        with self.assertRaisesRegex(exceptions.DamagedArchive,
                                    'cut short') as caught:
            reader.read(11)
        self.assertEqual(('1.vhd', 10), (caught.exception.member,
                                         caught.exception.offset))

    def test_rest(self):
        reader = member.ArchiveReader([b'ab', b'', b'cdef', b''])
        reader.read(1)
        self.assertEqual(6, reader.read_rest())
        self.assertEqual(6, reader.read_rest())

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

"""Declarations of fields read and write the same bytes."""

import dataclasses
from typing import ClassVar
import unittest
import uuid

from glance_xs_convert.converter.vhd import record

ID = uuid.UUID('00010203-0405-0607-0809-0a0b0c0d0e0f')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(record.Record):
    cookie: bytes = record.cookie(b'sample')
    long: int = record.number(8)
    short: int = record.number(2)
    kept: bytes = record.characters(3)
    own: uuid.UUID = record.unique_id()
    name: str = record.unicode_name(8)

    SIZE: ClassVar[int] = 50
    WHAT: ClassVar[str] = 'sample'


DATA = (b'sample' b'\0\0\0\0\0\0\1\2' b'\3\4' b'a\0b'
        + bytes(range(16)) + b'\0b\0\xe4\0\0\0\0' + bytes(7))


class Records(unittest.TestCase):

    def test_fields_are_big_endian_and_not_aligned(self):
        self.assertEqual(
            Sample(long=0x102, short=0x304, kept=b'a\0b', own=ID,
                   name='b\xe4'), Sample.unpack(DATA))

    def test_packed_as_it_was(self):
        self.assertEqual(DATA, Sample.unpack(DATA).pack())

    def test_what_follows_is_not_looked_at_and_written_as_zeros(self):
        changed = DATA[:-1] + b'x'
        self.assertEqual(DATA, Sample.unpack(changed).pack())

    def test_a_name_ends_at_its_first_zero(self):
        changed = DATA.replace(b'\0b\0\xe4\0\0', b'\0b\0\0\0\xe4')
        self.assertEqual('b', Sample.unpack(changed).name)

    def test_a_name_that_is_no_text(self):
        changed = DATA.replace(b'\0b\0\xe4', b'\xd8\0\0\xe4')
        self.assertEqual('\ufffd\xe4', Sample.unpack(changed).name)

    def test_another_cookie(self):
        with self.assertRaisesRegex(
                record.LayoutError, 'the sample has no "sample" cookie'):
            Sample.unpack(b'S' + DATA[1:])

    def test_another_length(self):
        for data in (b'', DATA[:-1], DATA + b'\0'):
            with self.assertRaisesRegex(record.LayoutError,
                                        f'only {len(data)} of its 50'):
                Sample.unpack(data)

    def test_places(self):
        self.assertEqual(b'\3\4', DATA[Sample.place_of('short')])
        self.assertEqual(b'sample', DATA[Sample.place_of('cookie')])
        self.assertRaises(KeyError, Sample.place_of, 'SIZE')

    def test_checksum_leaves_itself_out(self):
        own = slice(1, 3)
        for summed in (b'\1\0\0\2', b'\1\xff\xff\2'):
            self.assertEqual(0xFFFFFFFC, record.checksum(summed, own))

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

"""Extended headers of tar that are damaged, or ask for too much."""

import dataclasses
import io
import tarfile
import unittest

import ddt

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import tar_headers
from glance_xs_convert import exceptions


from testbed.images import archive
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
GIB = vhd.GIB
chain = shapes.chain


@ddt.ddt
class ExtendedHeaders(cases.ConvertCase):

    @ddt.data('1' + '0' * 30, '-1', '1e9', '', '9' * 5000, '0x10', '\u0663')
    def test_size_in_a_pax_record(self, size):
        layers = chain()
        members = archive.chain_members(layers)
        members[1] = dataclasses.replace(
            members[1], pax_headers={'size': size})
        self.assert_refused(archive.tgz(members, archive.PAX))

    @ddt.data(b'12 size=1\n', b'99999999 path=x\n', b'0 path=x\n', b'\n',
              b'-5 path=x\n', b'9999999999999999999999 path=x\n', b'junk',
              b'21 GNU.sparse.size=0\n22 GNU.sparse.offset=\n',
              b'8 path=\n', b'5 a=\n6 b', bytes(500), b'9' * 16_000)
    def test_pax_records(self, records):
        layers = chain()
        members = archive.chain_members(layers)
        odd = self.extended(b'x', records)
        self.assert_right_or_refused(
            layers, archive.tgz([odd, *members]))
        self.assert_right_or_refused(
            layers, archive.tgz([*members, odd]))

    @staticmethod
    def extended(kind, data, claimed=None):
        """An extended header with this data."""
        member = archive.Member('././@Header', type=kind, claimed_size=(
            len(data) if claimed is None else claimed))
        return archive.Member('', raw=[
            archive.header(member, archive.USTAR), data,
            archive.padding(len(data))])

    @ddt.data(b'x', b'g', b'L', b'K', b'X')
    def test_extended_header_of_8_gib(self, kind):
        block = archive.header(archive.Member(
            '././@Header', type=kind, claimed_size=8 * GIB - 512))
        for filling in ([8 * GIB], [b'n' * MIB] * 64):
            self.assert_refused(archive.gzipped([block, *filling]))

    @ddt.data(b'x', b'g', b'L', b'K')
    def test_extended_headers_without_end(self, kind):
        data = b'20 comment=endless \n' if kind in b'xg' else b'name\0'
        pieces = list(self.extended(kind, data).raw)
        run = archive.tar([archive.Member('', raw=pieces)] * 500, end=0)
        self.assert_refused(archive.gzipped([run] * 200))


def guard(data):
    """A guard before so many bytes, which come in pieces."""
    found = tar_headers.HeaderGuard(member.ArchiveReader(
        data[start:start + 1000] for start in range(0, len(data), 1000)))
    found.start_member()
    return found


class HeaderGuard(unittest.TestCase):
    """What ``tarfile`` may read."""

    def test_reads_like_a_file(self):
        data = bytes(range(256)) * 20
        guarded, file = guard(data), io.BytesIO(data)
        for size in (0, 512, 1, 3000, 1607, 512):
            self.assertEqual(file.read(size), guarded.read(size))
            self.assertEqual(file.tell(), guarded.tell())

    def test_too_much_at_once(self):
        for size in (-1, MIB, 1 << 62):
            with self.assertRaisesRegex(exceptions.DamagedArchive,
                                        'headers are too long'):
                guard(bytes(2 * KIB)).read(size)

    def test_too_much_for_one_member(self):
        guarded = guard(bytes(100 * KIB))
        with self.assertRaises(exceptions.DamagedArchive):
            for _ in range(100 * KIB // 512):
                guarded.read(512)
        self.assertEqual(64 * KIB, guarded.tell())

    def read_members(self, guarded, count):
        for _ in range(count):
            guarded.start_member()
            guarded.read(512)

    def test_too_much_for_all_members(self):
        guarded = guard(bytes(3 * MIB))
        with self.assertRaises(exceptions.DamagedArchive):
            self.read_members(guarded, 5000)
        self.assertEqual(2 * MIB, guarded.tell())

    def test_exports_have_any_number_of_members(self):
        guarded = guard(bytes(3 * MIB))
        guarded.expect_many()
        self.read_members(guarded, 5000)
        self.assertEqual(5000 * 512, guarded.tell())

    def test_giving_up_a_header(self):
        """``tarfile`` goes back to find another one behind it."""
        guarded = guard(bytes(2 * KIB))
        guarded.read(512)
        self.assertRaises(exceptions.DamagedArchive, guarded.seek, 0)

    def test_records_are_checked_before_tarfile_has_them(self):
        """Those of pax are searched again and again for what is no record."""
        for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            header = archive.header(archive.Member('x', type=kind))
            for records, is_sound in (
                    (b'12 path=abc\n', True), (b'12 path=abc\nx', False),
                    (b'12 path=abc\n' + bytes(9), True),
                    (b'13 path=abc\n', False), (b'012 path=abc\n', False),
                    (b'12 pathxabc\n', False)):
                guarded = guard(header + records.ljust(512, b'\0'))
                guarded.read(512)
                if is_sound:
                    guarded.read(512)
                else:
                    self.assertRaises(exceptions.DamagedArchive,
                                      guarded.read, 512)

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


"""Sound tar archives of every kind."""

import dataclasses
import io
import itertools
import tarfile
import zlib

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
FORMATS = {'gnu': archive.GNU, 'pax': archive.PAX, 'ustar': archive.USTAR}
chain = shapes.chain
named = shapes.named


@ddt.ddt
class Formats(cases.ConvertCase):
    """What may stand around the VHDs."""

    @ddt.data(*itertools.product(
        FORMATS, ('tar', 'gzip', 'members', 'level_9', 'stored')))
    @ddt.unpack
    def test_format(self, tar_format, compression):
        layers = chain()
        plain = archive.tar(archive.chain_members(layers, order=(1, 0, 2)),
                            FORMATS[tar_format])
        data = {
            'tar': lambda: plain,
            'gzip': lambda: archive.gzipped([plain]),
            'members': lambda: archive.gzipped([plain], member_size=777),
            'level_9': lambda: archive.gzipped([plain], level=9),
            'stored': lambda: archive.gzipped([plain], level=0),
        }[compression]()
        self.assert_converts(layers, data)

    @ddt.named_data(*named(
        none='', dot='./', directory='images/', deep='./a/b/c/',
        unicode='./schnappschüsse/', space='./my images/',
        long='./' + 'long/' * 60))
    def test_prefix(self, prefix):
        layers = chain()
        for tar_format in (archive.GNU, archive.PAX):
            with self.subTest(tar_format):
                self.assert_converts(layers, archive.tgz(
                    [archive.directory(prefix or './'),
                     *archive.chain_members(layers, prefix=prefix)],
                    tar_format))
                self.target.unlink()

    def test_zeros_behind_the_gzip_stream(self):
        layers = chain()
        data = archive.tgz(archive.chain_members(layers))
        self.assert_converts(layers, data + bytes(4096))

    def test_last_record_filled_up(self):
        layers = chain()
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers), end=1024 + 20 * KIB))

    @ddt.data(0, 512)
    def test_end_of_archive_marker_missing(self, end):
        layers = chain()
        self.assert_right_or_refused(layers, archive.tgz(
            archive.chain_members(layers), end=end))

    def test_empty_gzip_member_in_front(self):
        layers = chain()
        self.assert_converts(layers, archive.gzipped([]) + archive.tgz(
            archive.chain_members(layers)))

    def test_gzip_header_with_name_comment_and_checksum(self):
        layers = chain()
        data = archive.tgz(archive.chain_members(layers))
        header = (b'\x1f\x8b\x08\x1e\0\0\0\0\0\x03' + b'\x04\0extr'
                  + b'0.tar\0' + b'comment\0')
        crc = zlib.crc32(header) & 0xFFFF
        self.assert_converts(
            layers, header + crc.to_bytes(2, 'little') + data[10:])

    @ddt.data(archive.gnu_sparse, archive.pax_sparse)
    def test_sparse_members(self, make):
        layers = chain()
        self.assert_right_or_refused(layers, archive.tgz(
            [make(f'./{i}.vhd', layer.image())
             for i, layer in enumerate(layers)]))

    def test_pax_records(self):
        layers = chain()
        members = [
            dataclasses.replace(member, pax_headers={
                'mtime': '1795380000.25', 'comment': 'x' * 300,
                'SCHILY.xattr.user.note': 'y', 'LIBARCHIVE.creationtime':
                '1795380000.25'})
            for member in archive.chain_members(layers)]
        self.assert_converts(layers, archive.tgz(members, archive.PAX))

    def test_size_in_a_pax_record(self):
        # What a member over 8 GiB has, on a small one.
        layers = chain()
        members = []
        for member in archive.chain_members(layers):
            size = str(member.size)
            record = f' size={size}\n'
            record = f'{len(record) + 2}{record}'.encode()
            extended = archive.Member('././@PaxHeader', record,
                                      type=tarfile.XHDTYPE)
            empty = dataclasses.replace(member, claimed_size=0)
            members.append(archive.Member('', raw=[
                *archive.tar_pieces([extended], archive.USTAR, end=0),
                archive.header(empty, archive.USTAR),
                member.content.tobytes(), archive.padding(member.size)]))
        self.assert_converts(layers, archive.tgz(members))

    def test_size_in_base_256(self):
        layers = chain()
        members = []
        for member in archive.chain_members(layers):
            block = archive.header(member)
            block = archive.with_checksum(
                block[:124] + b'\x80' + member.size.to_bytes(11, 'big')
                + block[136:])
            members.append(archive.Member('', raw=[
                block, member.content.tobytes(),
                archive.padding(member.size)]))
        self.assert_converts(layers, archive.tgz(members))

    @ddt.data(tarfile.AREGTYPE, tarfile.REGTYPE, tarfile.CONTTYPE)
    def test_headers_of_the_seventh_edition(self, kind):
        layers = chain()
        members = [
            archive.Member('', raw=[
                archive.with_checksum(
                    archive.header(member)[:156] + kind + bytes(355)),
                member.content.tobytes(), archive.padding(member.size)])
            for member in archive.chain_members(layers)]
        self.assert_converts(layers, archive.tgz(members))

    @ddt.data(b'Z', b'8', b'D')
    def test_types_that_nobody_knows(self, kind):
        """They are files: one may be a layer, or one VHD too many."""
        layers = chain()
        members = [dataclasses.replace(member, type=kind)
                   for member in archive.chain_members(layers)]
        self.assert_converts(layers, archive.tgz(members))
        self.target.unlink()
        odd = dataclasses.replace(members[-1], name='other')
        self.assert_refused(archive.tgz([*members, odd]),
                            exceptions.BrokenChain)

    def test_times_of_an_incremental_archive(self):
        """They lie where other archives have a part of the name."""
        layers = chain()
        members = []
        for number, member in enumerate(archive.chain_members(layers)):
            block = bytearray(archive.header(member))
            block[257:265] = b'ustar  \0'
            block[345:369] = b'1530265756%d\0' % number * 2
            members.append(archive.Member('', raw=[
                archive.with_checksum(bytes(block)),
                member.content.tobytes(), archive.padding(member.size)]))
        for order in (members, members[::-1]):
            self.assert_converts(layers, archive.tgz(order))
            self.target.unlink()
        found = api.inspect(io.BytesIO(archive.tgz(members)))
        self.assertEqual(['./0.vhd', './1.vhd', './2.vhd'],
                         [vhd.name for vhd in found.layers])

    def test_pax_global_header(self):
        layers = chain()
        start = tarfile.TarInfo.create_pax_global_header(
            {'comment': 'made by git archive'})
        self.assert_converts(layers, archive.tgz(
            [archive.Member('', raw=[start]),
             *archive.chain_members(layers)]))

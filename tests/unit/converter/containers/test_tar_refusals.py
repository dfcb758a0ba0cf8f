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


"""Archives that are refused for what is in the tar."""

import io
import lzma
import random
import tarfile
import zipfile

import ddt

from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
GIB = vhd.GIB
pattern = chains.pattern
chain = shapes.chain


def iso():
    """The start of a CD image."""
    return bytes(32 * KIB) + b'\1CD001\1\0'.ljust(2048, b'\0') + bytes(MIB)


def zip_file():
    """A zip archive with a chain of one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as image:
        image.writestr('0.vhd', chain(1)[0].tobytes())
    return target.getvalue()


def tar_of_one():
    """A plain tar with a chain of one."""
    return archive.tar(archive.chain_members(chain(1)))


def claiming(field, name='0.vhd'):
    """A member whose header states its size with these 12 bytes."""
    block = archive.header(archive.Member(name))
    block = archive.with_checksum(block[:124] + field + block[136:])
    return archive.Member(name, raw=[block])


@ddt.ddt
class NoImages(cases.ConvertCase):
    """Things that are no XenServer image at all."""

    @ddt.named_data(
        ('empty', lambda: b''),
        ('one_byte', lambda: b'\x1f'),
        ('gzip_magic', lambda: b'\x1f\x8b'),
        ('zeros', lambda: bytes(MIB)),
        ('random', lambda: random.Random(1).randbytes(MIB)),
        ('text', lambda: b'Hello, world!\n'),
        ('html', lambda: b'<!DOCTYPE html><html>404</html>'),
        ('iso', iso),
        ('mbr_disk', lambda: chains.partition_table(63, 99) + bytes(MIB)),
        ('qcow2', lambda: b'QFI\xfb\0\0\0\3' + bytes(64 * KIB)),
        ('vmdk', lambda: b'KDMV' + bytes(64 * KIB)),
        ('vhdx', lambda: b'vhdxfile' + bytes(64 * KIB)),
        ('zip', zip_file),
        ('lzma', lambda: lzma.compress(tar_of_one(), lzma.FORMAT_ALONE)),
        ('gzip_of_nothing', lambda: archive.gzipped([])),
        ('gzip_of_zeros', lambda: archive.gzipped([MIB])),
        ('gzip_of_text', lambda: archive.gzipped([b'Hello, world!\n'])),
        ('gzip_of_gzip', lambda: archive.gzipped([
            archive.gzipped([tar_of_one()])])),
        ('gzip_of_garbage', lambda: b'\x1f\x8b\x08' + b'\xff' * 5000),
    )
    def test_refused(self, make):
        self.assert_refused(make(), (
            exceptions.NotAnArchive, exceptions.DamagedArchive,
            exceptions.NoVhd))

    @ddt.named_data(
        ('nothing', []),
        ('directories', [archive.directory(), archive.directory('./a/')]),
        ('text', [archive.Member('readme', b'text'),
                  archive.Member('0.vhd.gz', b'text')]),
        ('swap', [archive.Member('swap.vhd', vhd.Layer(MIB).image())]),
        ('directory_named_like_a_vhd', [archive.directory('./0.vhd/')]),
    )
    def test_no_vhd_in_the_archive(self, members):
        for data in (archive.tgz(members), archive.tar(members)):
            self.assert_refused(data, (
                exceptions.NoVhd, exceptions.NotAnArchive,
                exceptions.UnsafeMember))


@ddt.ddt
class Members(cases.ConvertCase):
    """Members that are no files, or reach out of the archive."""

    KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
             tarfile.CHRTYPE, tarfile.BLKTYPE, b'M')

    @ddt.data(*KINDS)
    def test_kind_in_place_of_a_layer(self, kind):
        members = archive.chain_members(chain())
        for number in range(3):
            changed = list(members)
            changed[number] = archive.Member(
                f'./{number}.vhd', type=kind, linkname='/etc/passwd')
            self.assert_refused(archive.tgz(changed),
                                exceptions.UnsafeMember, f'{number}.vhd')

    @ddt.data(*KINDS)
    def test_kind_beside_a_chain(self, kind):
        members = archive.chain_members(chain())
        for name in ('3.vhd', 'other.vhd', 'base.vhd', 'A.VHD'):
            odd = archive.Member(name, type=kind, linkname='./0.vhd')
            for placed in ([odd, *members], [*members, odd]):
                self.assert_refused(archive.tgz(placed),
                                    exceptions.UnsafeMember, name)

    @ddt.data('../0.vhd', '/0.vhd', './../0.vhd', 'a/../../0.vhd', '../x',
              '/etc/cron.d/x', 'a/..', '//0.vhd', './/../0.vhd')
    def test_name_that_leads_out(self, name):
        members = archive.chain_members(chain())
        odd = archive.Member(name, b'x' * 10)
        for placed in ([odd, *members], [*members, odd], [odd]):
            self.assert_refused(archive.tgz(placed),
                                exceptions.UnsafeMember, name)

    def test_name_with_control_characters(self):
        for name in ('\x1b[31mred\r\n.vhd', 'a\nb.vhd', '\u202e0.vhd'):
            error = self.assert_refused(archive.tgz(
                [archive.Member(name, b'no vhd')]))
            self.assertTrue(str(error).isprintable())

    def test_name_that_is_no_utf_8(self):
        block = archive.header(archive.Member('xxxxxxxx.vhd', b'no vhd'))
        block = archive.with_checksum(b'\xff\xfe\xc3' + block[3:])
        error = self.assert_refused(archive.tgz(
            [archive.Member('', raw=[block, b'no vhd', 506])]))
        str(error).encode()

    def test_message_is_short_for_a_long_name(self):
        error = self.assert_refused(archive.tgz(
            [archive.Member('n' * 20_000 + '.vhd', b'no vhd')]))
        self.assertLess(len(str(error)), 1000)


@ddt.ddt
class Claims(cases.ConvertCase):
    """Headers of members that claim too much."""

    SIZES = (
        b'77777777777\0',
        b'777777777777',
        b'\x80' + bytes(3) + (1 << 62).to_bytes(8, 'big'),
        b'\x80' + b'\xff' * 11,
        b'\xff' * 12,
        b'\xff' * 11 + b'\0',
        b'-0000000001\0',
        b'not a number',
    )

    @ddt.data(*SIZES)
    def test_size(self, field):
        self.assert_refused(archive.tgz(
            [claiming(field), *archive.chain_members(chain())]))
        self.assert_refused(archive.tgz([claiming(field)]))

    @ddt.data(*SIZES)
    def test_size_of_a_member_that_is_ignored(self, field):
        self.assert_refused(archive.tgz(
            [*archive.chain_members(chain()), claiming(field, 'notes')]))
        self.assert_refused(archive.tgz(
            [claiming(field, 'notes'), *archive.chain_members(chain())]))

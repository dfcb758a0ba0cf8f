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

"""Broken and hostile archives: each is refused with a typed error."""

import bz2
import dataclasses
import errno
import io
import lzma
import random
import resource
import tarfile
import zipfile

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

KIB = vhd.KIB
MIB = vhd.MIB
GIB = vhd.GIB
TIB = 1 << 40
pattern = chains.pattern

NOT_SOUND = (exceptions.DamagedVhd, exceptions.LimitExceeded)


def chain(count=3, size=96 * KIB, seed='refused'):
    """A sound chain of random layers."""
    return chains.random_chain(seed, [size] * count, [4 * KIB])


def with_layer(layers, number, **changes):
    """Return the chain with one of its layers changed."""
    changed = list(layers)
    changed[number] = dataclasses.replace(layers[number], **changes)
    return changed


def packed(layers, names=None, order=None):
    """The chain in a .tgz."""
    return archive.tgz(archive.chain_members(layers, names, order))


@ddt.ddt
class Chains(cases.ConvertCase):
    """Sound VHDs that are not one chain."""

    ORDERS = ((0, 1, 2), (2, 1, 0), (1, 2, 0))

    @ddt.data((0, 2), (2, 0), (0, 2, 3), (3, 0, 2), (2, 3, 0))
    def test_gap(self, order):
        layers = chain(max(order) + 1)
        self.assert_refused(packed(layers, order=order),
                            exceptions.MissingLayer, '1.vhd')

    @ddt.data((1, 2), (2, 1), (1,), (2,))
    def test_no_leaf(self, order):
        self.assert_refused(packed(chain(), order=order),
                            exceptions.BrokenChain, '.vhd')

    @ddt.data((0,), (0, 1), (1, 0))
    def test_missing_base(self, order):
        self.assert_refused(packed(chain(), order=order),
                            exceptions.MissingBase, f'{max(order)}.vhd')

    def test_missing_base_of_a_single_vhd(self):
        layers = chain(2)[:1]
        for name in ('disk.vhd', 'snap.vhd', 'base.vhd'):
            self.assert_refused(packed(layers, [name]),
                                exceptions.MissingBase, name)

    @ddt.data((0, 1, 2), (2, 1, 0), (1, 2, 0))
    def test_layer_in_the_middle_that_is_no_differencing_disk(self, order):
        for disk_type in (vhd.DYNAMIC, vhd.FIXED):
            for number in (0, 1):
                layers = with_layer(chain(), number, disk_type=disk_type)
                self.assert_refused(packed(layers, order=order),
                                    exceptions.NotDifferencing,
                                    f'{number}.vhd')

    @ddt.data((0, 2), (0, 0), (1, 0), (1, 1))
    @ddt.unpack
    def test_parent_id_of_another_member(self, number, parent):
        layers = with_layer(chain(), number,
                            parent_unique_id=chains.layer_id(parent))
        for order in self.ORDERS:
            self.assert_refused(packed(layers, order=order),
                                exceptions.WrongParent, f'{number}.vhd')

    def test_layers_swapped(self):
        layers = chain(4)
        layers[1:3] = layers[2:0:-1]
        self.assert_refused(packed(layers), exceptions.WrongParent, '.vhd')

    @ddt.data(('0.vhd', './0.vhd'), ('./1.vhd', './1.vhd'),
              ('2.vhd', './/2.vhd'))
    @ddt.unpack
    def test_number_twice(self, first, second):
        layers = chain()
        names = archive.names(3)
        number = int(first[-5])
        names[number] = first
        again = archive.Member(second, layers[number].image())
        members = archive.chain_members(layers, names)
        for placed in ([again, *members], [*members, again]):
            self.assert_refused(archive.tgz(placed),
                                exceptions.XsConvertError, f'{number}.vhd')

    def test_number_twice_in_two_directories(self):
        layers = chain(1)
        self.assert_refused(archive.tgz(
            archive.chain_members(layers, prefix='a/')
            + archive.chain_members(layers, prefix='b/')),
            exceptions.BrokenChain, '0.vhd')

    def test_old_name_twice(self):
        layers = chain()
        members = archive.chain_members(layers, archive.OLD_NAMES)
        self.assert_refused(archive.tgz([*members, members[1]]),
                            exceptions.BrokenChain, 'image.vhd')

    def test_two_vhds_of_any_name(self):
        self.assert_refused(packed(chain(2), ['a.vhd', 'b.vhd']),
                            exceptions.BrokenChain, '.vhd')

    def test_numbers_and_old_names(self):
        self.assert_refused(packed(chain(2), ['0.vhd', 'base.vhd']),
                            exceptions.BrokenChain, '.vhd')

    def test_chain_of_31(self):
        self.assert_refused(packed(chain(31)), exceptions.LimitExceeded)

    def test_chain_longer_than_the_limit(self):
        self.assert_refused(
            packed(chain(4)), exceptions.LimitExceeded,
            limits=limits.Limits(max_chain_length=3))

    @ddt.data('4294967296.vhd', '9' * 80 + '.vhd')
    def test_huge_number(self, name):
        self.assert_refused(packed(chain(2), ['0.vhd', name]))


@ddt.ddt
class Vhds(cases.ConvertCase):
    """VHDs that contradict themselves or the specification."""

    def refuse(self, error=exceptions.DamagedVhd, **changes):
        """Make each layer of a chain unsound in turn, and a single VHD."""
        for number in range(3):
            layers = with_layer(chain(), number, **changes)
            for order in ((0, 1, 2), (2, 1, 0)):
                with self.subTest(number=number, order=order):
                    self.assert_refused(packed(layers, order=order), error,
                                        f'{number}.vhd')
        self.assert_refused(packed(with_layer(chain(1), 0, **changes)),
                            error, '0.vhd')

    @ddt.named_data(
        ('plain', {}),
        ('bat_behind', {'layout': ('header', 'blocks', 'bat', 'locators')}),
        ('no_front', {'front': vhd.ZEROED}),
        ('no_tail', {'tail': vhd.ABSENT}),
    )
    def test_encrypted(self, changes):
        self.refuse(exceptions.EncryptedVhd, batmap=True, encrypted=True,
                    **changes)

    @ddt.named_data(
        ('sums', {'front': vhd.DAMAGED, 'tail': vhd.DAMAGED}),
        ('front_zeroed', {'front': vhd.ZEROED, 'tail': vhd.DAMAGED}),
        ('front_only', {'front': vhd.DAMAGED, 'tail': vhd.ABSENT}),
        ('both_zeroed', {'front': vhd.ZEROED, 'tail': vhd.ZEROED}),
        ('cookie', {'footer_fields': {'cookie': b'conektix'}}),
        ('sum_0', {'footer_fields': {'checksum': 0}}),
        ('hidden_unsummed_by_another_writer', {
            'hidden': 1, 'hidden_unsummed': True,
            'creator_version': 0x00010003}),
        ('type_0', {'footer_fields': {'disk_type': 0}}),
        ('type_1', {'footer_fields': {'disk_type': 1}}),
        ('type_6', {'footer_fields': {'disk_type': 6}}),
        ('type_max', {'footer_fields': {'disk_type': 0xFFFFFFFF}}),
    )
    def test_footer(self, changes):
        self.refuse(**changes)

    @ddt.named_data(
        ('sum', {'checksum': 1}),
        ('cookie', {'cookie': b'cxspace\0'}),
        ('block_size_0', {'block_size': 0}),
        ('block_size_1', {'block_size': 1}),
        ('block_size_3', {'block_size': 3}),
        ('block_size_256', {'block_size': 256}),
        ('block_size_768', {'block_size': 768}),
        ('block_size_3_mib', {'block_size': 3 * MIB}),
        ('block_size_2_gib', {'block_size': 2 * GIB}),
        ('block_size_max', {'block_size': 0xFFFFFFFF}),
        ('no_entries', {'max_table_entries': 0}),
        ('too_few_entries', {'max_table_entries': 1}),
        ('entries_max', {'max_table_entries': 0xFFFFFFFF}),
        ('entries_of_1_gib', {'max_table_entries': 1 << 28}),
        ('table_on_the_front_copy', {'table_offset': 0}),
        ('table_in_the_header', {'table_offset': 1024}),
        ('table_past_the_end', {'table_offset': 1 << 40}),
        ('table_at_2_63', {'table_offset': 1 << 63}),
        ('table_at_the_last_byte', {'table_offset': (1 << 64) - 1}),
    )
    def test_header(self, fields):
        self.refuse(NOT_SOUND, header_fields=fields)

    @ddt.data(0, 64, 1 << 40, 1 << 63, (1 << 64) - 513, (1 << 64) - 1)
    def test_data_offset(self, offset):
        self.refuse(footer_fields={'data_offset': offset})

    @ddt.data(0, 1 << 63, (1 << 64) - 1, 2040 * GIB + 512, 1 << 50)
    def test_current_size(self, size):
        self.refuse(NOT_SOUND, footer_fields={'current_size': size})

    def test_current_size_that_the_table_does_not_cover(self):
        self.refuse(NOT_SOUND, footer_fields={'current_size': 1 * GIB})

    def bat(self, entries, **changes):
        """Refuse a single VHD and a base with entries of their BAT set."""
        layer = vhd.Layer(
            64 * KIB, [(0, pattern(0, 8)), (16, pattern(1, 8)),
                       (127, pattern(2))],
            block_size=4096, bat_entries=entries, **changes)
        self.assert_refused(packed([layer]), exceptions.DamagedVhd, '0.vhd')
        layers = chains.linked([vhd.Layer(64 * KIB), layer])
        for order in ((0, 1), (1, 0)):
            self.assert_refused(packed(layers, order=order),
                                exceptions.DamagedVhd, '1.vhd')

    # Layout of ``bat``'s VHD in sectors: front copy 0, header 1, BAT 3,
    # blocks 4, 13 and 22 (each a bitmap and 8 of data), tail 31.

    @ddt.data(31, 32, 100_000, 0xFFFFFFFE, 0x80000000)
    def test_block_outside_the_file(self, entry):
        self.bat({2: entry})

    @ddt.data(25, 30)
    def test_block_that_ends_outside_the_file(self, entry):
        self.bat({15: entry})

    @ddt.data(4, 5, 12, 13, 21)
    def test_block_on_another(self, entry):
        self.bat({7: entry})

    @ddt.data(0, 1, 2, 3)
    def test_block_on_the_structures(self, entry):
        self.bat({7: entry})

    @ddt.data(31, 35, 30)
    def test_block_on_a_bat_behind_the_blocks(self, entry):
        # blocks 3, 12 and 21; BAT 30; eight sectors; tail 39.
        self.bat({7: entry - 1},
                 layout=('header', 'locators', 'blocks', 'bat'),
                 padding={'tail': 8})

    def test_all_blocks_in_one_place(self):
        self.bat(dict.fromkeys(range(16), 4))

    @ddt.data(0, 1, 511, 512, 600, 1536, 2048, 5000)
    def test_member_cut_at(self, length):
        whole = vhd.Layer(64 * KIB, [(0, pattern(0, 128))],
                          block_size=4096).tobytes()
        self.assert_refused(
            archive.tgz([archive.Member('0.vhd', whole[:length])]),
            exceptions.XsConvertError, '0.vhd')

    @ddt.data(1, 512, 4096, 9000)
    def test_member_cut_in_the_last_block(self, missing):
        layers = chains.linked([
            vhd.Layer(64 * KIB, [(0, pattern(number, 128))], block_size=4096)
            for number in range(3)])
        for number in range(3):
            members = archive.chain_members(layers)
            whole = layers[number].tobytes()
            members[number] = archive.Member(
                f'./{number}.vhd', whole[:-512 - missing])
            self.assert_refused(archive.tgz(members),
                                exceptions.DamagedVhd, f'{number}.vhd')

    def test_member_that_is_shorter_than_the_fixed_disk(self):
        self.assert_refused(packed([vhd.Layer(
            MIB, disk_type=vhd.FIXED,
            footer_fields={'current_size': 2 * MIB})]),
            NOT_SOUND, '0.vhd')

    @ddt.data(vhd.DAMAGED, vhd.ZEROED, vhd.ABSENT)
    def test_fixed_disk_without_a_footer(self, tail):
        self.assert_refused(packed([vhd.Layer(
            MIB, [(0, pattern(0))], disk_type=vhd.FIXED, tail=tail)]),
            exceptions.DamagedVhd, '0.vhd')

    @ddt.data(b'', b'just text\n' * 100, bytes(64 * KIB),
              b'vhdxfile' + bytes(64 * KIB), b'QFI\xfb' + bytes(64 * KIB),
              b'conectix' * 200)
    def test_member_that_is_no_vhd(self, content):
        self.assert_refused(
            archive.tgz([archive.Member('./0.vhd', content)]),
            exceptions.XsConvertError, '0.vhd')
        layers = chain()
        members = archive.chain_members(layers)
        members[1] = archive.Member('./1.vhd', content)
        self.assert_refused(archive.tgz(members),
                            exceptions.DamagedVhd, '1.vhd')

    def test_disk_larger_than_the_limit(self):
        self.assert_refused(
            packed(chain(2, MIB)), exceptions.LimitExceeded, '.vhd',
            limits=limits.Limits(max_virtual_size=MIB - 1))


@ddt.ddt
class Cuts(cases.ConvertCase):
    """Streams that are cut short or altered."""

    def setUp(self):
        super().setUp()
        self.layers = chain()
        self.members = archive.chain_members(self.layers, order=(1, 0, 2))
        self.data = archive.tgz(self.members)

    def test_cut_anywhere(self):
        for length in range(0, len(self.data), len(self.data) // 60):
            with self.subTest(length):
                self.assert_refused(self.data[:length])

    @ddt.data(1, 2, 3, 4, 5, 8, 9, 12)
    def test_cut_at_the_end(self, missing):
        self.assert_refused(self.data[:-missing], exceptions.DamagedArchive)

    @ddt.data(1, 3, 5, 8)
    def test_cut_at_the_end_of_the_second_of_three(self, missing):
        first, second, third = [
            archive.gzipped([part]) for part in self.thirds()]
        self.assert_refused(first + second[:-missing] + third)
        self.assert_refused(first + second[:-missing])

    def thirds(self):
        plain = archive.tar(self.members)
        third = len(plain) // 3
        return plain[:third], plain[third:2 * third], plain[2 * third:]

    def test_a_whole_gzip_member_is_missing(self):
        first, second, third = [
            archive.gzipped([part]) for part in self.thirds()]
        for data in (first + second, first, first + third, second + third):
            self.assert_refused(data)

    @ddt.data(0, 8, 31)
    def test_wrong_crc(self, bit):
        self.assert_refused(
            archive.flipped(self.data, 8 * (len(self.data) - 8) + bit),
            exceptions.DamagedArchive)

    @ddt.data(0, 8, 31)
    def test_wrong_length(self, bit):
        self.assert_refused(
            archive.flipped(self.data, 8 * (len(self.data) - 4) + bit),
            exceptions.DamagedArchive)

    def test_wrong_crc_in_the_first_of_two(self):
        plain = archive.tar(self.members)
        first = archive.gzipped([plain[:99_999]])
        second = archive.gzipped([plain[99_999:]])
        for bit in (8 * len(first) - 40, 8 * len(first) - 8):
            self.assert_refused(archive.flipped(first, bit) + second,
                                exceptions.DamagedArchive)

    def test_wrong_crc_of_a_last_member_without_content(self):
        empty = archive.gzipped([])
        self.assert_converts(self.layers, self.data + empty)
        self.target.unlink()
        self.assert_refused(
            self.data + archive.flipped(empty, 8 * len(empty) - 60))

    def test_bits_of_the_deflate_stream(self):
        rng = random.Random('bits')
        for bit in rng.sample(range(80, 8 * len(self.data) - 64), 60):
            with self.subTest(bit):
                self.assert_right_or_refused(
                    self.layers, archive.flipped(self.data, bit))

    @ddt.data(b'garbage', b'\x1f\x8b', b'\x1f\x8b\x08\0', b'\0' * 9 + b'x')
    def test_bytes_behind_the_gzip_stream(self, garbage):
        self.assert_right_or_refused(self.layers, self.data + garbage)

    def test_plain_tar_cut(self):
        plain = archive.tar(self.members)
        for length in range(0, len(plain) - 1024, 2999):
            with self.subTest(length):
                self.assert_refused(plain[:length])

    def test_tar_header_damaged(self):
        plain = archive.tar(self.members)
        second = 512 + self.members[0].size
        for byte in (0, 100, 124, 148, 156, 257):
            with self.subTest(byte):
                self.assert_refused(
                    archive.flipped(plain, 8 * (second + byte) + 1))

    def test_reading_fails(self):
        class Failing(io.BytesIO):
            def read(self, size=-1):
                if self.tell() > 8000:
                    raise OSError(errno.EIO, 'Input/output error')
                return super().read(min(size, 4096))

            read1 = read

            def readinto(self, buffer):
                data = self.read(len(buffer))
                buffer[:len(data)] = data
                return len(data)

        self.assert_refused(Failing(self.data), exceptions.UnreadableSource)

    def test_no_room_for_the_disk(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        path = self.source(self.data)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        try:
            self.assert_refused(io.BytesIO(self.data))
            self.assert_refused(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
        ('bare_vhd', lambda: chain(1)[0].tobytes()),
        ('bare_fixed_vhd', lambda: vhd.Layer(
            MIB, [(0, pattern(0))], disk_type=vhd.FIXED).tobytes()),
        ('zip', zip_file),
        ('xz', lambda: lzma.compress(tar_of_one())),
        ('lzma', lambda: lzma.compress(tar_of_one(), lzma.FORMAT_ALONE)),
        ('bzip2', lambda: bz2.compress(tar_of_one())),
        ('gzip_of_nothing', lambda: archive.gzipped([])),
        ('gzip_of_zeros', lambda: archive.gzipped([MIB])),
        ('gzip_of_text', lambda: archive.gzipped([b'Hello, world!\n'])),
        ('gzip_of_a_vhd', lambda: archive.gzipped([chain(1)[0].tobytes()])),
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
             tarfile.CHRTYPE, tarfile.BLKTYPE)

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


def claiming(field, name='0.vhd'):
    """A member whose header states its size with these 12 bytes."""
    block = archive.header(archive.Member(name))
    block = archive.with_checksum(block[:124] + field + block[136:])
    return archive.Member(name, raw=[block])


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

    @ddt.named_data(
        ('overlapping', [(0, 1024), (512, 1024)], 2048),
        ('falling', [(1024, 512), (0, 512)], 2048),
        ('past_the_end', [(0, 512), (4096, 512)], 2048),
        ('huge', [(0, 512)], 8 * GIB - 1),
        ('far', [(8 * GIB - 512, 512)], 8 * GIB - 1),
        ('more_than_stored', [(0, 8 * GIB - 512)], 8 * GIB - 512),
    )
    @ddt.unpack
    def test_sparse_map(self, extents, size):
        table = b''.join(b'%011o\0%011o\0' % extent for extent in extents)
        block = archive.header(archive.Member(
            '0.vhd', type=b'S', claimed_size=1024))
        block = archive.with_checksum(
            block[:386] + table.ljust(96, b'\0') + b'\0'
            + b'%011o\0' % size + bytes(17))
        self.assert_refused(archive.tgz(
            [archive.Member('', raw=[block, pattern(0, 2)])]))

    @ddt.data('0.0', '0.1', '1.0')
    def test_pax_sparse_map(self, version):
        major, minor = version.split('.')
        for entries in ('0,512,99999999999999,512', '0,-5', '5,x',
                        '0,512,' * 5000, ''):
            headers = {'GNU.sparse.size': str(1 << 60),
                       'GNU.sparse.realsize': str(1 << 60),
                       'GNU.sparse.numblocks': '2',
                       'GNU.sparse.map': entries,
                       'GNU.sparse.name': '0.vhd'}
            if version != '0.0':
                headers['GNU.sparse.major'] = major
                headers['GNU.sparse.minor'] = minor
            content = entries.replace(',', '\n').encode() + bytes(512)
            self.assert_refused(archive.tgz(
                [archive.Member('0.vhd', content, pax_headers=headers)],
                archive.PAX))

    def test_sparse_map_without_end(self):
        block = archive.header(archive.Member(
            '0.vhd', type=b'S', claimed_size=1024))
        block = archive.with_checksum(
            block[:386] + bytes(96) + b'\1' + b'%011o\0' % 2048 + bytes(17))
        more = (b'%011o\0%011o\0' % (0, 0) * 21) + b'\1' + bytes(7)
        self.assert_refused(archive.gzipped([block] + [more * 1000] * 300))


@ddt.ddt
class Bombs(cases.ConvertCase):
    """Little data that would keep the converter busy, or fill the disk."""

    def good(self):
        return archive.chain_members(chain())

    def refuse_stream(self, *pieces):
        path = self.scratch / 'bomb'
        with open(path, 'wb') as target:
            writer = archive.GzipWriter(target)
            writer.write_pieces(pieces)
            writer.close()
        self.assert_refused(path)

    def test_zeros_behind_a_chain(self):
        self.refuse_stream(*archive.tar_pieces(self.good()), 64 * GIB)

    def test_random_bytes_behind_a_chain(self):
        noise = random.Random(0).randbytes(8 * MIB)
        self.refuse_stream(*archive.tar_pieces(self.good()), *[noise] * 8)

    def test_second_archive_behind_a_chain(self):
        self.assert_right_or_refused(chain(), archive.gzipped(
            [*archive.tar_pieces(self.good()),
             *archive.tar_pieces(self.good())]))

    def test_gzip_members_without_end(self):
        data = archive.tgz(self.good())
        self.assert_right_or_refused(
            chain(), data + archive.gzipped([]) * 200_000)

    def test_zeros_behind_the_gzip_stream(self):
        self.assert_right_or_refused(
            chain(), archive.tgz(self.good()) + bytes(64 * MIB))

    @ddt.data(True, False)
    def test_large_member_that_is_ignored(self, first):
        huge = sparse.Sparse()
        huge.truncate(64 * GIB)
        bomb = archive.Member('./notes', huge)
        members = [bomb, *self.good()] if first else [*self.good(), bomb]
        self.refuse_stream(*archive.tar_pieces(members))

    def test_many_members_that_are_ignored(self):
        large = sparse.Sparse()
        large.truncate(4 * GIB - 512)
        members = [archive.Member(f'./{n}.txt', large) for n in range(16)]
        self.refuse_stream(*archive.tar_pieces([*members, *self.good()]))

    @ddt.data('notes', 'empty.vhd')
    def test_a_million_members(self, name):
        block = archive.header(archive.Member(name))
        self.refuse_stream(*archive.tar_pieces(self.good(), end=0),
                           *[block * 2000] * 500)

    def test_a_million_directories(self):
        block = archive.header(archive.directory('./a/'))
        self.refuse_stream(*[block * 2000] * 500)

    def test_vhd_of_zeros(self):
        huge = sparse.Sparse()
        huge.truncate(2 * GIB)
        self.refuse_stream(*archive.tar_pieces(
            [archive.Member('0.vhd', huge)]))

    def test_vhd_followed_by_zeros(self):
        image = vhd.Layer(MIB, [(0, pattern(0))], tail=vhd.ABSENT).image()
        image.truncate(64 * GIB)
        self.refuse_stream(*archive.tar_pieces(
            [archive.Member('0.vhd', image)]))

    @ddt.data(archive.gnu_sparse, archive.pax_sparse)
    def test_sparse_member_of_two_tebibytes(self, make):
        # A few hundred bytes are stored; the rest is one hole.
        layers = [vhd.Layer(MIB, [(0, pattern(0))])]
        for start in (b'', layers[0].tobytes(), bytes(100) + pattern(0)):
            content = sparse.Sparse()
            content.put(0, start)
            content.truncate(2040 * GIB)
            for name in ('0.vhd', 'notes'):
                self.assert_right_or_refused(
                    layers, archive.tgz([make(name, content)]))

    def test_far_block(self):
        # The block lies where its file would have to be 2 TiB long.
        layer = vhd.Layer(MIB, [(0, pattern(0))],
                          bat_entries={0: 0xFFFFF000}, tail=vhd.ABSENT)
        member = archive.Member('0.vhd', layer.image())
        self.refuse_stream(
            archive.header(dataclasses.replace(
                member, claimed_size=2 * TIB)),
            *layer.image().pieces(), 8 * GIB)

    def test_table_of_the_smallest_blocks(self):
        # 512 bytes a block: the table of 100 GiB takes 800 MiB, and has 200
        # million blocks to be remembered.
        image = vhd.Layer(
            MIB, footer_fields={'current_size': 100 * GIB},
            header_fields={'block_size': 512,
                           'max_table_entries': 100 * GIB // 512}).image()
        with self.memory(GIB):
            self.refuse_stream(
                archive.header(archive.Member(
                    '0.vhd', image, claimed_size=300 * GIB)),
                *list(image.pieces())[:-1], GIB)

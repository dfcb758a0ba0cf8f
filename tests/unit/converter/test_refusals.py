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


"""Archives that are cut short, or ask for too much."""

import dataclasses
import errno
import io
import random
import resource

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

MIB = vhd.MIB
GIB = vhd.GIB
TIB = 1 << 40
FEW_IGNORED = image_limits.Limits(max_ignored_size=GIB // 4)
pattern = chains.pattern
chain = shapes.chain


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


@ddt.ddt
class Bombs(cases.ConvertCase):
    """Little data that would keep the converter busy, or fill the disk."""

    def good(self):
        return archive.chain_members(chain())

    def refuse_stream(self, *pieces, **options):
        path = self.scratch / 'bomb'
        with open(path, 'wb') as target:
            writer = archive.GzipWriter(target)
            writer.write_pieces(pieces)
            writer.close()
        self.assert_refused(path, **options)

    def test_zeros_behind_a_chain(self):
        self.refuse_stream(*archive.tar_pieces(self.good()), 64 * GIB)

    def test_random_bytes_behind_a_chain(self):
        noise = random.Random(0).randbytes(8 * MIB)
        self.refuse_stream(*archive.tar_pieces(self.good()), *[noise] * 8)

    def test_second_archive_behind_a_chain(self):
        """It may hold a newer layer, and tar would not see it."""
        for other in (self.good(), [archive.directory('./'), *self.good()]):
            pieces = [*archive.tar_pieces(self.good()),
                      *archive.tar_pieces(other)]
            for data in (b''.join(archive.tar(one) for one in (
                    self.good(), other)), archive.gzipped(pieces)):
                error = self.assert_refused(data, exceptions.DamagedArchive)
                self.assertIn('another archive follows', str(error))

    def test_what_fills_up_the_last_record(self):
        """It is not defined, and some programs leave something there."""
        for rest in (bytes(9000), bytes(512) + b'x' * 700, b'y' * 9216):
            self.assert_converts(chain(), archive.tar(self.good()) + rest)
            self.target.unlink()

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
        large.truncate(FEW_IGNORED.max_ignored_size - 512)
        members = [archive.Member(f'./{n}.txt', large) for n in range(16)]
        self.refuse_stream(*archive.tar_pieces([*members, *self.good()]),
                           limits=FEW_IGNORED)

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
        huge.truncate(GIB // 2)
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
            *layer.image().pieces(), GIB)

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

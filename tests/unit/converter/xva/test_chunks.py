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

"""The chunks of a disk: their names, numbers, lengths and checksums."""

import dataclasses
import random
from unittest import mock

import ddt

from glance_xs_convert.converter.xva import chunks
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import sparse
from testbed.images import xva
from tests.unit.converter import exports

MIB = 1 << 20
Damaged = exceptions.DamagedExport
Incomplete = exceptions.IncompleteDisk
members = exports.members
chunk = exports.chunk
changed = exports.changed
cut = exports.cut


@ddt.ddt
class Lengths(exports.ExportCase):
    """What is left out is zeros."""

    @ddt.data(512, 1000, 4096, 65537, MIB - 512, MIB, MIB + 512, 3 * MIB,
              7 * MIB + 11)
    def test_chunks_of_any_length(self, chunk_size):
        for seed in range(3):
            rng = random.Random(seed)
            size = chunk_size * rng.randrange(1, 12) + 512 * seed
            disk = xva.random_disk((chunk_size, seed), size, chunk_size)
            self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_a_disk_in_one_chunk(self):
        for size in (1, 511, 512, 513, 5 * MIB + 1):
            disk = xva.random_disk(size, size, 8 * MIB)
            self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_chunks_shorter_than_the_first(self):
        for seed in range(12):
            rng = random.Random(seed)
            lengths = {rng.randrange(1, 30): rng.randrange(1, 4096)
                       for _ in range(8)}
            disk = xva.random_disk(seed, 40 * 4096 + 9, 4096,
                                   lengths=lengths)
            self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_a_short_last_chunk(self):
        for size in (2 * MIB + 1, 2 * MIB + 511, 2 * MIB + 512, 3 * MIB - 1):
            content = sparse.Sparse()
            content.put(size - 1, b'x')
            disk = xva.Disk(content)
            self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_data_on_both_sides_of_each_border(self):
        for chunk_size in (1000, 4096, 100_001):
            content = sparse.Sparse()
            for number in range(1, 30, 3):
                content.put(number * chunk_size - 3, b'abcdef')
            content.truncate(40 * chunk_size)
            disk = xva.Disk(content, chunk_size, keep_alives={2: 1, 5: 4})
            self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_keep_alives(self):
        content = sparse.Sparse()
        content.put(700 * MIB + 5, b'data')
        content.truncate(900 * MIB)
        disk = xva.Disk(content, keep_alives={1: 100, 2: 7})
        self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_chunks_of_zeros_take_no_room(self):
        content = sparse.Sparse()
        content.truncate(20 * MIB)
        disk = xva.Disk(content, zeros=[n * MIB for n in range(3, 17)])
        self.assert_comes_out(disk, xva.Export([disk]).tar())


@ddt.ddt
class Checksums(exports.RefusalCase):

    def test_data_that_changed(self):
        for index in (1, 5, 11):
            content = bytearray(members()[index].content)
            content[99] ^= 1
            self.refuse(changed(index, content=bytes(content)),
                        exceptions.WrongChecksum, f'{index // 2:08d}')

    def test_data_that_changed_under_sha1(self):
        sound = members(checksum=xva.SHA1)
        content = bytearray(sound[3].content)
        content[0] ^= 1
        sound[3] = dataclasses.replace(sound[3], content=bytes(content))
        self.refuse(archive.tar(sound), exceptions.WrongChecksum, '00000001')

    def test_one_that_changed(self):
        self.refuse(changed(2, content=b'0123456789ABCDEF'),
                    exceptions.WrongChecksum, '00000000')

    def test_that_of_another_chunk(self):
        sound = members()
        self.refuse(changed(4, content=sound[6].content),
                    exceptions.WrongChecksum, '00000001')

    def test_of_a_chunk_of_no_length(self):
        sound = members(keep_alives={2: 1})
        index = next(index for index, member in enumerate(sound)
                     if member.size == 0)
        sound[index + 1] = dataclasses.replace(
            sound[index + 1], content=b'0' * 16)
        self.refuse(archive.tar(sound), exceptions.WrongChecksum)

    @ddt.data(2, 6, 12)
    def test_missing(self, index):
        self.refuse(cut(index), Damaged, 'checksum')

    def test_twice(self):
        self.refuse(cut(3, 0, [members()[2]]), Damaged, '00000000.xxhash')

    def test_with_the_name_of_another_chunk(self):
        self.refuse(changed(4, name='Ref:7/00000002.xxhash'), Damaged,
                    'checksum')

    @ddt.data('md5', 'sha256', 'xxhash2', 'XXHASH', 'gz')
    def test_unknown_kinds(self, kind):
        self.refuse(changed(2, name=f'Ref:7/00000000.{kind}'), Damaged, kind)

    @ddt.data(b'', b'0', b'0123456789ABCDE', b'0123456789ABCDEFG',
              b'0123456789ABCDEX', b'0123456789ABCDE\n',
              b'\0' * 16, b'0' * 40, b'A' * (2 << 20))
    def test_malformed(self, content):
        self.refuse(changed(2, content=content), Damaged, '00000000.xxhash')

    def test_one_kind_named_as_the_other(self):
        data = members()[1].content
        self.refuse(cut(1, 2, chunk(0, data, ending='checksum')), Damaged,
                    '00000000.checksum')

    def test_another_kind_in_the_middle_of_a_disk(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data, kind=xva.SHA1)), Damaged,
                    '00000002.checksum')


@ddt.ddt
class Numbers(exports.RefusalCase):

    def test_the_same_twice(self):
        sound = members()
        self.refuse(cut(5, 0, sound[3:5]), Damaged, '00000001')

    def test_decreasing(self):
        sound = members()
        self.refuse(cut(3, 4, [*sound[5:7], *sound[3:5]]), Damaged,
                    '00000001')

    def test_a_first_chunk_of_no_length(self):
        self.refuse(cut(1, 2, chunk(0, b'')), Incomplete, '00000000')

    def test_no_last_chunk(self):
        self.refuse(cut(11, 2), Incomplete, 'Ref:7')

    def test_a_last_chunk_that_is_too_short(self):
        data = members()[11].content
        self.refuse(cut(11, 2, chunk(5, data[:-1])), Incomplete, 'Ref:7')

    def test_one_byte_too_many(self):
        data = members()[11].content
        self.refuse(cut(11, 2, chunk(5, data + b'\0')), Incomplete,
                    '00000005')

    def test_a_chunk_in_the_middle_that_is_missing(self):
        """It stands for zeros; what is missing is told by nothing."""
        self.convert(cut(5, 2))

    def test_a_chunk_in_the_middle_that_is_too_short(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data[:-512])), Incomplete, 'Ref:7')

    def test_longer_than_the_first(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data + b'\0')), Damaged, '00000002')
        self.refuse(cut(1, 2, chunk(0, data[:-1])), Damaged, '00000001')

    @ddt.data(6, 7, 99999999, 10 ** 18)
    def test_beyond_the_end(self, number):
        self.refuse(cut(13, 0, chunk(number, b'x')), Incomplete, str(number))
        self.refuse(cut(11, 2, chunk(number, b'x')), Incomplete, str(number))

    def test_too_many_chunks(self):
        content = sparse.Sparse()
        for count, accepted in ((19, True), (21, False)):
            content.put(512 * (count - 1), b'x' * 512)
            data = xva.Export([xva.Disk(
                content, 512, zeros=range(0, content.size, 512))]).tar()
            with mock.patch.object(chunks, '_MAX_CHUNKS', 20):
                if accepted:
                    self.convert(data)
                    self.target.unlink()
                else:
                    self.refuse(data, exceptions.LimitExceeded, 'Ref:7')

    def test_too_many_chunks_of_no_length(self):
        with mock.patch.object(chunks, '_MAX_SHORT_CHUNKS', 20):
            self.convert(archive.tar(members(keep_alives={2: 19})))
            self.target.unlink()
            self.refuse(archive.tar(members(keep_alives={2: 20})),
                        exceptions.LimitExceeded, 'Ref:7')

    @ddt.data('Ref:7/0000000', 'Ref:7/0000000x', 'Ref:7/-0000001',
              'Ref:7/00000000/', 'Ref:7/٠٠٠٠٠٠٠٠', 'Ref:7/' + '1' * 80,
              'Ref:7//00000000', 'Ref:7', 'Ref:7/00000000.xxhash.xxhash')
    def test_names_that_are_none(self, name):
        self.refuse(changed(1, name=name))

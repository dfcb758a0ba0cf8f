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

"""Members without their holes, and maps of holes that are damaged."""

import random
import unittest

import ddt

from glance_xs_convert.converter.containers import tar_sparse
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions


from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases

GIB = vhd.GIB
pattern = chains.pattern


@ddt.ddt
class Maps(cases.ConvertCase):

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


SIZE = 200_000
EXTENTS = [(0, 512), (512, 5), (70_000, 3000), (199_000, 1000)]


def whole():
    """The member with its holes, made by other means."""
    data = bytearray(SIZE)
    rng = random.Random('sparse')
    for offset, size in EXTENTS:
        data[offset:offset + size] = rng.randbytes(size)
    return bytes(data)


def reader(data, limit=SIZE, extents=EXTENTS, size=SIZE):
    stored = b''.join(data[offset:offset + count]
                      for offset, count in extents)
    return tar_sparse.SparseReader(
        forward.ForwardReader([stored]), size, extents, '0.vhd', limit)


@ddt.ddt
class SparseReader(unittest.TestCase):

    @ddt.data(*range(10))
    def test_reads_in_any_way(self, seed):
        rng = random.Random(seed)
        data = whole()
        tested, position = reader(data), 0
        while position < SIZE:
            size = min(rng.choice((0, 1, 511, 70_000)), SIZE - position)
            if rng.randrange(2):
                tested.skip(size)
            else:
                self.assertEqual(data[position:position + size],
                                 tested.read(size))
            position += size
            self.assertEqual(position, tested.position)
        self.assertRaises(forward.EndOfData, tested.read, 1)

    def test_end(self):
        for method in ('read', 'skip'):
            tested = reader(whole())
            tested.skip(SIZE - 3)
            self.assertRaises(forward.EndOfData, getattr(tested, method), 4)

    def test_holes_that_cost_too_much(self):
        """All that is read of them counts, and nothing that is skipped."""
        tested = reader(whole(), limit=50_000)
        tested.skip(100_000)
        for _ in range(5):
            tested.read(10_000)
        with self.assertRaisesRegex(exceptions.LimitExceeded, '0.vhd'):
            tested.read(1)

    def test_nothing_but_a_hole(self):
        tested = reader(b'', extents=[], size=9)
        self.assertEqual(bytes(9), tested.read(9))
        self.assertRaises(forward.EndOfData, tested.read, 1)


class CheckedMap(unittest.TestCase):
    """The maps of sound and of damaged members."""

    def test_sound(self):
        """Empty extents may mark the end."""
        for extents, stored, wanted in (
                ([], 0, []), ([(0, 9)], 9, [(0, 9)]),
                ([(0, 4), (9, 0)], 4, [(0, 4)]),
                ([(2, 3), (5, 4), (0, 0)], 512, [(2, 3), (5, 4)])):
            self.assertEqual(wanted, tar_sparse.checked_map(
                extents, 9, stored, '0.vhd'))

    def test_damaged(self):
        for extents, stored in (
                ([(0, 10)], 10), ([(4, 2), (5, 1)], 9), ([(5, 1), (0, 1)], 9),
                ([(-1, 3)], 9), ([(3, -1)], 9), ([(0, 9)], 8),
                ([(10, 0)], 9), ([(8, 1 << 62)], 1 << 63)):
            with self.assertRaises(exceptions.DamagedArchive) as caught:
                tar_sparse.checked_map(extents, 9, stored, '0.vhd')
            self.assertEqual('0.vhd', caught.exception.member)

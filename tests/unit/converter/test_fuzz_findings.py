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

"""What fuzzing and attacks by hand have found, each made small.

Every archive here once left ``convert`` with an error that is none of the
package's, took minutes or gigabytes, or gave a disk it should not.
"""

import dataclasses
import io
import random
import struct
import time
import tracemalloc

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

KIB = vhd.KIB
MIB = vhd.MIB
GIB = vhd.GIB
pattern = chains.pattern

#: Processor seconds; all took many times as long.
MOST_TIME = 3


def extended(kind, content):
    """An extended header as it stands in an archive."""
    member = archive.Member('././@Header', type=kind,
                            claimed_size=len(content))
    return (archive.header(member, archive.USTAR) + content
            + bytes(archive.padding(len(content))))


def good():
    """The members of a sound chain."""
    return archive.chain_members(
        chains.random_chain('findings', [96 * KIB] * 2))


class Finding(cases.ConvertCase):

    def refuse(self, data, error, member=None):
        """Check for a refusal that takes little processor time."""
        start = time.process_time()
        caught = self.assert_refused(data, error, member)
        self.assertLess(time.process_time() - start, MOST_TIME)
        return caught


@ddt.ddt
class Bombs(Finding):
    """Little data, and much to do."""

    def test_fixed_disk_that_is_a_hole(self):
        # 300 bytes that stand for 2040 GiB of zeros, all to be looked at.
        size = 2040 * GIB
        footer = vhd.Layer(512, disk_type=vhd.FIXED, footer_fields={
            'current_size': size}).tobytes()[512:]
        disk = sparse.Sparse()
        disk.put(size, footer)
        for pack in (archive.pax_sparse, archive.gnu_sparse):
            with self.subTest(pack.__name__):
                self.refuse(archive.tgz([pack('0.vhd', disk)]),
                            exceptions.XsConvertError)

    @ddt.named_data(
        # Three searches that start anew at each of 500 digits.
        ('digits', (b'1' * 498 + b'ab') * 32, b'x'),
        # Records that begin inside others, with keys of 16 KB.
        ('records_in_records', (b'0' * 496 + b'2 ') * 32 + b'k=', b'x'),
        ('short_records_in_records',
         (b'0' * 60 + b'2 ') * 262 + b'k=', b'x'),
        ('global_records_in_records',
         (b'0' * 60 + b'2 ') * 262 + b'k=', b'g'),
        ('sparse_0_0', b'26 GNU.sparse.size=000000\n'
         + (b'1' * 498 + b'ab') * 31, b'x'),
    )
    @ddt.unpack
    def test_pax_records_that_take_long_to_search(self, content, kind):
        header = extended(kind, content[:16384])
        member = archive.header(archive.Member('n'))
        self.refuse(
            archive.gzipped([(header * 3 + member) * 990,
                             *archive.tar_pieces(good())]),
            exceptions.DamagedArchive)

    @ddt.data(-1, -6593)
    def test_negative_size(self, size):
        # It was said to be larger than any VHD can be.
        error = self.refuse(
            archive.tgz([archive.Member('0.vhd', claimed_size=size)]),
            exceptions.DamagedArchive, '0.vhd')
        self.assertIn('is negative', str(error))

    def test_global_records_that_pile_up(self):
        # Every later member would be given all of them.
        pieces = []
        for member in range(300):
            for header in range(3):
                start = 1600 * (3 * member + header)
                pieces.append(extended(b'g', b''.join(
                    b'10 %05x=\n' % number
                    for number in range(start, start + 1600))))
            pieces.append(archive.header(archive.Member('n')))
        self.refuse(
            archive.gzipped([*pieces, *archive.tar_pieces(good())]),
            exceptions.DamagedArchive)

    def test_layers_that_cut_a_large_disk_again_and_again(self):
        # Each of the short layers cuts off what the base has written, and
        # looked for it in all of 2040 GiB.
        size = 2040 * GIB
        layers = chains.linked([
            vhd.Layer(size), *[vhd.Layer(512)] * 28,
            vhd.Layer(size, [(size // 512 - 1, pattern('end'))])])
        data = archive.tgz(archive.chain_members(
            layers, order=[0, 29, *range(28, 0, -1)]))
        start = time.process_time()
        self.assert_converts(layers, data)
        self.assertLess(time.process_time() - start, MOST_TIME)

    def test_block_far_behind_the_end_of_the_disk(self):
        # The map of decided sectors took a byte for each 2 MiB up to there.
        entries = 1 << 26
        leaf, base = chains.linked([vhd.Layer(4 * MIB), vhd.Layer(4 * MIB)])
        leaf = dataclasses.replace(leaf, locators=(), header_fields={
            'max_table_entries': entries})
        front, header = leaf.tobytes()[:512], leaf.tobytes()[512:1536]
        first_sector = 3 + 4 * entries // 512
        size = first_sector * 512 + 512 + 2 * MIB + 512
        unused = b'\xff' * MIB
        pieces = [
            archive.header(archive.Member('0.vhd', claimed_size=size)),
            front, header, *[unused] * (4 * entries // MIB - 1),
            unused[4:] + struct.pack('>I', first_sector), b'\xff' * 512,
            2 * MIB, front,
            *archive.tar_pieces([archive.Member('1.vhd', base.image())])]
        source = io.BytesIO(archive.gzipped(pieces))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assert_right_or_refused([leaf, base], source)
        self.assertLess(tracemalloc.get_traced_memory()[1], 32 * MIB)


@ddt.ddt
class Errors(Finding):
    """What came out was no error of the package."""

    @ddt.data(1 * GIB, 1 << 63, 3 * 1024 * GIB, 64 * KIB + 1, 0)
    def test_fixed_disk_known_by_its_content(self, size):
        # Its footer was believed; a size of 0 gave an empty disk.
        layer = vhd.Layer(64 * KIB, [(0, pattern('data'))],
                          disk_type=vhd.FIXED,
                          footer_fields={'current_size': size})
        self.refuse(
            archive.tgz([archive.Member('disk.img', layer.image())]),
            (exceptions.DamagedVhd, exceptions.LimitExceeded), 'disk.img')

    def test_long_name_in_a_later_gzip_header(self):
        content = random.Random(0).randbytes(4 * MIB)
        plain = archive.tar([archive.Member('notes', content), *good()])
        first, second = (archive.gzipped([plain[:3 * MIB]]),
                         archive.gzipped([plain[3 * MIB:]]))
        flags_with_name = b'\x1f\x8b\x08\x08' + second[4:10]
        self.refuse(
            first + flags_with_name + b'n' * MIB + b'\0' + second[10:],
            exceptions.DamagedArchive)

    def test_table_right_before_another_footer(self):
        # The footer at the end was read as what might be the batmap, so
        # its contradiction to the copy came too late.
        layer = vhd.Layer(
            6000, [(0, pattern('data', 3))], block_size=1024,
            layout=('header', 'blocks', 'bat'),
            front_fields={'unique_id': chains.layer_id(1).bytes})
        self.assert_converts([layer])
        self.target.unlink()
        self.convert(io.BytesIO(layer.tobytes()))

    def test_footer_that_is_data(self):
        # The last sector of the last block was taken for the VHD's own
        # footer if the archive had to be surveyed.
        footer = vhd.Layer(512, disk_type=vhd.FIXED).tobytes()[512:]
        layers = chains.linked([
            vhd.Layer(4 * KIB, [(0, pattern('data')), (7, footer)],
                      block_size=4 * KIB, tail=vhd.ABSENT),
            vhd.Layer(4 * KIB, [(1, pattern('old', 3))], block_size=4 * KIB)])
        self.assert_converts(layers)
        self.target.unlink()
        layers[1] = dataclasses.replace(layers[1], front=vhd.DAMAGED)
        self.assert_converts(layers)

    def test_page_in_which_the_file_ends(self):
        # It stayed in the file when a shorter layer cut it off, and a check
        # did not count it.
        layers = chains.linked([
            vhd.Layer(32 * KIB, [(56, pattern('leaf'))], block_size=KIB),
            vhd.Layer(6 * KIB, block_size=KIB),
            vhd.Layer(64 * KIB, [(11, pattern('base', 22)), (80, bytes(512))],
                      block_size=KIB)])
        data = archive.tgz(archive.chain_members(layers, order=[2, 1, 0]))
        self.assert_converts(layers, data)
        self.assertEqual(api.check(io.BytesIO(data)).allocated,
                         self.target.stat().st_blocks * 512)

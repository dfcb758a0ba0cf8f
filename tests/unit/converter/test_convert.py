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

"""Exact bytes: every kind of sound archive, judged by the builder's model."""

import dataclasses
import hashlib
import io
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import unittest
import zlib

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import progress

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

KIB = vhd.KIB
MIB = vhd.MIB
pattern = chains.pattern

FORMATS = {'gnu': archive.GNU, 'pax': archive.PAX, 'ustar': archive.USTAR}

QEMU_IMG = shutil.which('qemu-img')

CREATOR_0_1 = 0x00000001
CREATOR_1_1 = 0x00010001


def chain(count=3, size=96 * KIB, block_size=4 * KIB, seed='chain'):
    """Random layers of one size."""
    return chains.random_chain(seed, [size] * count, [block_size])


def with_layer(layers, number, **changes):
    """Return the chain with one of its layers changed."""
    changed = list(layers)
    changed[number] = dataclasses.replace(layers[number], **changes)
    return changed


def named(**cases_):
    """Turn keyword arguments into what ``ddt.named_data`` takes."""
    return list(cases_.items())


@ddt.ddt
class Lengths(cases.ConvertCase):

    @ddt.data(*range(1, 31))
    def test_chain_of(self, count):
        layers = chain(count, seed=count)
        order = list(range(count))
        random.Random(count).shuffle(order)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_layers_without_any_block(self):
        self.assert_converts(chains.linked([vhd.Layer(MIB)] * 4))


@ddt.ddt
class Orders(cases.ConvertCase):

    @ddt.data(*itertools.permutations(range(3)))
    def test_members_in_order(self, order):
        layers = chain()
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    @ddt.data(*range(8))
    def test_seven_members_at_random(self, seed):
        layers = chains.random_chain(
            seed, [100_000, 90_112, 110_000, 70_000, 131_072, 65_536, 98_304],
            [4096, 512, 8192])
        order = random.Random(seed).sample(range(7), 7)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_twenty_to_leaf_first(self):
        layers = chain(21)
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=reversed(range(21)))))


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

    def test_pax_global_header(self):
        layers = chain()
        start = tarfile.TarInfo.create_pax_global_header(
            {'comment': 'made by git archive'})
        self.assert_converts(layers, archive.tgz(
            [archive.Member('', raw=[start]),
             *archive.chain_members(layers)]))


@ddt.ddt
class Names(cases.ConvertCase):

    @ddt.named_data(
        ('all', 3, archive.OLD_NAMES),
        ('image_base', 2, ('image.vhd', 'base.vhd')),
        ('snap_base', 2, ('snap.vhd', 'base.vhd')),
        ('snap_image', 2, ('snap.vhd', 'image.vhd')),
        ('image', 1, ('image.vhd',)),
        ('base', 1, ('base.vhd',)),
    )
    @ddt.unpack
    def test_old_names(self, count, names):
        layers = chain(count)
        for order in (range(count), range(count)[::-1]):
            for prefix in ('', './'):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(
                        layers, [prefix + name for name in names], order)))
                self.target.unlink()

    @ddt.data('disk.vhd', 'image.vhd', './7b21a3de-0001.vhd', 'a b.vhd',
              'x/y/z.vhd', 'größe.vhd', 'DISK.VHD', '-.vhd',
              'n' * 150 + '.vhd')
    def test_single(self, name):
        layers = chain(1)
        result = self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, [name])))
        self.assertIn(os.path.basename(name), result.layers[0].name)

    @ddt.data('disk', './disk.img', 'image.vhd.bak')
    def test_single_without_the_suffix(self, name):
        self.assert_converts(chain(1), archive.tgz(
            archive.chain_members(chain(1), [name])))
        self.target.unlink()
        fixed = [vhd.Layer(MIB, [(0, pattern(0)), (9, pattern(9, 9))],
                           disk_type=vhd.FIXED)]
        self.assert_converts(fixed, archive.tgz(
            archive.chain_members(fixed, [name])))

    def test_numbers_of_two_digits_are_numbers(self):
        layers = [vhd.Layer(64 * KIB, [(0, pattern(i)), (i + 1, pattern(i))])
                  for i in range(12)]
        layers = chains.linked(layers)
        self.assert_converts(layers, archive.tgz(archive.chain_members(
            layers, order=sorted(range(12), key=str))))

    def ignored(self, *members):
        """Put members before, between and behind a chain's."""
        layers = chain()
        good = archive.chain_members(layers, order=(1, 0, 2))
        for place in range(4):
            self.assert_converts(layers, archive.tgz(
                [*good[:place], *members, *good[place:]]))
            self.target.unlink()

    def test_swap_is_ignored(self):
        self.ignored(archive.Member(
            './swap.vhd', vhd.Layer(MIB, [(0, pattern('swap'))]).image()))

    def test_damaged_swap_is_ignored(self):
        self.ignored(archive.Member('swap.vhd', b'conectix' * 100))

    def test_swap_beside_old_names(self):
        layers = chain()
        self.assert_converts(layers, archive.tgz([
            archive.Member('swap.vhd', vhd.Layer(MIB).image()),
            *archive.chain_members(layers, archive.OLD_NAMES)]))

    def test_text_is_ignored(self):
        self.ignored(archive.Member('./manifest.ovf', b'<Envelope/>' * 99),
                     archive.Member('empty'),
                     archive.Member('0.vhd.sha256', b'0' * 64))

    def test_directories_are_ignored(self):
        self.ignored(archive.directory('./'), archive.directory('./empty/'))

    @ddt.data(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
              tarfile.CHRTYPE, tarfile.BLKTYPE)
    def test_other_kinds_are_ignored(self, kind):
        self.ignored(archive.Member('other', type=kind, linkname='./0.vhd'))


@ddt.ddt
class Sizes(cases.ConvertCase):
    """The leaf's current size to the byte; shorter and longer layers."""

    @ddt.data(1, 511, 512, 513, 4095, 4096, 4097, 5000, 65_535, 65_537,
              MIB - 1, MIB + 512, 2 * MIB + 4096, 3 * MIB + 17)
    def test_size(self, size):
        for block_size in (512, 4096, 2 * MIB):
            layers = chains.random_chain(size, [size] * 2, [block_size])
            self.assert_converts(layers)
            self.target.unlink()

    @ddt.data(512, 1536, 4096, 6656, MIB - 512, MIB + 512)
    def test_written_to_the_last_sector(self, size):
        for cut in (0, 1, 511):
            layers = chains.linked([vhd.Layer(
                size - cut, [(0, pattern(size, size // 512))],
                block_size=4096)])
            self.assert_converts(layers)
            self.target.unlink()

    @ddt.named_data(*named(
        grown=(200_000, 200_000, 65_536),
        grown_twice=(300_000, 200_000, 100_000),
        shrunk=(65_536, 100_000, 200_000),
        middle_shorter=(200_704, 65_536, 200_704),
        middle_shorter_unaligned=(200_001, 65_537, 199_999),
        middle_longer=(100_000, 300_000, 100_000),
        leaf_longer=(300_000, 100_000, 200_000),
        leaf_one_sector_longer=(66_048, 65_536, 65_536),
        leaf_one_byte_longer=(65_537, 65_536, 65_535),
        leaf_one_byte=(1, 100_000, 200_000),
        base_one_byte=(100_000, 50_000, 1),
        up_and_down=(90_000, 120_000, 50_000, 110_000, 70_001, 130_000),
    ))
    def test_layers_of_sizes(self, sizes):
        for seed in range(3):
            layers = chains.random_chain(seed, sizes, [4096, 512, 32_768])
            for order in (range(len(sizes)), reversed(range(len(sizes)))):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    def test_past_the_end_of_a_shorter_layer_all_is_zeros(self):
        full = [(0, pattern('base', 256))]
        layers = chains.linked([
            vhd.Layer(256 * 512), vhd.Layer(100 * 512 + 99),
            vhd.Layer(256 * 512, full)])
        for order in itertools.permutations(range(3)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    def test_data_behind_the_end_in_the_last_block(self):
        layers = chains.linked([
            vhd.Layer(5 * 512, [(0, pattern('leaf', 16))]),
            vhd.Layer(9 * 512 + 1, [(0, pattern('base', 16))])])
        self.assert_converts(layers)

    def test_data_behind_the_end_of_a_shorter_parent(self):
        layers = chains.linked([
            vhd.Layer(64 * KIB, [(1, pattern('leaf'))]),
            vhd.Layer(9 * 512 + 1, [(0, pattern('base', 128))])])
        for order in ((0, 1), (1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.data(b'tap\0', b'vpc ', b'vs  ', b'win ', b'wa\0\0', b'qemu',
              b'qem2', b'vbox', b'd2v ', b'\xff\xfe\0\1', b'\0\0\0\0')
    def test_any_creator(self, creator):
        size = 3 * MIB + 5 * 512
        layers = chains.linked([vhd.Layer(
            size, [(0, pattern(0)), (size // 512 - 1, pattern(1))],
            creator_application=creator, creator_version=0x000A0003,
            creator_host_os=b'Wi2k')])
        self.assert_converts(layers)

    def test_original_size_does_not_count(self):
        self.assert_converts(chains.linked([
            vhd.Layer(MIB, [(5, pattern(0))], original_size=9 * MIB),
            vhd.Layer(MIB, [(9, pattern(1))], original_size=512)]))

    def test_geometry_does_not_count(self):
        self.assert_converts([vhd.Layer(
            MIB, [(2047, pattern(0))], footer_fields={'disk_geometry': 0})])


@ddt.ddt
class Blocks(cases.ConvertCase):
    """Block sizes, and where the parts of a VHD lie."""

    @ddt.data(*(512 << power for power in range(13)))
    def test_block_size(self, block_size):
        sizes = [4 * block_size + 512, 4 * block_size, 3 * block_size]
        layers = chains.random_chain(
            block_size, [size + 8192 for size in sizes], [block_size])
        for order in ((0, 1, 2), (2, 1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.data((512, 2 * MIB, 4096), (2 * MIB, 512, 65_536),
              (32_768, 16_384, 8192), (4096, 2 * MIB, 512))
    def test_block_sizes_mixed(self, block_sizes):
        for seed in range(3):
            layers = chains.random_chain(
                seed, [130_000, 150_000, 140_000], block_sizes)
            for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    @ddt.named_data(*named(
        any_order={'block_order': (3, 0, 7, 5, 1)},
        gaps={'gaps': {0: 1, 3: 5, 5: 1000}},
        bat_behind_blocks={'layout': ('header', 'locators', 'blocks', 'bat')},
        header_behind_blocks={'layout': ('blocks', 'header', 'bat',
                                         'locators')},
        bat_then_blocks_then_header={'layout': ('bat', 'blocks', 'locators',
                                                'header')},
        blocks_bat_header={'layout': ('blocks', 'bat', 'locators',
                                      'header')},
        bat_before_header={'layout': ('bat', 'locators', 'header',
                                      'blocks')},
        locators_first={'layout': ('locators', 'header', 'bat', 'blocks')},
        locators_last={'layout': ('header', 'bat', 'blocks', 'locators')},
        header_far={'padding': {'header': 777}},
        bat_far={'padding': {'bat': 1234}},
        blocks_far={'padding': {'blocks': 3}},
        tail_far={'padding': {'tail': 9}},
        batmap={'batmap': True},
        no_batmap={'batmap': False},
        batmap_behind_blocks={'batmap': True, 'layout': (
            'header', 'locators', 'blocks', 'bat')},
        data_aligned={'data_alignment': 4096},
        more_entries={'extra_table_entries': 1},
        many_more_entries={'extra_table_entries': 10_000, 'batmap': True},
        allocated_and_empty={'allocated': (2, 4), 'batmap': True},
        many_locators={'locators': [
            (b'W2ru', bytes([i]) * 600) for i in range(8)]},
    ))
    def test_layout(self, changes):
        writes = [[(n * 8 + i, pattern((n, i), 3)) for n in (0, 1, 3, 5, 7)]
                  for i in range(3)]
        plain = chains.linked([
            vhd.Layer(64 * KIB + 512, written, block_size=4096)
            for written in writes])
        for changed in ((0,), (1,), (2,), (0, 1, 2)):
            layers = plain
            for number in changed:
                layers = with_layer(layers, number, **changes)
            for order in ((0, 1, 2), (2, 1, 0)):
                with self.subTest(changed=changed, order=order):
                    self.assert_converts(layers, archive.tgz(
                        archive.chain_members(layers, order=order)))
                    self.target.unlink()

    def test_table_moved_by_a_resize(self):
        first = pattern('before', 8)
        layers = chains.linked([
            vhd.Layer(8 * MIB, [(9, pattern('leaf'))]),
            vhd.Layer(8 * MIB, [(0, first), (8000, pattern('after', 9))],
                      padding={'bat': 40}, block_order=(1, 0),
                      gaps={1: 8}, original_size=MIB),
            vhd.Layer(4 * MIB, [(4, pattern('base', 90))])])
        self.assert_converts(layers)

    def test_table_longer_than_needed_by_one_unused_block(self):
        # vhd-util rounds a shrunk disk's table up to what it was.
        layers = chains.linked([vhd.Layer(
            100_000, [(3, pattern(0))], block_size=4096,
            extra_table_entries=40)])
        self.assert_converts(layers)


@ddt.ddt
class Bitmaps(cases.ConvertCase):
    """A sector counts if its bit is set, in every layer."""

    SECTORS = 64

    def layers(self, *selections, **options):
        """Layers full of bytes with only the selected bits set."""
        return chains.linked([
            vhd.Layer(self.SECTORS * 512, [
                (sector, pattern((number, sector)))
                for sector in range(self.SECTORS) if selected(sector)
            ], stale=[(0, pattern(('stale', number), self.SECTORS))],
                block_size=8192, **options)
            for number, selected in enumerate(selections)])

    def both_orders(self, layers):
        numbers = range(len(layers))
        for order in (numbers, reversed(numbers)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.target.unlink()

    @ddt.named_data(*named(
        even=lambda s: s % 2 == 0, odd=lambda s: s % 2, none=lambda s: False,
        all=lambda s: True, first=lambda s: s % 16 == 0,
        last=lambda s: s % 16 == 15, seven=lambda s: s % 8 == 7,
        runs=lambda s: s // 3 % 2, one=lambda s: s == 37))
    def test_bits(self, selected):
        self.both_orders(self.layers(selected))
        self.both_orders(self.layers(selected, lambda s: s % 3))
        self.both_orders(self.layers(lambda s: s % 5 == 0, selected))
        self.both_orders(self.layers(
            lambda s: s % 7 == 0, selected, lambda s: s % 4 == 0))

    def test_stale_bytes_in_thirty_layers(self):
        self.both_orders(self.layers(
            *[lambda s, n=n: s % 31 == n for n in range(30)]))

    def test_stale_bytes_alone_take_no_space(self):
        layers = [vhd.Layer(4 * MIB, stale=[(0, pattern(0, 8192))])]
        self.assert_converts(layers)
        self.assertLess(self.target.stat().st_blocks * 512, cases.SLACK)

    @ddt.named_data(*named(leaf_first=(0, 1, 2), base_first=(2, 1, 0),
                           middle_first=(1, 0, 2), middle_last=(2, 0, 1)))
    def test_zeros_hide_what_is_older(self, order):
        size = 256 * KIB
        layers = chains.linked([
            vhd.Layer(size, [(16, bytes(8192)), (100, pattern('new'))]),
            vhd.Layer(size, [(64, bytes(64 * KIB)), (99, pattern('mid', 3)),
                             (20, pattern('hidden'))]),
            vhd.Layer(size, [(0, pattern('old', 512))])])
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, order=order)))

    def test_zeros_over_data_leave_a_hole(self):
        layers = chains.linked([
            vhd.Layer(4 * MIB, [(0, bytes(4 * MIB))]),
            vhd.Layer(4 * MIB, [(0, pattern('old', 8192))])])
        for order in ((0, 1), (1, 0)):
            self.assert_converts(layers, archive.tgz(
                archive.chain_members(layers, order=order)))
            self.assertLess(
                self.target.stat().st_blocks * 512, cases.SLACK)
            self.target.unlink()

    def test_blocks_of_zeros_take_no_space(self):
        layers = [vhd.Layer(8 * MIB, [(0, bytes(8 * MIB)),
                                      (5000, pattern('one'))])]
        self.assert_converts(layers)

    def test_bits_of_the_first_tap_begin_at_the_lowest(self):
        self.both_orders(self.layers(
            lambda s: s % 5 == 1, lambda s: s % 3 == 0, lambda s: s % 2,
            creator_version=CREATOR_0_1, bit_order=vhd.LSB_FIRST))

    def test_bits_past_the_end_of_a_small_block(self):
        # 512 bytes a block: one bit of the bitmap counts.
        layers = chains.linked([
            vhd.Layer(8192, [(s, pattern(s)) for s in range(0, 16, 3)],
                      stale=[(0, pattern('s', 16))], block_size=512),
            vhd.Layer(8192, [(0, pattern('b', 16))], block_size=1024)])
        self.both_orders(layers)


@ddt.ddt
class Fixed(cases.ConvertCase):

    @ddt.data(512, 3 * 512, 4096, 100_000, MIB, MIB + 512)
    def test_single(self, size):
        self.assert_converts([vhd.Layer(
            size, [(0, pattern(size, -(-size // 512)))],
            disk_type=vhd.FIXED)])

    def test_single_sparse(self):
        self.assert_converts([vhd.Layer(
            16 * MIB, [(9, pattern(1)), (20_000, pattern(2, 9)),
                       (32_767, pattern(3))], disk_type=vhd.FIXED)])

    def test_single_empty(self):
        self.assert_converts([vhd.Layer(MIB, disk_type=vhd.FIXED)])

    @ddt.named_data(*named(
        same=100_352, shorter=50_176, longer=204_800, odd=99_999))
    def test_base(self, size):
        upper = chains.random_chain('fixed', [100_352, 100_352, 100_352])
        layers = [*upper[:2], dataclasses.replace(
            upper[2], current_size=size, disk_type=vhd.FIXED, stale=(),
            written=[(0, pattern('fixed', size // 512))])]
        for order in itertools.permutations(range(3)):
            with self.subTest(order=order):
                self.assert_converts(layers, archive.tgz(
                    archive.chain_members(layers, order=order)))
                self.target.unlink()

    def test_first_sector_that_looks_like_a_footer(self):
        # The guest's data begin with what the copy of a dynamic disk's
        # footer would be.
        inner = vhd.Layer(MIB, [(0, pattern('inner'))]).tobytes()
        self.assert_converts([vhd.Layer(
            2 * MIB, [(0, inner[:inner.rindex(b'conectix')])],
            disk_type=vhd.FIXED)])

    def test_any_name(self):
        layers = [vhd.Layer(MIB, [(0, pattern(0))], disk_type=vhd.FIXED)]
        self.assert_converts(layers, archive.tgz(
            archive.chain_members(layers, ['fixed.vhd'])))


@ddt.ddt
class Footers(cases.ConvertCase):

    STATES = named(
        tail_absent={'tail': vhd.ABSENT},
        tail_zeroed={'tail': vhd.ZEROED},
        tail_damaged={'tail': vhd.DAMAGED},
        tail_short={'tail': vhd.SHORT},
        front_zeroed={'front': vhd.ZEROED},
        front_damaged={'front': vhd.DAMAGED},
        times_differ={'tail_fields': {'time_stamp': 1}},
        saved_state_differs={'front_fields': {'saved_state': 1}},
        hidden_differs={'front_fields': {'hidden': 1}},
        hidden={'hidden': 1},
        saved={'saved_state': 1},
        hidden_unsummed_0_1={'hidden': 1, 'hidden_unsummed': True,
                             'creator_version': CREATOR_0_1,
                             'bit_order': vhd.LSB_FIRST},
        hidden_unsummed_1_1={'hidden': 1, 'hidden_unsummed': True,
                             'creator_version': CREATOR_1_1},
        features={'footer_fields': {'features': 3}},
        reserved_bytes={'footer_fields': {'reserved': b'r' * 426}},
        front_zeroed_header_far={'front': vhd.ZEROED,
                                 'padding': {'header': 1}},
        front_damaged_bat_behind={
            'front': vhd.DAMAGED,
            'layout': ('header', 'locators', 'blocks', 'bat')},
        tail_absent_header_behind={
            'tail': vhd.ABSENT,
            'layout': ('locators', 'blocks', 'bat', 'header')},
    )

    @ddt.named_data(*STATES)
    def test_single(self, changes):
        self.assert_converts(with_layer(chain(1), 0, **changes))

    @ddt.named_data(*STATES)
    def test_in_a_chain(self, changes):
        for number in range(3):
            layers = with_layer(chain(), number, **changes)
            for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
                with self.subTest(number=number, order=order):
                    self.assert_converts(layers, archive.tgz(
                        archive.chain_members(layers, order=order)))
                    self.target.unlink()

    def test_every_front_copy_damaged(self):
        layers = [dataclasses.replace(layer, front=vhd.DAMAGED)
                  for layer in chain()]
        self.assert_converts(layers)

    def test_every_tail_absent(self):
        layers = [dataclasses.replace(layer, tail=vhd.ABSENT)
                  for layer in chain()]
        self.assert_converts(layers)

    @ddt.data(1, 100, 511, 512)
    def test_cut_in_the_tail(self, missing):
        layers = chain()
        for number in range(3):
            members = archive.chain_members(layers)
            whole = layers[number].tobytes()
            members[number] = archive.Member(
                f'./{number}.vhd', whole[:-missing])
            self.assert_converts(layers, archive.tgz(members))
            self.target.unlink()

    @ddt.data(bytes(512), bytes(4096), b'x', b'x' * 5000)
    def test_bytes_behind_the_tail(self, more):
        layers = chain()
        for number in range(3):
            members = archive.chain_members(layers)
            members[number] = archive.Member(
                f'./{number}.vhd', layers[number].tobytes() + more)
            self.assert_converts(layers, archive.tgz(members))
            self.target.unlink()

    @ddt.data(512, 60 * KIB, 100 * KIB, 4 * MIB)
    def test_copies_of_different_sizes(self, size):
        # The footer at the end holds, as in blktap's vhd_read_footer.
        for number in range(2):
            layers = with_layer(chain(2), number,
                                front_fields={'current_size': size})
            self.assert_right_or_refused(layers, archive.tgz(
                archive.chain_members(layers)))

    def test_no_ids(self):
        layers = [dataclasses.replace(
            layer, unique_id=vhd.NIL, parent_unique_id=vhd.NIL)
            for layer in chain()]
        self.assert_converts(layers)

    def test_last_block_ends_the_file(self):
        self.assert_converts([vhd.Layer(
            MIB, [(0, pattern(0, 2048))], block_size=4096,
            tail=vhd.ABSENT)])

    def test_parent_names_that_point_nowhere(self):
        layers = with_layer(
            chain(), 0, parent_unicode_name='../../etc/passwd',
            locators=chains.locators('/dev/zero'))
        self.assert_converts(layers)

    def test_parent_name_of_256_letters(self):
        self.assert_converts(with_layer(
            chain(), 0, parent_unicode_name='ü' * 256))

    def test_parent_ids_unknown(self):
        layers = chain()
        for number in (0, 1):
            layers = with_layer(layers, number,
                                parent_unique_id=chains.layer_id(99))
        self.assert_converts(layers)

    def test_parent_ids_nil(self):
        layers = with_layer(chain(), 1, parent_unique_id=vhd.NIL)
        self.assert_converts(layers)


@ddt.ddt
class Sources(cases.ConvertCase):
    """How the archive is handed over."""

    class Trickle(io.RawIOBase):
        """Gives at most ``step`` bytes a time, and can't be rewound."""

        def __init__(self, data, step):
            super().__init__()
            self._data = io.BytesIO(data)
            self._step = step

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._data.readinto(memoryview(buffer)[:self._step])

    def data(self):
        layers = chain()
        return layers, archive.tgz(archive.chain_members(
            layers, order=(1, 0, 2)))

    @ddt.data(str, pathlib.Path)
    def test_path(self, kind):
        layers, data = self.data()
        self.assert_disk(layers, api.convert(
            kind(self.source(data)), kind(self.target)))

    def test_file_object(self):
        layers, data = self.data()
        self.assert_converts(layers, io.BytesIO(data))

    @ddt.data(1, 17, 512, 65_536, 1 << 20)
    def test_pieces_of(self, step):
        layers, data = self.data()
        self.assert_converts(layers, self.Trickle(data, step))

    def test_pipe(self):
        layers, data = self.data()
        with subprocess.Popen(['cat', self.source(data)],
                              stdout=subprocess.PIPE) as feeder:
            self.assert_converts(layers, feeder.stdout)

    @ddt.data(b'', archive.gzipped([b'x'])[:10])
    def test_refusal_does_not_wait_for_the_end_of_a_pipe(self, start):
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.write(writing, start + b'\xff' * 1024)
        with open(reading, 'rb', buffering=0) as source:
            self.assert_refused(source)

    @ddt.data((0, 1, 2), (2, 1, 0), (1, 2, 0))
    def test_pipe_with_members_in_any_order(self, order):
        layers = chain()
        data = archive.tgz(archive.chain_members(layers, order=order))
        self.assert_converts(layers, self.Trickle(data, 1000))

    def test_result_names_the_layers(self):
        layers, data = self.data()
        result = self.assert_converts(layers, data)
        self.assertEqual(
            ['0.vhd', '1.vhd', '2.vhd'],
            [layer.name.removeprefix('./') for layer in result.layers])
        self.assertGreater(result.bytes_written, 0)

    def test_file_object_is_read_from_where_it_is(self):
        layers, data = self.data()
        source = io.BytesIO(b'before' + data)
        source.seek(6)
        self.assert_converts(layers, source)

    def test_file_object_that_is_read_twice_from_where_it_is(self):
        layers = with_layer(chain(), 1, layout=(
            'header', 'blocks', 'bat', 'locators'))
        data = archive.tgz(archive.chain_members(layers))
        source = io.BytesIO(b'before' + data)
        source.seek(6)
        self.assert_converts(layers, source)

    def test_pipe_with_a_layer_that_has_to_be_read_twice(self):
        layers = with_layer(chain(), 1, layout=(
            'header', 'blocks', 'bat', 'locators'))
        data = archive.tgz(archive.chain_members(layers))
        self.assert_right_or_refused(layers, self.Trickle(data, 5000))

    def test_progress(self):
        layers, data = self.data()
        seen = progress.Progress()
        result = self.assert_converts(layers, data, progress=seen)
        self.assertEqual(1.0, seen.fraction)
        self.assertEqual(result.bytes_written, seen.bytes_written)

    def test_overwrite(self):
        layers, data = self.data()
        self.target.write_bytes(b'mine' * 999_999)
        self.assert_converts(layers, data, overwrite=True)

    def test_overwrite_with_nothing(self):
        _, data = self.data()
        self.target.write_bytes(b'mine')
        with self.assertRaises(exceptions.DamagedArchive):
            self.convert(data[:-9], overwrite=True)
        self.assertEqual([self.target.name], os.listdir(self.output))
        self.assertEqual(b'mine', self.target.read_bytes())

    def test_target_that_is_a_link(self):
        _, data = self.data()
        elsewhere = self.scratch / 'elsewhere'
        self.target.symlink_to(elsewhere)
        with self.assertRaises(exceptions.TargetExists):
            self.convert(data)
        self.assertFalse(elsewhere.exists())

    def interrupted(self, interrupt):
        """Convert from a source that calls ``interrupt`` half-way."""
        class Interrupted(self.Trickle):
            def readinto(self, buffer):
                if self._data.tell() > 20_000:
                    interrupt()
                return super().readinto(buffer)

        _, data = self.data()
        with self.assertRaises(KeyboardInterrupt):
            self.convert(Interrupted(data, 4096))
        self.assertEqual([], os.listdir(self.output))

    def test_interruption_leaves_nothing(self):
        cases.heed_signals(self)
        main = threading.main_thread().ident
        signals = iter([signal.SIGINT])

        def interrupt():
            for number in signals:
                signal.pthread_kill(main, number)
                time.sleep(0.5)

        self.interrupted(interrupt)

    def test_interruption_while_reading_leaves_nothing(self):
        def interrupt():
            raise KeyboardInterrupt

        self.interrupted(interrupt)

    def test_existing_target_is_kept(self):
        _, data = self.data()
        self.target.write_bytes(b'mine')
        with self.assertRaises(exceptions.TargetExists):
            self.convert(data)
        self.assertEqual(b'mine', self.target.read_bytes())
        self.assertEqual([self.target.name], os.listdir(self.output))

    def test_target_in_no_directory(self):
        _, data = self.data()
        with self.assertRaises(exceptions.XsConvertError):
            api.convert(self.source(data), self.output / 'no' / 'disk')

    def test_source_that_is_not_there(self):
        with self.assertRaises(exceptions.XsConvertError):
            self.convert(self.scratch / 'nothing')
        self.assertEqual([], os.listdir(self.output))


class Large(cases.ConvertCase):

    def test_chain_of_30_on_2040_gib(self):
        size = 2040 * vhd.GIB
        last = size // 512 - 1
        layers = chains.linked([
            vhd.Layer(size, [(number, pattern(number)),
                             (last - 4096 * number, pattern(-number))],
                      batmap=number % 2 == 0)
            for number in range(30)])
        path = self.scratch / 'large.tgz'
        archive.write_tgz(path, archive.chain_members(layers))
        with self.memory(vhd.GIB):
            self.assert_converts(layers, path)

    def test_member_over_8_gib(self):
        per_block = 2 * MIB // 512
        blocks = 4100
        layers = chains.linked([
            vhd.Layer(10 * vhd.GIB, [(5, pattern('leaf'))]),
            vhd.Layer(10 * vhd.GIB, [
                (block * per_block + block % per_block, pattern(block))
                for block in range(blocks)])])
        members = archive.chain_members(layers)
        self.assertGreater(members[1].size, 8 * vhd.GIB)
        path = self.scratch / 'large.tgz'
        archive.write_tgz(path, members)
        with self.memory(vhd.GIB):
            self.assert_converts(layers, path)

    def test_story(self):
        story = chains.story_chain()
        result = self.assert_converts(story.layers, story.archive)
        self.assertEqual(story.size, result.virtual_size)


@ddt.ddt
@unittest.skipUnless(QEMU_IMG, 'qemu-img is not installed')
class QemuImg(cases.ConvertCase):
    """VHDs that qemu-img made, wrapped as images of one layer."""

    @ddt.data('dynamic', 'fixed', 'dynamic,force_size=on',
              'fixed,force_size=on')
    def test_converts(self, options):
        disk = sparse.Sparse()
        for sector, data in ((0, pattern('a', 9)), (4095, pattern('b', 3)),
                             (10_000, pattern('c', 700)),
                             (20_479, pattern('d'))):
            disk.put(sector * 512, data)
        raw, image = self.scratch / 'raw', self.scratch / 'image.vhd'
        disk.write_to(raw)
        subprocess.run(
            [QEMU_IMG, 'convert', '-f', 'raw', '-O', 'vpc', '-o',
             f'subformat={options}', raw, image],
            check=True, capture_output=True)
        result = self.convert(archive.tgz(
            [archive.Member('./image.vhd', image.read_bytes())]))
        found = self.target.read_bytes()
        self.assertEqual(result.virtual_size, len(found))
        if 'force_size' in options:
            self.assertEqual(disk.size, len(found))
        self.assertGreaterEqual(len(found), disk.size)
        self.assertEqual(
            hashlib.sha256(disk.tobytes().ljust(len(found), b'\0')).digest(),
            hashlib.sha256(found).digest())


@ddt.ddt
class Fixtures(cases.ConvertCase):
    """The images made with XenServer's own library."""

    def setUp(self):
        super().setUp()
        self.fixtures = cases.fixtures(self)
        with open(self.fixtures / 'manifest.json') as manifest:
            self.manifest = json.load(manifest)
        self.sums = {}

    def test_accepted(self):
        for name, wanted in self.manifest['accept'].items():
            with self.subTest(name):
                result = self.convert(self.fixtures / name)
                self.assertEqual(wanted['virtual_size'], result.virtual_size)
                self.assertEqual(wanted['layers'], len(result.layers))
                self.assertEqual(wanted['sha256'], self.sha256())
                self.assertEqual([self.target.name],
                                 os.listdir(self.output))
                self.target.unlink()

    def sha256(self):
        """The sum of the raw disk; disks that are alike are summed once."""
        size = self.target.stat().st_size
        extents = [(sector, data.ljust(512, b'\0'))
                   for sector, data in model.stored_sectors(self.target)
                   if any(data)]
        key = size, hash(tuple(extents))
        if key not in self.sums:
            self.sums[key] = model.sha256([vhd.Layer(size, extents)])
        return self.sums[key]

    def test_rejected(self):
        for name in self.manifest['reject']:
            with self.subTest(name):
                self.assert_refused(self.fixtures / name)

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

"""Compressed VHDs in an archive, and members that are not worth reading."""

import gzip
import io
import lzma
import time
from unittest import mock

import ddt

from glance_xs_convert import api
from glance_xs_convert.converter.streams import frames
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import ova
from testbed.images import shapes
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

MIB = 1 << 20
GIB = 1 << 30
#: What the first sector of a disk with a partition table may be.
BOOT = (b'\xeb\x63\x90'.ljust(446, b'\0') + b'\x80\0\0\0\x83'
        + bytes(59) + b'\x55\xaa')


def fixed(size=MIB):
    return shapes.changed(shapes.chain(1), 0, disk_type=vhd.FIXED,
                          current_size=size)


def packed_vhd(name='0.vhd.gz', size=8 * MIB, pack=gzip.compress):
    return archive.Member(name, pack(fixed(size)[0].tobytes()))


@ddt.ddt
class Compressed(cases.ConvertCase):

    def test_what_the_result_says(self):
        """The name is that of the member, and the size that of the VHD."""
        two = shapes.chain(2)
        result = self.assert_converts(two, archive.tar(shapes.compressed(
            two, gzip.compress, '0.vhd.gz', '1.vhd')))
        self.assertEqual(
            [(name, layer.image().size)
             for name, layer in zip(('0.vhd.gz', '1.vhd'), two)],
            [(layer.name, layer.file_size) for layer in result.layers])
        self.assertEqual([], result.ignored)

    def test_a_descriptor_that_comes_late(self):
        """The archive is a package nevertheless, and its sums count."""
        disk = ova.Disk(shapes.chain(1)[0], packed=ova.gzipped,
                        href='disk.vhd.gz')
        for wrong in ({}, {'disk.vhd.gz': '0' * 40}):
            package = ova.Package([ova.Machine([disk])], wrong=wrong)
            data = archive.tar(package.members()[::-1])
            if wrong:
                self.assert_refused(data, exceptions.WrongDigest)
                continue
            self.assertEqual('system', self.convert(data).disk.name)
            self.target.unlink()

    def test_a_late_descriptor_of_a_vhd_out_of_order(self):
        disk = ova.Disk(shapes.changed(
            shapes.chain(1), 0, layout=('header', 'blocks', 'bat'))[0])
        package = ova.Package([ova.Machine([disk])])
        result = self.convert(archive.tar(package.members()[::-1]))
        self.assertEqual('system', result.disk.name)

    @ddt.data(archive.tgz, archive.tar)
    def test_expansion_is_in_proportion_to_the_whole(self, make):
        """Data that is compressed twice might expand a million times."""
        members = [packed_vhd(size=16 * MIB)]
        twice = make is archive.tgz
        with mock.patch.object(frames, '_FREE', MIB), mock.patch.object(
                frames, '_MAX_RATIO', 2000):
            if twice:
                self.assert_refused(make(members), exceptions.LimitExceeded,
                                    '0.vhd.gz')
            else:
                self.assert_converts(fixed(16 * MIB), make(members))

    def test_members_expand_together(self):
        data = archive.tgz([
            packed_vhd(f'{number}.vhd.gz') for number in range(8)])
        with mock.patch.object(frames, '_FREE', 20 * MIB), mock.patch.object(
                frames, '_MAX_RATIO', 1):
            self.assert_refused(data, exceptions.LimitExceeded,
                                'out of proportion')

    def test_packages_are_in_proportion(self):
        disk = ova.Disk(fixed(16 * MIB)[0], packed=ova.gzipped)
        data = gzip.compress(ova.Package([ova.Machine([disk])]).tar())
        with mock.patch.object(frames, '_FREE', MIB), mock.patch.object(
                frames, '_MAX_RATIO', 100):
            self.assert_refused(data, exceptions.LimitExceeded,
                                'out of proportion')

    def test_too_many_layers(self):
        data = archive.tgz([
            packed_vhd(f'{number}.vhd.xz', MIB, lzma.compress)
            for number in range(5)])
        self.assert_refused(data, exceptions.LimitExceeded, '4.vhd.xz',
                            limits=image_limits.Limits(max_chain_length=3))

    def test_a_limit_of_the_disk(self):
        self.assert_refused(
            archive.tgz([packed_vhd()]), exceptions.LimitExceeded,
            '0.vhd.gz', limits=image_limits.Limits(max_virtual_size=4 * MIB))

    def test_others_are_ignored(self):
        """Compressed files that are no VHDs do not have to be intact."""
        for content in (gzip.compress(b'log'), gzip.compress(b'log')[:-2],
                        b'\x1f\x8b', lzma.compress(bytes(5 * MIB))):
            found = self.convert(archive.tar([
                *shapes.accepted()['dates'].members,
                archive.Member('log', content)]))
            self.target.unlink()
            self.assertEqual(['log'], [item.name for item in found.ignored])


@ddt.ddt
class TooLargeToBeIgnored(cases.ConvertCase):
    """A fixed VHD has its footer at its end, but reading costs time."""

    def refused_in(self, start, size=64 * GIB, name='notes', **options):
        """Refuse an archive with a large member, and return the seconds."""
        content = sparse.Sparse()
        content.put(0, start)
        content.truncate(size)
        path = self.scratch / 'large'
        with open(path, 'wb') as target:
            writer = archive.GzipWriter(target)
            writer.write_pieces(archive.tar_pieces([
                *shapes.accepted()['dates'].members,
                archive.Member(name, content)]))
            writer.close()
        seconds = time.process_time()
        self.assert_refused(str(path), exceptions.LimitExceeded, name,
                            **options)
        return time.process_time() - seconds

    @ddt.data(b'', b'text', b'#!/bin/sh\n', bytes(600) + b'x', b'MZ\x90\0')
    def test_what_does_not_begin_like_a_disk(self, start):
        self.assertLess(self.refused_in(start), 5)

    def test_what_is_larger_than_any_disk(self):
        self.assertLess(self.refused_in(
            BOOT, limits=image_limits.Limits(max_virtual_size=32 * GIB)), 5)

    def test_a_fixed_disk_is_read_to_its_end(self):
        """It is told by its beginning that it may be one."""
        layers = shapes.changed(
            fixed(2 * MIB), 0, written=[(0, BOOT), (9, b'data' * 128)])
        for name, bounds in (('root', MIB), ('0.vhd', 100)):
            self.assert_converts(layers, archive.tgz([
                archive.Member(name, layers[0].image())]),
                limits=image_limits.Limits(max_ignored_size=bounds))
            self.target.unlink()

    def test_one_that_does_not_begin_like_a_disk(self):
        """The message says what to do, and that helps."""
        [layer] = fixed(2 * MIB)
        small = image_limits.Limits(max_ignored_size=MIB)
        error = self.assert_refused(
            archive.tgz([archive.Member('root', layer.image())]),
            exceptions.LimitExceeded, 'root', limits=small)
        self.assertIn('a name that ends in .vhd', str(error))
        self.assert_converts([layer], archive.tgz([
            archive.Member('root.vhd', layer.image())]), limits=small)

    def test_check_and_inspect_say_the_same(self):
        data = archive.tgz([*shapes.accepted()['dates'].members,
                            archive.Member('notes', b'x' * MIB)])
        small = image_limits.Limits(max_ignored_size=100)
        for road in (api.check, api.inspect):
            with self.assertRaisesRegex(exceptions.LimitExceeded, 'notes'):
                road(io.BytesIO(data), limits=small)

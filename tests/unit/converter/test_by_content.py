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

"""What an image is, only its bytes tell."""

import bz2
import io
import lzma
import random

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import test_xva

KIB = 1 << 10
MIB = 1 << 20
DATA = random.Random('content').randbytes(3000)


def chain(count=3):
    return chains.random_chain('content', [96 * KIB] * count, [4 * KIB])


def fixed(content=DATA, size=64 * KIB, **options):
    """A fixed VHD, whose only footer is at its end."""
    return vhd.Layer(size, [(0, content.ljust(3072, b'\0'))],
                     disk_type=vhd.FIXED, **options)


class Chains(cases.ConvertCase):

    def test_zstandard(self):
        layers = chain()
        members = archive.chain_members(layers)
        for options in ({}, {'frame_size': 50_000}, {'level': 19}):
            packed = archive.zstandard(
                archive.tar_pieces(members), **options)
            self.assert_converts(layers, packed)
            self.target.unlink()

    def test_zstandard_from_a_pipe(self):
        layers = chain()
        packed = archive.zstandard(
            archive.tar_pieces(archive.chain_members(layers)))
        self.assert_converts(layers, test_xva.OnceOnly(io.BytesIO(packed)))

    def test_zstandard_that_has_to_be_read_twice(self):
        layers = chains.linked([
            vhd.Layer(96 * KIB, [(0, DATA[:512])],
                      layout=('header', 'blocks', 'bat'))])
        packed = archive.zstandard(
            archive.tar_pieces(archive.chain_members(layers)))
        self.assert_converts(layers, packed)
        self.target.unlink()
        self.assert_refused(test_xva.OnceOnly(io.BytesIO(packed)),
                            exceptions.UnreadableSource)

    def test_zstandard_without_the_end_of_the_archive(self):
        """Its frames end anywhere, and need not have checksums."""
        packed = archive.zstandard(archive.tar_pieces(
            archive.chain_members(chain()), end=0))
        self.assert_refused(packed, exceptions.DamagedArchive)

    def test_directories_that_are_called_like_chunks(self):
        layers = chain(1)
        self.assert_converts(layers, archive.tgz(archive.chain_members(
            layers, prefix='backup/20240101/')))


@ddt.ddt
class BareVhds(cases.ConvertCase):

    def test_dynamic(self):
        [layer] = chain(1)
        self.assert_converts([layer], layer.tobytes())

    def test_dynamic_without_a_footer_at_its_end(self):
        layer = vhd.Layer(96 * KIB, [(0, DATA[:512])], tail=vhd.ABSENT)
        self.assert_converts([layer], layer.tobytes())

    def test_dynamic_with_its_only_footer_at_the_end(self):
        layer = vhd.Layer(96 * KIB, [(0, DATA[:512])], front=vhd.ZEROED)
        self.assert_converts([layer], layer.tobytes())

    def test_fixed(self):
        self.assert_converts([fixed()], fixed().tobytes())

    @ddt.data(bytes(512), b'\xeb\x63\x90', b'<html>', b'\xff' * 512)
    def test_fixed_whatever_it_begins_with(self, start):
        layer = fixed(start + DATA[len(start):])
        self.assert_converts([layer], layer.tobytes())

    def test_from_where_the_file_stands(self):
        for layer in (fixed(), *chain(1)):
            source = io.BytesIO(b'before' + layer.tobytes())
            source.seek(6)
            self.assert_converts([layer], source)
            self.target.unlink()

    def test_differencing(self):
        self.assert_refused(chain(2)[0].tobytes(), exceptions.MissingBase,
                            'parent')

    def test_from_a_pipe(self):
        [layer] = chain(1)
        error = self.assert_refused(
            test_xva.OnceOnly(io.BytesIO(layer.tobytes())),
            exceptions.UnreadableSource)
        self.assertIn('given as a file', str(error))

    def test_fixed_from_a_pipe(self):
        error = self.assert_refused(
            test_xva.OnceOnly(io.BytesIO(fixed().tobytes())),
            exceptions.NotAnArchive)
        self.assertIn('if it is a fixed VHD', str(error))

    def test_compressed(self):
        for data in (chain(1)[0].tobytes(), fixed().tobytes()):
            for packed in (archive.gzipped([data]),
                           archive.zstandard([data])):
                self.assert_refused(packed, exceptions.NotAnArchive)
        error = self.assert_refused(archive.gzipped([chain(1)[0].tobytes()]))
        self.assertIn('it is a compressed VHD', str(error))


@ddt.ddt
class Others(cases.ConvertCase):

    @ddt.data((b'', 'empty'), (b'QFI\xfb' + DATA, 'qcow2'),
              (b'KDMV' + DATA, 'VMDK'), (b'vhdxfile' + DATA, 'VHDX'),
              (bz2.compress(DATA), 'bzip2'), (lzma.compress(DATA), 'xz'),
              (b'<!DOCTYPE html>' + DATA, 'text'),
              (b'PK\x03\x04' + DATA, 'zip'),
              (archive.gzipped([archive.gzipped([DATA])]), 'gzip'),
              (DATA, '0x' + DATA[:8].hex()),
              (fixed().tobytes()[:-512] + bytes(512), '0x'))
    @ddt.unpack
    def test_what_it_is_instead(self, data, what):
        for source in (data, test_xva.OnceOnly(io.BytesIO(data))):
            error = self.assert_refused(source, exceptions.NotAnArchive)
            self.assertIn(what, str(error))

    def test_archives_of_other_things(self):
        error = self.assert_refused(archive.tgz([
            archive.Member('disk.ovf', b'<x/>'),
            archive.Member('disk.vmdk', DATA)]), exceptions.NoVhd)
        self.assertIn('disk.ovf', str(error))

    def test_an_empty_archive(self):
        self.assert_refused(archive.tgz([]), exceptions.NoVhd)


class FirstSectors(cases.ConvertCase):

    BOOT = b'\xeb\x63\x90'.ljust(510, b'\0') + b'\x55\xaa'

    def found(self, data):
        """What ``check`` and ``inspect`` find in an image."""
        source = self.source(data)
        checked = api.check(source).first_sectors
        [disk] = api.inspect(source).disks
        self.assertEqual(checked, disk.first_sectors)
        return checked

    def test_of_a_chain(self):
        """The newest layer that has written a sector counts."""
        boot, none = (0, self.BOOT), (0, bytes(512))
        for written, expected in (
                ([[], [boot]], True), ([[none], [boot]], False),
                ([[boot], [none]], True), ([[boot], []], True),
                ([[(1, self.BOOT)], []], False)):
            layers = chains.linked([
                vhd.Layer(96 * KIB, extents) for extents in written])
            for order in ((0, 1), (1, 0)):
                found = self.found(archive.tgz(archive.chain_members(
                    layers, order=order)))
                self.assertEqual(expected, found.has_boot_code)
                self.assertEqual(not expected, found.hint is not None)

    def test_of_bare_vhds(self):
        for layer in (fixed(self.BOOT),
                      vhd.Layer(96 * KIB, [(0, self.BOOT)])):
            self.assertTrue(self.found(layer.tobytes()).has_boot_code)

    def test_of_an_export(self):
        content = xva.random_disk('first', 3 * MIB).content
        content.put(0, self.BOOT)
        for chunk_size in (100, 512, 1 << 20):
            data = xva.Export([xva.Disk(content, chunk_size)]).tar()
            self.assertTrue(self.found(data).has_boot_code)
        empty = xva.random_disk('empty', 512)
        self.assertFalse(
            self.found(xva.Export([empty]).tar()).has_boot_code)


class Inspection(cases.ConvertCase):

    def test_of_an_export(self):
        disks = test_xva.two_disks()
        found = api.inspect(self.source(xva.Export(disks).tar()))
        self.assertEqual([], found.layers)
        self.assertEqual('web-1', found.guest.name)
        self.assertEqual(
            [(disk.size, disk.device) for disk in disks],
            [(disk.virtual_size, disk.disk.device) for disk in found.disks])
        for disk, seen in zip(disks, found.disks, strict=True):
            self.assertEqual(
                sum(len(chunk.data) for chunk in disk.chunks()), seen.stored)

    def test_of_a_chain(self):
        layers = chain()
        found = api.inspect(self.source(
            archive.tgz(archive.chain_members(layers))))
        self.assertEqual(3, len(found.layers))
        self.assertIsNone(found.guest)
        self.assertEqual([(96 * KIB, None)], [
            (disk.virtual_size, disk.disk) for disk in found.disks])

    def test_damage_is_found(self):
        data = bytearray(xva.Export(test_xva.two_disks()).tar())
        data[-5000] ^= 1
        with self.assertRaises(exceptions.XsConvertError):
            api.inspect(self.source(bytes(data)))

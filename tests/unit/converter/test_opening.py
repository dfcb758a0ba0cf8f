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

import io
import itertools

import ddt

from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes
from tests.unit.converter import sources

KIB = 1 << 10
MIB = 1 << 20
DATA = shapes.DATA


def chain(count=3):
    return chains.random_chain('content', [96 * KIB] * count, [4 * KIB])


@ddt.ddt
class Chains(cases.ConvertCase):

    def test_zstandard(self):
        layers = chain()
        members = archive.chain_members(layers)
        for options in ({}, {'frame_size': 50_000}, {'level': 19}):
            packed = archive.zstandard(
                archive.tar_pieces(members), **options)
            self.assert_converts(layers, packed)
            self.target.unlink()

    @ddt.data(*sources.COMPRESSIONS)
    def test_wrapped(self, name):
        layers = chain()
        plain = archive.tar(archive.chain_members(layers))
        for size in (len(plain), 30_000):
            packed = b''.join(
                sources.COMPRESSIONS[name](plain[start:start + size])
                for start in range(0, len(plain), size))
            for source in (packed, sources.OnceOnly(io.BytesIO(packed))):
                self.assert_converts(layers, source)
                self.target.unlink()

    @ddt.data('gzip', 'bzip2', 'xz')
    def test_wrapped_without_the_end_of_the_archive(self, name):
        layers = chain()
        plain = archive.tar(archive.chain_members(layers), end=0)
        self.assert_converts(layers, sources.COMPRESSIONS[name](plain))

    def test_zstandard_that_has_to_be_read_twice(self):
        layers = chains.linked([
            vhd.Layer(96 * KIB, [(0, DATA[:512])],
                      layout=('header', 'blocks', 'bat'))])
        packed = archive.zstandard(
            archive.tar_pieces(archive.chain_members(layers)))
        self.assert_converts(layers, packed)
        self.target.unlink()
        self.assert_refused(sources.OnceOnly(io.BytesIO(packed)),
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
        self.assert_converts([shapes.fixed()], shapes.fixed().tobytes())

    def test_footers_of_511_bytes(self):
        """Virtual PC before 2004 left out the last byte, a zero."""
        for layer in (shapes.fixed(tail=vhd.SHORT),
                      vhd.Layer(96 * KIB, [(0, DATA[:512])], front=vhd.ZEROED,
                                tail=vhd.SHORT)):
            self.assert_converts([layer], layer.tobytes())
            self.target.unlink()
            for name in ('disk', '0.vhd'):
                self.assert_converts([layer], archive.tgz([
                    archive.Member(name, layer.image())]))
                self.target.unlink()

    def test_a_file_that_seems_to_have_one(self):
        """It ends within a sector because its disk does."""
        layer = vhd.Layer(64 * KIB + 511, [(0, DATA[:512])],
                          disk_type=vhd.FIXED)
        for data in (layer.tobytes(), archive.gzipped([layer.tobytes()]),
                     archive.tgz([archive.Member('0.vhd', layer.image())])):
            self.assert_converts([layer], data)
            self.target.unlink()

    @ddt.data(bytes(512), b'\xeb\x63\x90', b'<html>', b'\xff' * 512)
    def test_fixed_whatever_it_begins_with(self, start):
        layer = shapes.fixed(start + DATA[len(start):])
        self.assert_converts([layer], layer.tobytes())

    def test_from_where_the_file_stands(self):
        for layer in (shapes.fixed(), *chain(1)):
            source = io.BytesIO(b'before' + layer.tobytes())
            source.seek(6)
            self.assert_converts([layer], source)
            self.target.unlink()

    def test_differencing(self):
        self.assert_refused(chain(2)[0].tobytes(), exceptions.MissingBase,
                            'parent')

    def test_from_a_pipe(self):
        for layer in (shapes.fixed(), *chain(1)):
            self.assert_converts([layer], sources.OnceOnly(
                io.BytesIO(layer.tobytes())))
            self.target.unlink()

    @ddt.data(*sources.COMPRESSIONS)
    def test_compressed(self, name):
        for layer in (shapes.fixed(), *chain(1)):
            packed = sources.COMPRESSIONS[name](layer.tobytes())
            for source in (packed, sources.OnceOnly(io.BytesIO(packed))):
                self.assert_converts([layer], source)
                self.target.unlink()

    @ddt.data('gzip', 'xz')
    def test_compressed_and_cut(self, name):
        for layer in (shapes.fixed(), *chain(1)):
            packed = sources.COMPRESSIONS[name](layer.tobytes())
            self.assert_refused(packed[:-2], exceptions.DamagedArchive)

    def test_compressed_out_of_order(self):
        layer = vhd.Layer(96 * KIB, [(0, DATA[:512])],
                          layout=('header', 'blocks', 'bat'))
        packed = archive.gzipped([layer.tobytes()])
        self.assert_converts([layer], packed)
        self.target.unlink()
        self.assert_refused(sources.OnceOnly(io.BytesIO(packed)),
                            exceptions.UnreadableSource)

    @ddt.data(vhd.ABSENT, vhd.SHORT)
    def test_nothing_behind_the_table(self, tail):
        """No batmap can be there."""
        layer = vhd.Layer(8 * KIB, [], block_size=4 * KIB, tail=tail)
        data = layer.tobytes()
        for source in (data, archive.gzipped([data]),
                       sources.OnceOnly(io.BytesIO(data))):
            self.assert_converts([layer], source)
            self.target.unlink()

    def test_a_block_behind_the_end_of_the_file(self):
        """Nobody needs it, because it lies beyond the disk, but it counts."""
        layer = vhd.Layer(
            8 * KIB, [(0, DATA[:512])], block_size=4 * KIB, tail=vhd.ABSENT,
            extra_table_entries=4, bat_entries={3: 4096})
        data = layer.tobytes()
        for source, error in (
                (data, exceptions.DamagedVhd),
                (archive.gzipped([data]), exceptions.DamagedVhd),
                (sources.OnceOnly(io.BytesIO(data)),
                 exceptions.UnreadableSource)):
            self.assert_refused(source, error)

    def test_compressed_without_a_footer_at_the_front(self):
        layer = vhd.Layer(96 * KIB, [(0, DATA[:512])], front=vhd.ZEROED)
        self.assert_converts([layer], archive.gzipped([layer.tobytes()]))

    def test_compressed_differencing(self):
        self.assert_refused(archive.gzipped([chain(2)[0].tobytes()]),
                            exceptions.MissingBase, 'parent')

    def test_compressed_raw_disk(self):
        """Nothing but its end says that it is no fixed VHD."""
        raw = DATA.ljust(5 * MIB, b'\0')
        for data in (raw, bytes(512) + raw, raw + DATA[:511]):
            for source in (archive.gzipped([data]),
                           sources.OnceOnly(io.BytesIO(data))):
                self.assert_refused(source, exceptions.NotAnArchive)

    def test_wrapped_twice(self):
        plain = archive.tar(archive.chain_members(chain()))
        for outer, inner in itertools.permutations(sources.COMPRESSIONS, 2):
            error = self.assert_refused(
                sources.COMPRESSIONS[outer](
                    sources.COMPRESSIONS[inner](plain)),
                exceptions.NotAnArchive)
            self.assertIn(f'{inner} data inside {outer} data', str(error))


@ddt.ddt
class Others(cases.ConvertCase):

    @ddt.data((b'', 'empty'), (b'QFI\xfb' + DATA, 'qcow2'),
              (b'KDMV' + DATA, 'VMDK'), (b'vhdxfile' + DATA, 'VHDX'),
              (b'<!DOCTYPE html>' + DATA, 'an HTML page'),
              (b'PK\x03\x04' + DATA, 'zip'),
              (archive.gzipped([archive.gzipped([DATA])]), 'gzip'),
              (DATA, '0x' + DATA[:8].hex()),
              (shapes.fixed().tobytes()[:-512] + bytes(512), '0x'),
              (bytes(9 * MIB), 'whose first sector is zero'))
    @ddt.unpack
    def test_what_it_is_instead(self, data, what):
        for source in (data, sources.OnceOnly(io.BytesIO(data))):
            error = self.assert_refused(source, exceptions.NotAnArchive)
            self.assertIn(what, str(error))

    def test_archives_of_other_things(self):
        error = self.assert_refused(archive.tgz([
            archive.Member('disk.txt', b'x'),
            archive.Member('disk.vmdk', DATA)]), exceptions.NoVhd)
        self.assertIn('disk.txt', str(error))

    def test_an_empty_archive(self):
        for data in (archive.tgz([]), archive.tar([]), bytes(10240)):
            self.assert_refused(data, exceptions.NoVhd)

    @ddt.data('disk.alias.vhd', 'disk.vhd/blocks/0/12',
              'x/chunk-filters.json')
    def test_files_of_xen_orchestra(self, name):
        error = self.assert_refused(archive.tar([
            archive.Member('readme', b'text'), archive.Member(name, DATA)]),
            exceptions.NoVhd, name)
        self.assertIn('Xen Orchestra', str(error))

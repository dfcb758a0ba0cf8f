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

"""Checks the builder against readers and files that are not ours."""

import gzip
import hashlib
import io
import json
import shutil
import struct
import subprocess
import tarfile
import tempfile
import unittest
import uuid

import ddt

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

QEMU_IMG = shutil.which('qemu-img')
GNU_TAR = shutil.which('tar')
PER_BLOCK = 2 * vhd.MIB // vhd.SECTOR


def unpack(fields, data):
    """Read a structure by the builder's own table of fields."""
    codes = '>' + ''.join(code for _, code in fields)
    return dict(zip([name for name, _ in fields],
                    struct.unpack_from(codes, data), strict=True))


def layer_of(data):
    """Read a dynamic VHD as XenServer writes it back into a layer."""
    footer = unpack(vhd.FOOTER_FIELDS, data)
    header = unpack(vhd.HEADER_FIELDS, data[footer['data_offset']:])
    block_size = header['block_size']
    bat = struct.unpack_from(f'>{header["max_table_entries"]}I', data,
                             header['table_offset'])
    placed = sorted((entry, block) for block, entry in enumerate(bat)
                    if entry != vhd.UNUSED)
    written, stale = [], []
    for entry, block in placed:
        start = entry * vhd.SECTOR + 512
        bitmap = data[start - 512:start]
        for index in range(block_size // vhd.SECTOR):
            offset = start + index * vhd.SECTOR
            sector = data[offset:offset + vhd.SECTOR]
            place = (block * block_size // vhd.SECTOR + index, sector)
            if bitmap[index // 8] & 0x80 >> index % 8:
                written.append(place)
            elif any(sector):
                stale.append(place)
    locators = []
    for number in range(8):
        code, _, length, _, offset = struct.unpack_from(
            '>4sIIIQ', header['parent_locator_entries'], 24 * number)
        if any(code):
            locators.append((code, data[offset:offset + length]))
    return vhd.Layer(
        footer['current_size'], written, stale,
        disk_type=footer['disk_type'], block_size=block_size,
        allocated=[block for _, block in placed],
        block_order=[block for _, block in placed],
        unique_id=uuid.UUID(bytes=footer['unique_id']),
        parent_unique_id=uuid.UUID(bytes=header['parent_unique_id']),
        parent_unicode_name=header['parent_unicode_name'].decode(
            'utf-16-be').rstrip('\0'),
        locators=locators, time_stamp=footer['time_stamp'],
        original_size=footer['original_size'], hidden=footer['hidden'],
        batmap=True, data_alignment=4096,
        footer_fields={'disk_geometry': footer['disk_geometry']},
        header_fields={'parent_time_stamp': header['parent_time_stamp']})


@ddt.ddt
class AgainstFixtures(unittest.TestCase):
    """The builder makes the very files XenServer's library made."""

    def setUp(self):
        super().setUp()
        self.fixtures = cases.fixtures(self)

    @ddt.data('base-image.tgz', 'snapshot-chain.tgz', 'resized-chain.tgz')
    def test_same_file(self, name):
        with tarfile.open(self.fixtures / name) as image:
            for member in filter(tarfile.TarInfo.isfile, image):
                data = image.extractfile(member).read()
                built = layer_of(data).tobytes()
                self.assertEqual(
                    hashlib.sha256(data).hexdigest(),
                    hashlib.sha256(built).hexdigest(), member.name)

    @ddt.data('base-image.tgz', 'resized-chain.tgz')
    def test_model_gives_the_recorded_sum(self, name):
        with tarfile.open(self.fixtures / name) as image:
            files = {member.name: image.extractfile(member).read()
                     for member in image if member.isfile()}
        layers = [layer_of(files[member]) for member in sorted(files)]
        with open(self.fixtures / 'manifest.json') as manifest:
            wanted = json.load(manifest)['accept'][name]
        self.assertEqual(wanted['virtual_size'], model.size(layers))
        self.assertEqual(wanted['sha256'], model.sha256(layers))


@ddt.ddt
@unittest.skipUnless(QEMU_IMG, 'qemu-img is not installed')
class AgainstQemuImg(unittest.TestCase):
    """qemu-img reads single VHDs right where it needs no bitmaps."""

    def check(self, layer):
        with tempfile.TemporaryDirectory() as directory:
            source, raw = f'{directory}/0.vhd', f'{directory}/raw'
            layer.image().write_to(source)
            subprocess.run(
                [QEMU_IMG, 'convert', '-f', 'vpc', '-O', 'raw', source, raw],
                check=True, capture_output=True)
            self.assertIsNone(model.difference(raw, [layer]))

    @ddt.named_data(
        ('plain', {}),
        ('batmap', {'batmap': True, 'data_alignment': 4096}),
        ('order', {'block_order': (2, 0, 3)}),
        ('gaps', {'gaps': {2: 3, 3: 100}}),
        ('bat_behind_blocks', {'layout': ('header', 'blocks', 'bat')}),
        ('header_behind_all', {'layout': ('blocks', 'bat', 'header')}),
        ('more_entries', {'extra_table_entries': 300}),
        ('no_tail', {'tail': vhd.ABSENT}),
    )
    def test_dynamic(self, options):
        self.check(vhd.Layer(8 * vhd.MIB, [
            (0, chains.pattern('first', PER_BLOCK)),
            (2 * PER_BLOCK, chains.pattern('second', PER_BLOCK)),
            (3 * PER_BLOCK, bytes(2 * vhd.MIB - vhd.SECTOR)),
            (4 * PER_BLOCK - 1, chains.pattern('third')),
        ], **options))

    def test_size_that_is_no_multiple_of_the_block(self):
        self.check(vhd.Layer(5 * vhd.MIB + 3 * vhd.SECTOR, [
            (2 * PER_BLOCK, chains.pattern('last', PER_BLOCK))]))

    def test_fixed(self):
        self.check(vhd.Layer(3 * vhd.MIB, [
            (7, chains.pattern('first', 5)), (6143, chains.pattern('last')),
        ], disk_type=vhd.FIXED))


class Structure(unittest.TestCase):

    def test_sizes_of_the_structures(self):
        for fields, size in ((vhd.FOOTER_FIELDS, 512),
                             (vhd.HEADER_FIELDS, 1024)):
            codes = '>' + ''.join(code for _, code in fields)
            self.assertEqual(size, struct.calcsize(codes))

    def test_geometry_of_the_specification(self):
        for size, wanted in ((40 * vhd.MIB, (963, 5, 17)),
                             (1 * vhd.GIB, (2080, 16, 63)),
                             (2040 * vhd.GIB, (65535, 16, 255))):
            cylinders, heads, per_track = wanted
            self.assertEqual(cylinders << 16 | heads << 8 | per_track,
                             vhd.geometry(size))

    def test_footer_states(self):
        def footers(**states):
            data = vhd.Layer(vhd.MIB, **states).tobytes()
            return data[:512], data[-512:]

        front, tail = footers()
        self.assertEqual(front, tail)
        self.assertEqual(b'conectix', front[:8])
        self.assertEqual(bytes(512), footers(front=vhd.ZEROED)[0])
        self.assertNotEqual(tail, footers(tail=vhd.DAMAGED)[1])
        self.assertNotEqual(b'conectix', footers(tail=vhd.ABSENT)[1][:8])
        self.assertEqual(b'conectix', footers(tail=vhd.SHORT)[1][1:9])

    def test_hidden_byte_left_out_of_the_sum(self):
        plain = vhd.Layer(vhd.MIB).tobytes()
        hidden = vhd.Layer(vhd.MIB, hidden=1, hidden_unsummed=True).tobytes()
        self.assertEqual(plain[:85] + b'\1' + plain[86:512], hidden[:512])

    def test_bits_and_stale_bytes(self):
        layer = vhd.Layer(vhd.MIB, written=[(1, chains.pattern('new', 2))],
                          stale=[(0, chains.pattern('old', 2))])
        data = layer.tobytes()
        start = 512 + 1024 + 512
        self.assertEqual(b'\x60' + bytes(511), data[start:start + 512])
        self.assertEqual(chains.pattern('old', 2)[:512],
                         data[start + 512:start + 1024])
        self.assertEqual(chains.pattern('new', 2),
                         data[start + 1024:start + 2048])


class Model(unittest.TestCase):
    """The rules, on chains small enough to be worked out by hand."""

    A, B = chains.pattern('a'), chains.pattern('b')

    def disk(self, *layers):
        return model.expected(layers)

    def layer(self, sectors, written, extra=0):
        return vhd.Layer(sectors * 512 + extra, written, block_size=512)

    def test_newest_layer_decides_each_sector(self):
        self.assertEqual(
            self.A + self.B + bytes(512),
            self.disk(self.layer(3, [(0, self.A)]),
                      self.layer(3, [(0, self.B + self.B)])))

    def test_zeros_hide_what_is_older(self):
        self.assertEqual(
            bytes(512) + self.B,
            self.disk(self.layer(2, [(0, bytes(512))]),
                      self.layer(2, [(0, self.B + self.B)])))

    def test_stale_bytes_are_nowhere(self):
        self.assertEqual(bytes(512), self.disk(
            vhd.Layer(512, stale=[(0, self.A)])))

    def test_a_shorter_layer_hides_what_lies_past_its_end(self):
        self.assertEqual(
            self.B + bytes(512) + self.A,
            self.disk(self.layer(3, [(2, self.A)]), self.layer(1, []),
                      self.layer(3, [(0, self.B * 3)])))

    def test_the_end_of_a_layer_cuts_to_the_byte(self):
        self.assertEqual(
            self.B + self.B[:100] + bytes(412) + bytes(7),
            self.disk(self.layer(2, [], 7), self.layer(1, [], 100),
                      self.layer(3, [(0, self.B * 3)])))

    def test_the_leaf_gives_the_size(self):
        self.assertEqual(
            self.B[:10],
            self.disk(self.layer(0, [], 10), self.layer(2, [(0, self.B)])))

    def test_sha256_and_allocation(self):
        layers = [vhd.Layer(9 * 4096, [(0, self.A), (9, self.B),
                                       (64, bytes(512)), (71, self.A)])]
        self.assertEqual(
            hashlib.sha256(model.expected(layers)).hexdigest(),
            model.sha256(layers))
        self.assertEqual(3 * 4096, model.allocation(layers))

    def test_difference(self):
        layers = [vhd.Layer(vhd.MIB, [(9, self.A)])]
        with tempfile.NamedTemporaryFile() as raw:
            raw.truncate(vhd.MIB)
            self.assertIn('sector 9', model.difference(raw.name, layers))
            raw.seek(9 * 512)
            raw.write(self.A)
            raw.flush()
            self.assertIsNone(model.difference(raw.name, layers))
            raw.write(b'x')
            raw.flush()
            self.assertIn('sector 10', model.difference(raw.name, layers))
            raw.truncate(vhd.MIB + 1)
            self.assertIn('bytes long', model.difference(raw.name, layers))


@ddt.ddt
class Archives(unittest.TestCase):

    def members(self):
        layers = [vhd.Layer(vhd.MIB, [(3, chains.pattern(i, 9))])
                  for i in range(3)]
        return archive.chain_members(chains.linked(layers), order=(1, 0, 2))

    @ddt.data(archive.GNU, archive.PAX, archive.USTAR)
    def test_tarfile_reads_it(self, tar_format):
        members = [archive.directory(), *self.members(),
                   archive.Member('long/' * 19 + 'notes', b'text')]
        data = archive.tgz(members, tar_format)
        with tarfile.open(fileobj=io.BytesIO(data), mode='r:gz') as image:
            found = image.getmembers()
            self.assertEqual(
                ['.', './1.vhd', './0.vhd', './2.vhd', members[-1].name],
                [member.name for member in found])
            for member, wanted in list(zip(found, members, strict=True))[1:-1]:
                self.assertEqual(wanted.content.tobytes(),
                                 image.extractfile(member).read())

    @ddt.data(archive.gnu_sparse, archive.pax_sparse)
    def test_tarfile_reads_sparse_members(self, sparse_member):
        content = sparse.Sparse()
        for number in range(30):
            content.put(number * 5000, b'%04d' % number)
        content.truncate(200 * 1024)
        data = archive.tar([sparse_member('0.vhd', content)])
        with tarfile.open(fileobj=io.BytesIO(data)) as image:
            self.assertEqual(content.tobytes(),
                             image.extractfile('0.vhd').read())
        if GNU_TAR:
            with tempfile.TemporaryDirectory() as directory:
                subprocess.run([GNU_TAR, '-xC', directory], input=data,
                               check=True, capture_output=True)
                with open(f'{directory}/0.vhd', 'rb') as extracted:
                    self.assertEqual(content.tobytes(), extracted.read())

    @ddt.data(None, 1, 1000, 1 << 20)
    def test_gzip_reads_the_stream(self, member_size):
        data = archive.gzipped([b'abc' * 50, 3000, b'def'],
                               member_size=member_size)
        self.assertEqual(b'abc' * 50 + bytes(3000) + b'def',
                         gzip.decompress(data))

    def test_gzip_of_many_zeros(self):
        data = archive.gzipped([b'abc', 40 << 20, b'def'])
        self.assertEqual(b'abc' + bytes(40 << 20) + b'def',
                         gzip.decompress(data))


class Story(unittest.TestCase):

    def test_story_chain(self):
        story = chains.story_chain()
        with tarfile.open(fileobj=io.BytesIO(story.archive)) as image:
            self.assertEqual(['.', './1.vhd', './0.vhd', './2.vhd'],
                             image.getnames())
        self.assertEqual(64 * vhd.MIB, story.size)
        self.assertEqual(model.sha256(story.layers), story.sha256)
        self.assertEqual(b'\x55\xaa', model.read_sector(
            story.layers, 0)[-2:])

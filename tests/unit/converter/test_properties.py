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

"""Properties: what holds for every chain, and for every damaged archive.

Set ``HYPOTHESIS_PROFILE=long`` for a search of many minutes, ``ci`` for the
same examples every time (the default where ``CI`` is set).
"""

import dataclasses
import functools
import os

import hypothesis
from hypothesis import strategies as st

from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases

_COMMON = {'deadline': None, 'database': None, 'print_blob': True,
           'suppress_health_check': list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile('default', max_examples=80, **_COMMON)
hypothesis.settings.register_profile('ci', max_examples=80,
                                     derandomize=True, **_COMMON)
hypothesis.settings.register_profile('long', max_examples=5000, **_COMMON)
PROFILE = os.environ.get(
    'HYPOTHESIS_PROFILE', 'ci' if os.environ.get('CI') else 'default')
SETTINGS = hypothesis.settings.get_profile(PROFILE)

SIZES = st.one_of(
    st.integers(1, 40_000),
    st.integers(1, 80).map(lambda sectors: sectors * 512),
    st.sampled_from([1, 511, 512, 513, 4096, 8191, 8192, 32_768]))
BLOCK_SIZES = st.sampled_from([512, 1024, 2048, 4096, 8192, 2 * vhd.MIB])
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 8, 255, 256, 511, 512, 513, 1024, 1536,
                     4096, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]),
    st.integers(0, 200), st.integers(0, (1 << 32) - 1))
LONG_NUMBERS = st.one_of(
    NUMBERS, st.sampled_from([
        1 << 32, 1 << 40, 2040 << 30, (2040 << 30) + 512, (1 << 63) - 1,
        1 << 63, (1 << 64) - 512, (1 << 64) - 1]))


@st.composite
def extents(draw, sectors):
    """Runs of sectors: patterns, or zeros."""
    runs = []
    for _ in range(draw(st.integers(0, 6))):
        first = draw(st.integers(0, sectors - 1))
        length = draw(st.integers(1, min(20, sectors - first)))
        zeros = draw(st.booleans())
        runs.append((first, bytes(length * 512) if zeros else
                     chains.pattern((first, length, len(runs)), length)))
    return runs


@st.composite
def layers(draw, is_base):
    """A layer with its parts and blocks anywhere."""
    size = draw(SIZES)
    block_size = draw(BLOCK_SIZES)
    sectors = -(-size // 512)
    written, stale = draw(extents(sectors)), draw(extents(sectors))
    if is_base and draw(st.integers(0, 9)) == 0:
        return vhd.Layer(size, written, disk_type=vhd.FIXED)
    used = sorted({sector // (block_size // 512)
                   for sector in vhd.by_sector(written + stale)})
    front, tail = draw(st.sampled_from([
        (vhd.GOOD, vhd.GOOD), (vhd.GOOD, vhd.GOOD),
        (vhd.GOOD, vhd.ABSENT), (vhd.GOOD, vhd.ZEROED),
        (vhd.GOOD, vhd.DAMAGED), (vhd.GOOD, vhd.SHORT),
        (vhd.ZEROED, vhd.GOOD), (vhd.DAMAGED, vhd.GOOD)]))
    layout = vhd.LAYOUT
    if draw(st.integers(0, 3)) == 0:
        layout = tuple(draw(st.permutations(vhd.LAYOUT)))
    return vhd.Layer(
        size, written, stale, block_size=block_size,
        block_order=draw(st.permutations(used)),
        gaps={block: draw(st.integers(0, 9)) for block in used[:3]},
        layout=layout, front=front, tail=tail,
        padding={part: draw(st.integers(0, 5)) for part in layout},
        batmap=draw(st.booleans()),
        data_alignment=draw(st.sampled_from([512, 4096])),
        extra_table_entries=draw(st.sampled_from([0, 0, 1, 200])))


@st.composite
def linked_chains(draw):
    """A whole chain, leaf to base."""
    count = draw(st.integers(1, 5))
    return chains.linked([draw(layers(number == count - 1))
                          for number in range(count)])


@functools.cache
def small_image():
    """A chain of three and its tar archive, for tests that damage it."""
    chain = chains.random_chain('small', [9000, 8192, 6144], [2048])
    members = archive.chain_members(chain, order=(1, 0, 2))
    return chain, archive.tar(members), archive.tgz(members)


@functools.cache
def small_layers():
    """The chain whose fields are changed."""
    return chains.linked([
        vhd.Layer(9000, [(number, chains.pattern(number)),
                         (9 + number, chains.pattern(-number, 3))],
                  block_size=2048, batmap=True)
        for number in range(3)])


class Property(cases.ConvertCase):

    def assert_ends_well(self, data):
        """Check for a disk or a typed error, and nothing left over."""
        try:
            result = self.convert(data)
        except exceptions.XsConvertError as error:
            self.assertEqual([], os.listdir(self.output))
            self.assertNotIn('\n', str(error))
            return
        self.assertEqual([self.target.name], os.listdir(self.output))
        self.assertEqual(result.virtual_size, self.target.stat().st_size)
        self.target.unlink()


class Sound(Property):

    @SETTINGS
    @hypothesis.given(chain=linked_chains(), data=st.data())
    def test_every_chain_gives_its_disk(self, chain, data):
        order = data.draw(st.permutations(range(len(chain))))
        tar_format = data.draw(st.sampled_from(
            [archive.GNU, archive.PAX, archive.USTAR]))
        plain = archive.tar(
            archive.chain_members(chain, order=order), tar_format)
        kind = data.draw(st.sampled_from(['tar', 'gzip', 'members']))
        if kind == 'tar':
            packed = plain
        else:
            packed = archive.gzipped(
                [plain], member_size=5000 if kind == 'members' else None)
        self.assert_converts(chain, packed)
        self.target.unlink()


class Damaged(Property):

    @SETTINGS
    @hypothesis.given(st.data())
    def test_every_cut(self, data):
        chain, _, packed = small_image()
        length = data.draw(st.integers(0, len(packed) - 1))
        self.assert_refused(packed[:length])
        self.assertFalse(self.target.exists(), chain)

    @SETTINGS
    @hypothesis.given(st.data())
    def test_every_cut_of_a_plain_tar(self, data):
        chain, plain, _ = small_image()
        self.assert_right_or_refused(
            chain, plain[:data.draw(st.integers(0, len(plain) - 1))])

    @SETTINGS
    @hypothesis.given(st.data())
    def test_every_flipped_bit(self, data):
        chain, _, packed = small_image()
        bit = data.draw(st.integers(0, 8 * len(packed) - 1))
        self.assert_right_or_refused(chain, archive.flipped(packed, bit))

    @SETTINGS
    @hypothesis.given(st.data())
    def test_every_flipped_bit_of_a_structure_with_a_checksum(self, data):
        chain, _, _ = small_image()
        number = data.draw(st.integers(0, 2))
        images = [layer.tobytes() for layer in chain]
        image = images[number]
        bit = data.draw(st.one_of(
            st.integers(0, 8 * 1536 - 1),
            st.integers(8 * len(image) - 8 * 512, 8 * len(image) - 1)))
        images[number] = archive.flipped(image, bit)
        self.assert_right_or_refused(chain, archive.tgz(
            [archive.Member(f'{i}.vhd', content)
             for i, content in enumerate(images)]))

    @SETTINGS
    @hypothesis.given(st.data())
    def test_every_changed_byte_of_the_archive(self, data):
        _, plain, _ = small_image()
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(plain) - 1))
            plain = (plain[:place] + data.draw(st.binary(
                min_size=1, max_size=8)) + plain[place:])[:len(plain)]
        self.assert_ends_well(plain)

    @SETTINGS
    @hypothesis.given(
        number=st.integers(0, 2), values=st.dictionaries(
            st.sampled_from([
                'data_offset', 'current_size', 'original_size']),
            LONG_NUMBERS, max_size=2),
        small=st.dictionaries(
            st.sampled_from(['disk_type', 'features', 'disk_geometry',
                             'file_format_version', 'creator_version']),
            NUMBERS, max_size=2),
        place=st.sampled_from([
            'footer_fields', 'front_fields', 'tail_fields']))
    def test_every_value_in_a_footer(self, number, values, small, place):
        self.check_changed(number, **{place: {**values, **small}})

    @SETTINGS
    @hypothesis.given(
        number=st.integers(0, 2), values=st.dictionaries(
            st.sampled_from(['max_table_entries', 'block_size',
                             'header_version', 'parent_time_stamp']),
            NUMBERS, max_size=2),
        offsets=st.dictionaries(
            st.sampled_from(['table_offset', 'data_offset']),
            LONG_NUMBERS, max_size=2),
        parent=st.sampled_from([None, 0, 1, 2, 9]))
    def test_every_value_in_a_header(self, number, values, offsets, parent):
        fields = {**values, **offsets}
        if parent is not None:
            fields['parent_unique_id'] = chains.layer_id(parent).bytes
        self.check_changed(number, header_fields=fields)

    @SETTINGS
    @hypothesis.given(
        number=st.integers(0, 2), entries=st.dictionaries(
            st.integers(0, 4), st.one_of(
                st.integers(0, 40), st.just(vhd.UNUSED), NUMBERS),
            min_size=1))
    def test_every_value_in_a_bat(self, number, entries):
        self.check_changed(number, bat_entries=entries)

    def check_changed(self, number, **changes):
        """Convert a chain with fields of one layer changed."""
        chain = list(small_layers())
        chain[number] = dataclasses.replace(chain[number], **changes)
        for order in ((0, 1, 2), (2, 1, 0)):
            self.assert_ends_well(archive.tgz(
                archive.chain_members(chain, order=order)))

    @SETTINGS
    @hypothesis.given(
        first=st.integers(0, 2), second=st.integers(0, 2),
        start=st.integers(0, 2000), length=st.integers(1, 600))
    def test_every_swap_of_bytes_between_layers(
            self, first, second, start, length):
        images = [layer.tobytes() for layer in small_layers()]
        end = start + length
        one, other = images[first], images[second]
        images[first] = one[:start] + other[start:end] + one[end:]
        images[second] = other[:start] + one[start:end] + other[end:]
        self.assert_ends_well(archive.tgz(
            [archive.Member(f'{i}.vhd', content)
             for i, content in enumerate(images)]))

    @SETTINGS
    @hypothesis.given(
        number=st.integers(0, 2), place=st.integers(0, 511),
        value=st.binary(min_size=1, max_size=12))
    def test_every_value_in_a_tar_header(self, number, place, value):
        pieces = []
        for i, member in enumerate(archive.chain_members(small_layers())):
            block = archive.header(member)
            if i == number:
                block = archive.with_checksum(
                    (block[:place] + value + block[place + len(value):])
                    [:512])
            pieces += [block, member.content.tobytes()]
        self.assert_ends_well(archive.gzipped(
            [*pieces, archive.END_MARKER]))

    @SETTINGS
    @hypothesis.given(
        kind=st.sampled_from([b'x', b'g', b'L', b'K', b'S', b'X']),
        content=st.one_of(
            st.binary(max_size=600),
            st.lists(st.tuples(
                st.sampled_from([
                    'path', 'size', 'linkpath', 'GNU.sparse.map',
                    'GNU.sparse.size', 'GNU.sparse.major',
                    'GNU.sparse.minor', 'GNU.sparse.realsize',
                    'GNU.sparse.name', 'GNU.sparse.numblocks',
                    'GNU.sparse.offset', 'GNU.sparse.numbytes',
                    'hdrcharset']),
                st.one_of(st.integers(-2, 1 << 70).map(str),
                          st.text(max_size=20),
                          st.sampled_from([
                              '0.vhd', '1.vhd', '../1.vhd', '0,512',
                              '0,512,1024,512', '1', '0', 'BINARY']))),
                max_size=4).map(lambda records: b''.join(
                    pax_record(key, value) for key, value in records))))
    def test_every_extended_header(self, kind, content):
        _, plain, _ = small_image()
        block = archive.header(archive.Member(
            '././@Header', type=kind, claimed_size=len(content)),
            archive.USTAR)
        self.assert_ends_well(
            block + content + bytes(archive.padding(len(content))) + plain)

    @SETTINGS
    @hypothesis.given(st.binary(max_size=2000), st.booleans())
    def test_every_content(self, content, gzipped):
        self.assert_refused(
            archive.gzipped([content]) if gzipped else content)


def pax_record(key, value):
    """A record of an extended header, with its length in front."""
    record = f' {key}={value}\n'.encode('utf-8', 'surrogatepass')
    length = len(record)
    while len(str(length)) + len(record) != length:
        length = len(str(length)) + len(record)
    return str(length).encode() + record

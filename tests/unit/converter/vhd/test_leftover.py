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

"""What a VHD's file holds beside the disk is told, and not converted."""

import dataclasses
import io
import random
import unittest
import uuid

import ddt

from glance_xs_convert import api
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import leftover
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import vhd
from tests.unit import cases

KIB = 1 << 10
DATA = random.Random('leftover').randbytes(4096)


def layer(number, size=64 * KIB, **options):
    return vhd.Layer(size, [(number, DATA[:512])], block_size=4 * KIB,
                     unique_id=uuid.UUID(int=number), **options)


def fixed(number, size):
    return layer(number, size, disk_type=vhd.FIXED)


def in_all_wrappings(data):
    """A file, the same compressed, and as the member of an archive."""
    return (data, archive.gzipped([data]),
            archive.tgz([archive.Member('0.vhd', data)]))


@ddt.ddt
class TwoInOneFile(cases.ConvertCase):

    def assert_noted(self, converted, data, note):
        for source in in_all_wrappings(data):
            self.assert_converts([converted], source)
            self.target.unlink()
            for look in (api.check, api.inspect):
                [found] = look(io.BytesIO(source)).notes
                self.assertIn(note, found)

    def assert_silent(self, converted, data):
        for source in in_all_wrappings(data):
            self.assert_converts([converted], source)
            self.target.unlink()
            self.assertEqual([], api.check(io.BytesIO(source)).notes)

    def test_fixed_after_fixed(self):
        first, second = fixed(1, 96 * KIB), fixed(2, 64 * KIB)
        data = first.tobytes() + second.tobytes()
        self.assert_noted(
            dataclasses.replace(first, current_size=64 * KIB), data,
            '96.5 KiB (98816 bytes) between the end of the disk and its '
            'footer do not belong to the disk')

    def test_dynamic_after_dynamic(self):
        first, second = layer(1), layer(2)
        begins = len(first.tobytes())
        self.assert_noted(
            first, first.tobytes() + second.tobytes(),
            f'at byte {begins - 512}, the file holds the footer of another '
            'VHD')

    def test_fixed_after_dynamic(self):
        data = layer(1).tobytes() + fixed(2, 32 * KIB).tobytes()
        for source in in_all_wrappings(data):
            error = self.assert_refused(source, exceptions.DamagedVhd)
            self.assertIn('it seems to hold two VHDs', str(error))

    def test_a_fixed_disk_that_holds_a_vhd(self):
        inner = layer(1).tobytes()
        outer = vhd.Layer(len(inner), [(0, inner)], disk_type=vhd.FIXED)
        self.assert_silent(outer, outer.tobytes())

    def test_a_vhd_in_the_blocks_of_the_disk(self):
        inner = layer(1).tobytes()
        outer = dataclasses.replace(
            layer(2, 128 * KIB), written=[(0, inner)])
        self.assert_silent(outer, outer.tobytes())

    @ddt.data(b'', b'x' * 3 * KIB, b'conectix' * 1000)
    def test_a_logical_volume(self, old):
        """Old data, and an old copy of the footer, lie before the footer."""
        data = layer(1).tobytes()
        self.assert_silent(layer(1), data + old.ljust(
            -(-len(old) // 512) * 512, b'\0') + data[-512:])


class Leftover(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.footer = layer(7).tobytes()[-512:]

    def found_in(self, pieces, known=None):
        rest = leftover.Leftover(known)
        position = 1000
        for piece in pieces:
            rest.look_through(position, piece)
            position += piece[2] - piece[1]
        return rest.found

    def test_a_hole_lies_between(self):
        """Halves that are not side by side are no footer."""
        rest = leftover.Leftover(None)
        rest.look_through(1000, (self.footer, 0, 200))
        rest.look_through(5000, (self.footer, 200, 512))
        self.assertIsNone(rest.found)

    def test_across_pieces_of_all_sizes(self):
        data = b'c' * 700 + b'conectix' + self.footer + b'conec'
        for size in (1, 7, 511, 512, 513, 5000):
            pieces = [(data, start, min(start + size, len(data)))
                      for start in range(0, len(data), size)]
            self.assertEqual(1708, self.found_in(pieces))
            copies = [(data[start:end], 0, end - start)
                      for _, start, end in pieces]
            self.assertEqual(1708, self.found_in(copies))

    def test_behind_a_hole(self):
        hole = (forward.ZEROS, 0, len(forward.ZEROS))
        half = self.footer[:200]
        self.assertEqual(
            1000 + len(forward.ZEROS) + 200,
            self.found_in([(half, 0, 200), hole,
                           (self.footer, 0, 512)]))

    def test_damaged(self):
        data = self.footer[:100] + b'x' + self.footer[101:]
        self.assertIsNone(self.found_in([(data, 0, 512)]))

    def test_a_copy_of_the_footer_that_is_known(self):
        known = layout.Footer.unpack(self.footer)
        pieces = [(self.footer, 0, 512)]
        self.assertIsNone(self.found_in(pieces, known))
        other = dataclasses.replace(known, unique_id=uuid.UUID(int=8))
        self.assertEqual(1000, self.found_in(pieces, other))

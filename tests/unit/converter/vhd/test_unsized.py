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

"""VHDs whose size is known at their end only."""

import dataclasses
import io
import random

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import sources

KIB = 1 << 10
MIB = 1 << 20
DATA = random.Random('unsized').randbytes(9000)


def fixed(size, **options):
    return vhd.Layer(size, [(0, DATA[:min(size, 512)])],
                     disk_type=vhd.FIXED, **options)


@ddt.ddt
class Fixed(cases.ConvertCase):

    def packed(self, layer):
        return archive.gzipped([layer.tobytes()])

    @ddt.data(512, 1024, 1536, 2 * MIB - 512, 2 * MIB, 2 * MIB + 512,
              5 * MIB)
    def test_sizes(self, size):
        layer = fixed(size)
        self.assert_converts([layer], self.packed(layer))

    @ddt.data(1024, 2 * MIB, 2 * MIB + 512)
    def test_a_footer_of_511_bytes(self, size):
        layer = fixed(size)
        data = layer.tobytes()[:-1]
        for source in (archive.gzipped([data]),
                       sources.OnceOnly(io.BytesIO(data))):
            self.assert_converts([layer], source)
            self.target.unlink()

    def test_data_at_the_end_of_the_disk(self):
        last = vhd.Layer(3 * MIB, [(6143, DATA[:512])], disk_type=vhd.FIXED)
        for layer in (last, dataclasses.replace(last, written=[
                (number, DATA[:512]) for number in range(0, 6144, 2)])):
            self.assert_converts([layer], self.packed(layer))
            self.target.unlink()

    def test_what_lies_behind_the_disk_is_cut(self):
        """The footer is right, and the file is longer than the disk."""
        layer = fixed(64 * KIB)
        data = layer.tobytes()
        for more in (512, 3 * MIB):
            source = archive.gzipped([
                data[:-512] + DATA[:512].ljust(more, b'x') + data[-512:]])
            self.assert_converts([layer], source)
            self.target.unlink()
            checked = api.check(io.BytesIO(source))
            self.assertEqual(64 * KIB, checked.virtual_size)
            self.assertLessEqual(checked.allocated, 64 * KIB)

    def test_too_short_for_its_footer(self):
        data = fixed(64 * KIB).tobytes()
        for source in (data[512:], data[-512:]):
            self.assert_refused(archive.gzipped([source]))

    def test_the_limit(self):
        bounds = image_limits.Limits(max_virtual_size=4 * MIB)
        self.assert_converts([fixed(4 * MIB)], self.packed(fixed(4 * MIB)),
                             limits=bounds)
        self.target.unlink()
        error = self.assert_refused(self.packed(fixed(4 * MIB + 512)),
                                    exceptions.LimitExceeded, limits=bounds)
        self.assertIn('more than', str(error))

    def test_a_check_and_an_inspection_agree(self):
        layer = fixed(3 * MIB)
        for data in (layer.tobytes(), self.packed(layer)):
            result = api.check(io.BytesIO(data))
            self.assertEqual(3 * MIB, result.virtual_size)
            [disk] = api.inspect(io.BytesIO(data)).disks
            self.assertEqual(3 * MIB, disk.virtual_size)


@ddt.ddt
class Dynamic(cases.ConvertCase):

    @ddt.data(
        {}, {'tail': vhd.ABSENT}, {'tail': vhd.SHORT}, {'batmap': True},
        {'padding': {'tail': 5}}, {'padding': {'header': 1, 'bat': 2}},
        {'creator_version': 1, 'bit_order': vhd.LSB_FIRST, 'hidden': 1,
         'hidden_unsummed': True})
    def test_layouts(self, options):
        layer = vhd.Layer(96 * KIB, [(0, DATA[:512]), (100, DATA[:1024])],
                          block_size=4 * KIB, **options)
        packed = archive.gzipped([layer.tobytes()])
        self.assert_converts([layer], packed)
        self.target.unlink()
        self.assert_converts([layer], sources.OnceOnly(io.BytesIO(packed)))

    def test_a_footer_that_contradicts_its_copy(self):
        """The one at the end counts, as in a file."""
        small = vhd.Layer(96 * KIB, [(0, DATA[:512])])
        large = dataclasses.replace(small, current_size=97 * KIB)
        data = large.tobytes()[:-512] + small.tobytes()[-512:]
        self.assert_converts([small], data)
        self.target.unlink()
        self.assert_converts([small], archive.gzipped([data]))

    def test_cut(self):
        data = vhd.Layer(96 * KIB, [(0, DATA[:512])]).tobytes()
        for size in (600, 1600, len(data) // 2):
            self.assert_refused(archive.gzipped([data[:size]]))

    def test_an_encrypted_disk(self):
        layer = vhd.Layer(96 * KIB, [], batmap=True, encrypted=True)
        self.assert_refused(archive.gzipped([layer.tobytes()]),
                            exceptions.EncryptedVhd)

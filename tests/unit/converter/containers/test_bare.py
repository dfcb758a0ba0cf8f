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


"""A VHD without an archive is read to its end, whatever is in it."""

import dataclasses
import hashlib
import io

from testbed.images import vhd
from tests.unit import cases

BLOCK = 4096


class BareVhd(cases.ConvertCase):

    #: The blocks behind the disk's end, which are the last ones in the file,
    #: are more than what is read ahead.
    LAYER = vhd.Layer(
        8 * BLOCK, [(0, b'data' * 128)], block_size=BLOCK, tail=vhd.ABSENT,
        extra_table_entries=4000, allocated=range(8, 4000))

    def test_what_lies_behind_the_disk_counts(self):
        data = self.LAYER.tobytes()
        expected = (len(data), hashlib.sha256(data).hexdigest())
        for _ in range(3):
            result = self.assert_converts(
                [self.LAYER], io.BytesIO(data), digest=True)
            self.assertEqual(
                expected, (result.source_size, result.source_sha256))
            self.target.unlink()

    def test_bytes_behind_the_vhd_count(self):
        layer = dataclasses.replace(self.LAYER, extra_table_entries=0,
                                    allocated=())
        data = layer.tobytes() + bytes(9_000_000)
        result = self.assert_converts(
            [layer], io.BytesIO(data), digest=True)
        self.assertEqual(len(data), result.source_size)

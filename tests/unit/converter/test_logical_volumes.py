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

"""Copies of logical volumes: as large as the disk, and mostly empty.

The footer is at the end of the volume, far behind the last block.
"""

import pathlib

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from tests.unit import cases

SIZE = 64 * vhd.GIB
DATA = chains.pattern('volume', 40)


def volume(layer, size):
    """Return a layer as it lies on a logical volume of a size in bytes."""
    image = layer.image()
    content = sparse.Sparse()
    place = 0
    for piece in image.pieces():
        if isinstance(piece, bytes):
            content.put(place, piece)
            place += len(piece)
        else:
            place += piece
    footer = layer.tobytes()[-512:] if layer.current_size < vhd.GIB else (
        layer.tobytes()[:512])
    content.put(size - len(footer), footer)
    content.truncate(size)
    return content


def bytes_read():
    """How many bytes this process has read."""
    for line in pathlib.Path('/proc/self/io').read_text().splitlines():
        if line.startswith('rchar: '):
            return int(line.split()[1])
    raise LookupError('rchar')


@ddt.ddt
class Volumes(cases.ConvertCase):

    def setUp(self):
        super().setUp()
        self.layer = vhd.Layer(
            SIZE, [(0, DATA), (SIZE // 1024, DATA)], tail=vhd.ABSENT)
        self.volume = volume(self.layer, SIZE + vhd.GIB)

    def test_holes_of_a_file_are_not_read(self):
        path = self.scratch / 'volume'
        self.volume.write_to(path)
        self.assertLess(path.stat().st_blocks * 512, 64 * vhd.MIB)
        before = bytes_read()
        self.assert_converts([self.layer], str(path))
        self.assertLess(bytes_read() - before, vhd.GIB)

    @ddt.data(archive.gnu_sparse, archive.pax_sparse)
    def test_holes_that_tar_left_out(self, make):
        leaf, base = chains.linked([vhd.Layer(SIZE, [(7, DATA)]), self.layer])
        for names in (('0.vhd', '1.vhd'), ('VHD-b', 'VHD-a')):
            self.assert_converts([leaf, base], archive.tgz([
                make(name, volume(layer, SIZE + vhd.GIB))
                for name, layer in zip(names, (leaf, base))]))
            self.target.unlink()

    def test_no_limit_refuses_them(self):
        layer = vhd.Layer(64 * vhd.MIB, [(0, DATA)])
        content = volume(layer, 68 * vhd.MIB)
        for packed in (archive.tgz([archive.Member('0.vhd', content)]),
                       archive.gzipped([content.tobytes()]),
                       content.tobytes()):
            self.assert_converts([layer], packed, limits=image_limits.Limits(
                max_ignored_size=4 * vhd.MIB))
            self.target.unlink()

    def test_what_is_larger_than_a_volume(self):
        layer = vhd.Layer(vhd.MIB, [(0, DATA)])
        content = volume(layer, 40 * vhd.MIB)
        self.assert_refused(
            archive.tgz([archive.Member('0.vhd', content)]),
            exceptions.LimitExceeded,
            limits=image_limits.Limits(max_ignored_size=4 * vhd.MIB))

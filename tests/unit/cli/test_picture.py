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

"""The picture of a disk, in letters and as SVG."""

import io
import re
import unittest
from xml.etree import ElementTree

import ddt

from glance_xs_convert import api
from glance_xs_convert.cli import picture

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd

MIB = vhd.MIB
SVG = '{http://www.w3.org/2000/svg}'


def drawing(layers, names=None):
    """A picture of the disk that a chain stands for."""
    data = archive.tgz(archive.chain_members(layers))
    result = api.check(io.BytesIO(data))
    return picture.Picture(result.disk_map, names or [
        layer.name for layer in result.layers])


@ddt.ddt
class Picture(unittest.TestCase):

    @ddt.data(1, 2, 12, 30)
    def test_chains(self, count):
        drawn = drawing(chains.random_chain(count, [MIB] * count))
        self.assertEqual(count + 1, len(re.findall(
            '%$', drawn.text(io.StringIO()), re.M)))
        ElementTree.fromstring(drawn.svg().encode())

    def test_small_disk(self):
        drawn = drawing([vhd.Layer(vhd.SECTOR, [(0, chains.pattern(1))])])
        self.assertIn('\n0 ./0.vhd 512 B  100.0%\n',
                      re.sub(' +', ' ', drawn.text(io.StringIO())
                             ).replace(' 100', '  100'))
        ElementTree.fromstring(drawn.svg().encode())

    def test_largest_disk(self):
        size = 2040 * vhd.GIB
        drawn = drawing([vhd.Layer(size, [
            (size // vhd.SECTOR - 1, chains.pattern(1))])])
        text = drawn.text(io.StringIO())
        self.assertIn('One cell is 2 GiB, one line 128 GiB.', text)
        self.assertRegex(text, r'1\.9 TiB \.+0\n')

    def test_names_in_svg(self):
        drawn = drawing([vhd.Layer(MIB)], ['<a&b>.vhd'])
        texts = [text.text for text in ElementTree.fromstring(
            drawn.svg().encode()).iter(f'{SVG}text')]
        self.assertIn('<a&b>.vhd: 0 B, 0.0%', texts)

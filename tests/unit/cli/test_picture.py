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


def drawing(layers, names=None, source='disk.tgz'):
    """A picture of the disk that a chain stands for."""
    data = archive.tgz(archive.chain_members(layers))
    result = api.check(io.BytesIO(data))
    return picture.Picture(result.disk_map, names or [
        layer.name for layer in result.layers], source)


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

    def test_title_is_the_archive(self):
        root = ElementTree.fromstring(drawing(
            [vhd.Layer(MIB)], source='<web>\x1b.tgz').svg().encode())
        self.assertEqual(
            '<web>\\x1b.tgz: which layer each region of the disk comes from',
            root.find(f'{SVG}title').text)
        self.assertIn('<web>\\x1b.tgz',
                      [text.text for text in root.iter(f'{SVG}text')])

    def fills(self, root):
        """The colors of the layers in the legend, from leaf to base."""
        return [rect.get('fill') for rect in root.findall(f'{SVG}rect')
                if rect.get('width') == rect.get('height') == '12'
                and rect.get('fill-opacity') == '1.0']

    def test_colors(self):
        """They are those that Okabe and Ito published."""
        for count in range(1, 8):
            root = ElementTree.fromstring(drawing(chains.random_chain(
                count, [MIB] * count)).svg().encode())
            fills = self.fills(root)[:count]
            self.assertEqual(count, len(set(fills)))
            self.assertLessEqual(set(fills), {
                '#d55e00', '#e69f00', '#f0e442', '#009e73', '#56b4e9',
                '#0072b2', '#cc79a7'})

    def test_legend_explains_opacity(self):
        root = ElementTree.fromstring(
            drawing([vhd.Layer(MIB)]).svg().encode())
        texts = [text.text for text in root.iter(f'{SVG}text')]
        for part in ('up to 25%', 'up to 50%', 'up to 75%', 'up to 100%',
                     'of a cell written: the more, the stronger its color.'):
            self.assertIn(part, texts)
        self.assertEqual(
            {'0.25', '0.5', '0.75', '1.0'},
            {rect.get('fill-opacity') for rect in root.iter(f'{SVG}rect')}
            - {None})

    def test_legend_is_inside(self):
        for count in (1, 12):
            root = ElementTree.fromstring(drawing(chains.random_chain(
                count, [MIB] * count)).svg().encode())
            self.assertLess(max(int(text.get('y')) for text
                                in root.iter(f'{SVG}text')),
                            int(root.get('height')))

    def test_more_layers_than_colors(self):
        for count, repeats in ((7, False), (8, True)):
            self.assertEqual(repeats, 'The colors repeat after 7 layers.'
                             in drawing(chains.random_chain(
                                 count, [MIB] * count)).svg())

    def test_long_names_are_cut(self):
        """A drawing is not long because a stranger's names are."""
        layers = [vhd.Layer(64 * MIB, [
            (sector, chains.pattern(1)) for sector in range(0, 131072, 64)])]
        drawn = drawing(layers, ['n' * 2000])
        self.assertNotIn('n' * 81, drawn.svg())
        self.assertIn('n' * 80 + '…', drawn.svg())
        self.assertNotIn('n' * 81, drawn.text(io.StringIO()))

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

"""``glance-xs-convert inspect``."""

import json
import os
import pathlib
import re
from xml.etree import ElementTree

import yaml

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.unit.cli import base

KIB = vhd.KIB
MIB = vhd.MIB
SVG = '{http://www.w3.org/2000/svg}'


class Inspect(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.story = chains.story_chain()
        self.archive = self.source(self.story.archive)

    def test_columns(self):
        ended = self.run_here('inspect', '-f', 'json', self.archive)
        self.assertEqual(0, ended.status)
        self.assertEqual([
            {'Name': f'./{number}.vhd',
             'Type': ('differencing', 'differencing', 'dynamic')[number],
             'Virtual Size': layer.current_size,
             'Allocated': (8 * MIB, 10 * MIB, 8 * MIB)[number],
             'File Size': len(layer.tobytes()),
             'Creator': 'tap 1.3',
             'UUID': str(chains.layer_id(number)),
             'Parent UUID': (str(chains.layer_id(number + 1))
                             if number < 2 else ''),
             'Hidden': number > 0,
             'Partition Table': 'MBR', 'EFI System Partition': False,
             'Boot Code': True}
            for number, layer in enumerate(self.story.layers)], ended.json())

    def test_plain_numbers_for_programs(self):
        for form in ('value', 'csv', 'yaml'):
            ended = self.run_here('inspect', '-f', form, '-c', 'Virtual Size',
                                  self.archive)
            self.assertEqual(['67108864', '67108864', '41943040'],
                             re.findall(r'\d{4,}', ended.stdout))
            self.assertNotIn('disk', ended.stdout)

    def test_units_for_people(self):
        ended = self.run_here('inspect', self.archive)
        self.assertIn('| 40 MiB ', ended.stdout)
        self.assertTrue(ended.stdout.endswith(
            'The raw disk has 64 MiB (67108864 bytes).\n'
            'The disk has a partition table (MBR), no EFI system partition '
            'and boot code.\n'))

    def test_standard_input(self):
        ended = self.run_apart('inspect', '-f', 'value', '-c', 'Name', '-',
                               stdin=self.story.archive)
        self.assertEqual((0, './0.vhd\n./1.vhd\n./2.vhd\n'),
                         (ended.status, ended.stdout))

    def test_broken_chain(self):
        data = archive.tgz(archive.chain_members(self.story.layers)[:2])
        for options in ([], ['--map']):
            self.assert_fails(
                self.run_here('inspect', *options, self.source(data)),
                'its parent is not in the archive')

    def test_visible(self):
        ended = self.run_here('inspect', '--map', '-f', 'json', self.archive)
        [expected] = model.amounts(self.story.layers, 64 * MIB)
        self.assertEqual(expected, [row['Visible'] for row in ended.json()])

    def test_extents(self):
        """In JSON and YAML the map is a list; it is as the model says."""
        for form, load in (('json', json.loads), ('yaml', yaml.safe_load)):
            ended = self.run_here('inspect', '--map', '-f', form,
                                  self.archive)
            found = {
                sector: rank for rank, row in enumerate(load(ended.stdout))
                for extent in row['Extents']
                for sector in range(extent['offset'] // vhd.SECTOR, (
                    extent['offset'] + extent['size']) // vhd.SECTOR)}
            self.assertEqual(
                {sector: rank for sector in range(64 * MIB // vhd.SECTOR)
                 if (rank := model.owner(self.story.layers, sector))
                 is not None}, found)

    def test_map_needs_a_format_with_room_for_it(self):
        for form in ('csv', 'value'):
            ended = self.run_here('inspect', '--map', '-f', form,
                                  self.archive)
            self.assert_fails(
                ended, f'a map cannot be shown in the format {form}')

    def test_map(self):
        ended = self.run_here('inspect', '--map', self.archive)
        drawn = re.findall(r'^ +\d+ M?i?B ([.\w]+)$', ended.stdout, re.M)
        self.assertEqual(letters(self.story.layers, 64 * KIB), ''.join(drawn))
        self.assertIn('One cell is 64 KiB, one line 4 MiB.', ended.stdout)
        self.assertRegex(ended.stdout, r'\n1 \./1\.vhd 863\.5 KiB +1\.3%\n')
        self.assertRegex(ended.stdout, r'\n\. holes +61\.7 MiB +96\.4%\n\Z')

    def test_map_on_a_terminal(self):
        """Shades in colors, and as many cells."""
        ended = self.run_on_terminal('inspect', '--map', self.archive)
        self.assertEqual(0, ended.status)
        self.assertIn('\x1b[38;5;', ended.stdout)
        drawn = re.findall(r'^ +\d+ M?i?B (\S+)', re.sub(
            r'\x1b\[[\d;]*m', '', ended.stdout), re.M)
        expected = letters(self.story.layers, 64 * KIB)
        self.assertEqual(re.sub(r'\w', '#', expected),
                         re.sub('[░▒▓█]', '#', ''.join(drawn)))

    def test_map_on_a_terminal_without_colors(self):
        for name, value in (('NO_COLOR', '1'), ('TERM', 'dumb')):
            ended = self.run_on_terminal('inspect', '--map', self.archive,
                                         environment={name: value})
            self.assertNotIn('\x1b[38', ended.stdout)
            self.assertIn('2211111122', ended.stdout)

    def test_svg(self):
        path = self.output / 'disk.svg'
        ended = self.run_here('inspect', '--svg', path, self.archive)
        self.assertEqual(0, ended.status)
        self.assertNotIn('One cell is', ended.stdout)
        root = ElementTree.parse(path).getroot()
        self.assertEqual(f'{SVG}svg', root.tag)
        texts = [text.text for text in root.iter(f'{SVG}text')]
        self.assertIn('./1.vhd: 863.5 KiB, 1.3%', texts)
        self.assertIn('holes: 61.7 MiB, 96.4%', texts)
        self.assertEqual(8192, sum(
            int(rect.get('width')) // 8 for rect in root.iter(f'{SVG}rect')
            if rect.find(f'{SVG}title') is not None))

    def test_existing_svg(self):
        path = self.output / 'disk.svg'
        path.write_text('mine')
        ended = self.run_here('inspect', '--svg', path, self.archive)
        self.assert_fails(ended, 'disk.svg exists')
        self.assertEqual('mine', path.read_text())
        ended = self.run_here('inspect', '--svg', path, '--force',
                              self.archive)
        self.assertEqual(0, ended.status)
        self.assertEqual(f'{SVG}svg', ElementTree.parse(path).getroot().tag)

    def test_svg_in_place_of_the_archive(self):
        before = pathlib.Path(self.archive).read_bytes()
        link = self.output / 'disk.svg'
        os.link(self.archive, link)
        ended = self.run_here('inspect', '--force', '--svg', link,
                              self.archive)
        self.assert_fails(ended, 'is the archive')
        self.assertEqual(before, link.read_bytes())

    def test_unwritable_svg(self):
        ended = self.run_here('inspect', '--svg', self.scratch / 'no' / 'svg',
                              self.archive)
        self.assert_fails(ended, 'cannot be created')


def letters(layers, cell_size):
    """The map in letters, from the model."""
    return ''.join(
        str(amounts.index(max(amounts))) if any(amounts) else '.'
        for amounts in model.amounts(layers, cell_size))

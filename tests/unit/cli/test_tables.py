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

"""The table of an image: what is in rows, below them, and aside."""

import unittest

from glance_xs_convert.cli import tables
from glance_xs_convert import results

from tests.unit import cases

BOOTS = results.FirstSectors('MBR', False, True)
EMPTY = results.FirstSectors(None, False, False)


def disk(number, first_sectors=BOOTS, machine='', bootable=True):
    return results.FoundDisk(4096 << number, 512, first_sectors, results.Disk(
        f'Ref:{number}', f'disk {number}', 4096 << number,
        f'xvd{"abc"[number]}', str(number), bootable, machine))


def column(table, name):
    """The values of a column, as a program gets them."""
    index = table.columns.index(name)
    return [getattr(row[index], '_value', row[index]) for row in table.rows]


class Chain(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.table = tables.of_image(
            [cases.layer(0, parent_unique_id='x'), cases.layer(1)],
            [results.FoundDisk(1 << 30, 512, EMPTY)], [])

    def test_rows(self):
        """There is one for each layer, which has a value in each column."""
        self.assertEqual(['./0.vhd', './1.vhd'], column(self.table, 'Name'))
        self.assertEqual(['x', ''], column(self.table, 'Parent UUID'))
        self.assertEqual({len(self.table.columns)},
                         {len(row) for row in self.table.rows})

    def test_disk(self):
        """All layers are of one disk, which programs see beside each."""
        self.assertIn('The raw disk has 1 GiB (1073741824 bytes).',
                      self.table.below)
        self.assertTrue(any('will not boot' in line
                            for line in self.table.below))
        self.assertEqual({2}, {len(values) for values
                               in self.table.aside.values()})
        self.assertEqual([False, False], self.table.aside['Boot Code'])


class Export(unittest.TestCase):

    def test_one_machine(self):
        table = tables.of_image([], [disk(0), disk(1)], [
            cases.guest(memory=1 << 30)])
        self.assertEqual(['xvda', 'xvdb'], column(table, 'Device'))
        self.assertEqual([4096, 8192], column(table, 'Virtual Size'))
        self.assertNotIn('VM', table.columns)
        self.assertEqual(['web-1', 'web-1'], list(table.aside['VM']))
        self.assertEqual([1 << 30] * 2, list(table.aside['Memory']))

    def test_several_machines(self):
        """Each disk shows its own, if the package has it."""
        table = tables.of_image(
            [], [disk(0, machine='web'), disk(1, machine='db'),
                 disk(2, machine='gone')],
            [cases.guest(name='web', cpus=1), cases.guest(name='db', cpus=2)])
        self.assertEqual(['web', 'db', 'gone'], column(table, 'VM'))
        self.assertEqual([1, 2, 1], list(table.aside['CPUs']))
        self.assertEqual({len(table.columns)},
                         {len(row) for row in table.rows})

    def test_hints(self):
        """A disk that the guest does not boot from needs no boot code."""
        for bootable, hints in ((True, 1), (False, 0)):
            table = tables.of_image([], [
                disk(0), disk(1, EMPTY, bootable=bootable)], [cases.guest()])
            self.assertEqual(hints, sum(
                line.startswith('Note: xvdb: ') for line in table.below))

    def test_package_without_machines(self):
        table = tables.of_image([], [disk(0)], [])
        self.assertEqual(['xvda'], column(table, 'Device'))
        self.assertEqual([None], list(table.aside['Firmware']))

    def test_machine_without_disks(self):
        table = tables.of_image([], [], [cases.guest()])
        self.assertEqual([], table.rows)
        self.assertEqual(1, len(table.below))


class Columns(unittest.TestCase):

    def test_a_value_for_each_row(self):
        table = tables.Table(('a',), [(1,), (2,)], [], {})
        table.add_column('b', ['x', 'y'])
        self.assertEqual([(1, 'x'), (2, 'y')], table.rows)
        for values in (['x'], ['x', 'y', 'z']):
            self.assertRaises(ValueError, table.add_column, 'c', values)

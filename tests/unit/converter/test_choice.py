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

import unittest

import ddt

from glance_xs_convert.converter import choice
from glance_xs_convert import exceptions
from glance_xs_convert import results

from tests.unit import cases


def disk(number, **fields):
    return results.Disk(**{
        'ref': f'Ref:{number}', 'name': f'disk {number}', 'size': 1 << 30,
        'device': f'xvd{"abcdefghijkl"[number]}', 'position': str(number),
        'bootable': number == 0} | fields)


SEVERAL = [disk(0), disk(1), disk(2)]


@ddt.ddt
class Choose(unittest.TestCase):

    def choose(self, disks, wanted=None, **options):
        return choice.choose(disks, wanted, 'export', **options)

    def test_the_only_one_needs_no_choice(self):
        self.assertEqual(disk(4), self.choose([disk(4)]))

    @ddt.data('xvdb', '1')
    def test_by_device_or_number(self, wanted):
        self.assertEqual(disk(1), self.choose(SEVERAL, wanted))

    @ddt.data('disk 2', 'Ref:2')
    def test_by_name_where_that_is_allowed(self, wanted):
        self.assertEqual(
            disk(2), self.choose(SEVERAL, wanted, by_name=True))
        with self.assertRaises(exceptions.NoSuchDisk):
            self.choose(SEVERAL, wanted)

    def test_a_device_comes_before_a_name(self):
        named = disk(1, name='xvda')
        self.assertEqual(disk(0), self.choose(
            [disk(0), named], 'xvda', by_name=True))

    def test_same_disk_twice(self):
        """Two machines may share a disk, which is then no choice."""
        shared = [disk(0, machine='a'), disk(0, machine='b')]
        self.assertEqual(shared[0], self.choose(shared))

    def test_no_choice(self):
        with self.assertRaisesRegex(
                exceptions.DiskNotChosen,
                r'holds 3 disks, .*: xvda \(0\), .*; xvdb .*; xvdc'):
            self.choose(SEVERAL)

    @ddt.data('xvdz', '', '3', 'XVDA')
    def test_wrong_choice(self, wanted):
        with self.assertRaisesRegex(exceptions.NoSuchDisk, 'it holds xvda'):
            self.choose(SEVERAL, wanted)

    def test_no_disks(self):
        with self.assertRaisesRegex(exceptions.NoSuchDisk, 'has no disk'):
            self.choose([], 'xvda')

    def test_a_list_is_not_endless(self):
        many = [disk(number % 12, ref=f'R{number}') for number in range(200)]
        with self.assertRaises(exceptions.DiskNotChosen) as caught:
            self.choose(many)
        self.assertLess(len(str(caught.exception)), 1000)
        self.assertTrue(str(caught.exception).endswith('…'))

    def test_what_is_listed_is_safe_to_show(self):
        bad = disk(0, name='\x1b[31m' + 'x' * 500, machine='\n\u202e')
        shown = choice.describe(bad)
        self.assertTrue(shown.isprintable(), shown)
        self.assertLess(len(shown), 200)


@ddt.ddt
class Describe(unittest.TestCase):

    @ddt.data(
        ({}, 'xvda (0), 1 GiB, "disk 0"'),
        ({'position': ''}, 'xvda, 1 GiB, "disk 0"'),
        ({'size': 0}, 'xvda (0), size unknown, "disk 0"'),
        ({'device': '', 'name': 'Ref:0'}, 'Ref:0 (0), 1 GiB'),
        ({'machine': 'web-1'}, 'xvda (0), 1 GiB, "disk 0" of "web-1"'))
    @ddt.unpack
    def test_describe(self, fields, shown):
        self.assertEqual(shown, choice.describe(disk(0, **fields)))

    def test_machine(self):
        one, other = cases.guest(), cases.guest(name='db')
        self.assertEqual('export of "web-1"',
                         choice.of_machine('export', [one]))
        for guests in ([], [one, other], [cases.guest(name='')]):
            self.assertEqual('export', choice.of_machine('export', guests))

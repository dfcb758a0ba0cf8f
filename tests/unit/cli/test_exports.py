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

"""The commands and XenServer exports."""

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from testbed.images import xva
from tests.unit.cli import base
from tests.unit.converter import exports

MIB = 1 << 20
HINT = 'will not boot from this disk under KVM'


class Exports(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.disks = exports.two_disks()
        self.export = self.source(xva.Export(self.disks, vm=xva.UEFI).tar())

    def test_convert(self):
        for choice, disk in zip(('xvda', '1'), self.disks, strict=True):
            ended = self.run_here('convert', '--disk', choice, '--force',
                                  self.export, str(self.target))
            self.assertEqual(0, ended.status)
            self.assertIsNone(
                model.difference_from(self.target, disk.content))
            self.assertIn(f'disk {disk.device} of an export',
                          ended.stdout)

    def test_without_a_choice(self):
        for command in (['convert', self.export, str(self.target)],
                        ['check', self.export]):
            self.assert_fails(
                self.run_here(*command),
                'xvda (0), 3.0 MiB, "system"; xvdb (1), 5 MiB, "data"')

    def test_check(self):
        ended = self.run_here('check', '--disk', '1', '-f', 'json',
                              self.export)
        found = ended.json()
        self.assertEqual(
            (1, 5 * MIB, 'none', False, False),
            (found['layers'], found['virtual_size'],
             found['partition_table'], found['efi_system_partition'],
             found['boot_code']))
        self.assertIn(HINT, found['hint'])

    def test_inspect(self):
        found = self.run_here('inspect', '-f', 'json', self.export).json()
        guest = {'VM': 'web-1', 'Product': 'XenServer', 'Version': '8.2.1',
                 'Memory': 2 << 30, 'CPUs': 2, 'Firmware': 'uefi',
                 'Boot Mode': 'HVM', 'Bootloader': None}
        self.assertEqual([{
            'Device': disk.device, 'Number': disk.userdevice,
            'Name': disk.name, 'Virtual Size': disk.size,
            'Stored': sum(len(chunk.data) for chunk in disk.chunks()),
            'Bootable': disk.bootable, 'Partition Table': 'none',
            'EFI System Partition': False, 'Boot Code': False, **guest,
        } for disk in self.disks], found)

    def test_inspect_one(self):
        found = self.run_here('inspect', '--disk', 'xvdb', '-f', 'json',
                              self.export).json()
        self.assertEqual(['xvdb'], [row['Device'] for row in found])
        for options in ([], ['--map']):
            self.assert_fails(
                self.run_here('inspect', '--disk', 'nonsense', *options,
                              self.export),
                'does not hold a disk nonsense; it holds xvda')

    def test_inspect_for_people(self):
        shown = self.run_here('inspect', self.export).stdout
        self.assertIn('| xvdb   | 1      | data   | 5 MiB ', shown)
        self.assertIn(
            'The virtual machine "web-1" was exported by XenServer 8.2.1: '
            '2 GiB of memory, 2 CPUs, boot mode HVM, firmware uefi.\n',
            shown)
        self.assertIn(f'Note: xvda: a guest {HINT}', shown)
        self.assertNotIn('xvdb: ', shown)

    def test_inspect_a_paravirtualized_guest(self):
        export = self.source(xva.Export(
            self.disks, vm=xva.PARAVIRTUALIZED).tar())
        shown = self.run_here('inspect', export).stdout
        self.assertIn('boot mode PV (pygrub).\n', shown)
        self.assertIn('Note: the guest is paravirtualized', shown)

    def test_inspect_from_standard_input(self):
        data = archive.zstandard([xva.Export(self.disks).tar()])
        ended = self.run_apart('inspect', '-f', 'value', '-c', 'Device', '-',
                               stdin=data)
        self.assertEqual((0, 'xvda\nxvdb\n'), (ended.status, ended.stdout))

    def test_map(self):
        found = self.run_here('inspect', '--map', '--disk', 'xvdb',
                              '-f', 'json', self.export).json()
        self.assertEqual(['xvdb'], [row['Device'] for row in found])
        covered = sum(extent['size'] for extent in found[0]['Extents'])
        self.assertEqual(covered, found[0]['Visible'])
        self.assertEqual(
            sum(len(chunk.data) for chunk in self.disks[1].chunks()),
            covered)
        self.assert_fails(self.run_here('inspect', '--map', self.export),
                          '2 disks')


class Chains(base.CommandCase):

    def test_there_is_no_disk_to_choose(self):
        data = self.source(chains.story_chain().archive)
        for command in (['inspect'], ['inspect', '--map'], ['check']):
            self.assert_fails(
                self.run_here(*command, '--disk', 'nonsense', data),
                'has only one disk')

    def test_a_disk_that_does_not_boot(self):
        layers = [vhd.Layer(MIB, [(0, chains.pattern('ext4'))])]
        data = self.source(archive.tgz(archive.chain_members(layers)))
        self.assertIn(f'Note: a guest {HINT}',
                      self.run_here('inspect', data).stdout)
        self.assertIn(HINT, self.run_here(
            'check', '-f', 'json', data).json()['hint'])

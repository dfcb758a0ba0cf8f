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

"""``glance-xs-convert convert --all-disks``, and the commands on packages."""

import os
import subprocess
import sys
import unittest

import ddt

from glance_xs_convert.cli import all_disks
from glance_xs_convert import results

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import ova
from testbed.images import vhd
from testbed.images import xva
from tests.unit.cli import base
from tests.unit.converter import exports

KIB = 1 << 10


def layer(name, size=96 * KIB):
    return vhd.Layer(size, [(0, chains.pattern(name, 3))])


SYSTEM = ova.Disk(layer('system'))
DATA = ova.Disk(layer('data', 200 * KIB), 'data', '1', bootable=False)


class AllDisks(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.directory = self.output / 'disks'
        self.package = self.source(
            ova.Package([ova.Machine([DATA, SYSTEM])]).tar())

    def assert_package(self):
        self.assertEqual(['xvda.raw', 'xvdb.raw'],
                         sorted(os.listdir(self.directory)))
        for name, disk in (('xvda.raw', SYSTEM), ('xvdb.raw', DATA)):
            self.assertIsNone(model.difference(
                self.directory / name, [disk.content]))

    def test_a_package(self):
        ended = self.run_here(
            'convert', '--all-disks', self.directory, self.package)
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_package()
        rows = [[cell.strip() for cell in line.split('|')[1:-1]]
                for line in ended.stdout.splitlines() if '|' in line]
        self.assertEqual([
            ['Device', 'Name', 'Size', 'File', 'Bootable'],
            ['xvda', 'system', '96 KiB', 'xvda.raw', 'True'],
            ['xvdb', 'data', '200 KiB', 'xvdb.raw', 'False']], rows)

    def test_an_export(self):
        disks = exports.two_disks()
        source = self.source(xva.Export(disks).tar())
        ended = self.run_here('convert', '-f', 'json', '--all-disks',
                              self.directory, source)
        self.assertEqual([
            {'Device': disk.device, 'Name': disk.name, 'Size': disk.size,
             'File': f'{disk.device}.raw', 'Bootable': disk.bootable}
            for disk in disks], ended.json())
        for disk in disks:
            self.assertIsNone(model.difference_from(
                self.directory / f'{disk.device}.raw', disk.content))

    def test_a_pipe(self):
        with subprocess.Popen(['cat', self.package],
                              stdout=subprocess.PIPE) as feeder:
            ended = subprocess.run(
                [sys.executable, '-m', 'glance_xs_convert.cli.main',
                 'convert', '--all-disks', self.directory, '-'],
                stdin=feeder.stdout, capture_output=True)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assert_package()

    def test_a_chain(self):
        story = chains.story_chain()
        ended = self.run_here('convert', '--all-disks', self.directory,
                              self.source(story.archive))
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertIsNone(model.difference(
            self.directory / 'disk.raw', story.layers))

    def test_nothing_remains_of_a_broken_package(self):
        data = ova.Package([ova.Machine([SYSTEM, DATA])], wrong={
            DATA.file_name: '0' * 40}).tar()
        for existing in (False, True):
            if existing:
                self.directory.mkdir()
            self.assert_fails(self.run_here(
                'convert', '--all-disks', self.directory, self.source(data)),
                'checksum')
            self.assertEqual(existing, self.directory.exists())
            self.assertEqual([], os.listdir(self.directory)
                             if existing else [])

    def test_existing_files(self):
        self.directory.mkdir()
        mine = self.directory / 'xvdb.raw'
        mine.write_bytes(b'mine')
        command = ('convert', '--all-disks', self.directory, self.package)
        self.assert_fails(self.run_here(*command), 'xvdb.raw exists')
        self.assertEqual(['xvdb.raw'], os.listdir(self.directory))
        self.assertEqual(b'mine', mine.read_bytes())
        self.assertEqual(0, self.run_here(*command, '--force').status)
        self.assert_package()

    def test_arguments(self):
        for arguments in (
                [self.package], [self.package, self.target, '--all-disks',
                                 self.directory],
                [self.package, '--all-disks', self.directory, '--disk', '0'],
                [self.package, '--all-disks', self.directory, '--adapt'],
                [self.package, '--all-disks', self.directory, '-f', 'yaml']):
            self.assert_fails(self.run_here('convert', *arguments), 'give')
        self.assertEqual([], os.listdir(self.output))

    def test_a_package_is_shown_like_an_export(self):
        found = self.run_here('inspect', '-f', 'json', self.package).json()
        self.assertEqual(
            [('xvda', '0', 'system', 96 * KIB, 'web-1', 'XenCenter', 'bios'),
             ('xvdb', '1', 'data', 200 * KIB, 'web-1', 'XenCenter', 'bios')],
            [tuple(row[name] for name in (
                'Device', 'Number', 'Name', 'Virtual Size', 'VM', 'Product',
                'Firmware')) for row in found])
        self.assertIn('was exported by XenCenter',
                      self.run_here('inspect', self.package).stdout)

    def test_several_machines(self):
        source = self.source(ova.Package([
            ova.Machine([SYSTEM], name='web'),
            ova.Machine([DATA], name='db', cpus=5)], sums=None).tar())
        found = self.run_here('inspect', '-f', 'json', source).json()
        self.assertEqual([('web', 2), ('db', 5)],
                         [(row['VM'], row['CPUs']) for row in found])
        self.assertIn('no manifest', found[0]['Notes'])
        shown = self.run_here('inspect', source).stdout
        for part in ('"web"', '"db"', 'Note: the package has no manifest'):
            self.assertIn(part, shown)
        ended = self.run_here('convert', '--all-disks', self.directory,
                              source)
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertEqual(['db-disk1.raw', 'web-disk0.raw'],
                         sorted(os.listdir(self.directory)))
        self.assertIn('Note: the package has no manifest', ended.stdout)

    def test_a_package_without_machines(self):
        data = archive.tar([
            archive.Member('vm.ovf', b'<Envelope><References/></Envelope>'),
            archive.Member('a.vhd', SYSTEM.data)])
        found = self.run_here('inspect', '-f', 'json',
                              self.source(data)).json()
        self.assertEqual([('a.vhd', None)],
                         [(row['Name'], row['VM']) for row in found])


@ddt.ddt
class FileNames(unittest.TestCase):

    def names(self, *disks):
        return all_disks.file_names([
            results.ConvertedDisk(number, 0, 0, disk)
            for number, disk in enumerate(disks)])

    def disk(self, device, position='0', machine=''):
        return results.Disk('ref', 'name', 0, device, position, False,
                            machine)

    def test_names(self):
        self.assertEqual(['disk.raw'], self.names(None))
        self.assertEqual(
            ['xvda.raw', 'xvda-1.raw', 'disk7.raw', 'my_vm-xvda.raw'],
            self.names(self.disk('xvda'), self.disk('xvda'),
                       self.disk('', '7'), self.disk('xvda', '0', 'my vm')))

    @ddt.data('../../etc/passwd', '/etc', '.', '..', '', 'a/b', 'a\0b',
              '-rf', '~', 'x' * 300, '\u202e', 'xvda.raw')
    def test_safe_names(self, device):
        names = self.names(self.disk(device), self.disk(device),
                           self.disk('', '', device))
        self.assertEqual(3, len(set(names)))
        for name in names:
            self.assertRegex(name, r'\A[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.raw'
                                   r'\Z')

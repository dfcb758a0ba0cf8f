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
"""``adapt`` and ``convert --adapt``, with a stand-in for the tools."""

import shutil
import unittest

from testbed.guests import stand_in
from testbed.images import archive
from testbed.images import vhd
from tests.unit.cli import base


@unittest.skipUnless(shutil.which('qemu-img') and shutil.which('qemu-io'),
                     'qemu-utils is not installed')
class Adapt(base.CommandCase):

    def setUp(self):
        super().setUp()
        tool, inspector = stand_in.install(self.scratch)
        self.options = ['--tool', tool, '--inspector', inspector, '--no-kvm']

    def make(self, **instructions):
        self.data = stand_in.disk(**instructions)
        self.target.write_bytes(self.data)

    def adapt(self, *arguments):
        return self.run_here('adapt', self.target, *self.options, *arguments)

    def archive(self):
        path = self.scratch / 'archive.tgz'
        path.write_bytes(archive.tgz(archive.chain_members(
            [vhd.Layer(len(self.data), written=[(0, self.data)])])))
        return path

    def assert_disk(self, expected):
        self.assertEqual(expected, self.target.read_bytes())
        self.assertEqual([self.target], list(self.output.iterdir()))

    def test_json(self):
        self.make(packages=['qemu-guest-agent'])
        ended = self.adapt('-f', 'json')
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_disk(stand_in.adapted(self.data))
        fields = ended.json()
        self.assertEqual(
            ('linux', 'debian', '12.5', 'x86_64', 'bios', True, True, True,
             stand_in.VERSION, False, []),
            tuple(fields[name] for name in (
                'family', 'distribution', 'version', 'architecture',
                'firmware', 'virtio_disk', 'virtio_network', 'guest_agent',
                'adapted_by', 'kvm', 'warnings')))
        self.assertEqual('virtio', fields['properties']['hw_disk_bus'])

    def test_table(self):
        self.make()
        ended = self.adapt()
        self.assertIn('| hw_vif_model=virtio', ended.stdout)
        self.assertEqual('', ended.stderr)

    def test_properties(self):
        self.make()
        ended = self.adapt('--properties')
        self.assertEqual(
            '--property hw_disk_bus=virtio --property hw_vif_model=virtio '
            '--property hw_firmware_type=bios --property os_type=linux '
            '--property os_distro=debian --property os_version=12.5\n',
            ended.stdout)

    def test_progress(self):
        self.make(sleep=1)
        ended = self.adapt('--progress')
        self.assertRegex(ended.stderr, 'adapting the guest: starting, ')

    def test_refused(self):
        self.make(systems=[])
        self.assert_fails(self.adapt(), 'holds no operating system')
        self.assert_disk(self.data)

    def test_wrong_arguments(self):
        self.make()
        for wrong in (['--max-time', '-1'], ['--memory', '0'],
                      ['--max-time', 'x']):
            with self.assertRaises(SystemExit) as caught:
                self.adapt(*wrong)
            self.assertEqual(2, caught.exception.code)

    def test_convert(self):
        self.make()
        self.target.unlink()
        ended = self.run_here('convert', self.archive(), self.target,
                              '--adapt', '-f', 'json', *self.options)
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertEqual('debian', ended.json()['distribution'])
        self.assert_disk(stand_in.adapted(self.data))

    def test_convert_shows_both(self):
        self.make()
        self.target.unlink()
        ended = self.run_here('convert', self.archive(), self.target,
                              '--adapt', *self.options)
        self.assertIn('made from 1 layer', ended.stdout)
        self.assertIn('| virtio_disk', ended.stdout)

    def test_convert_a_guest_that_cannot_be_adapted(self):
        """The disk is there, as it was."""
        self.make(systems=[])
        self.target.unlink()
        ended = self.run_here('convert', self.archive(), self.target,
                              '--adapt', *self.options)
        self.assertEqual(1, ended.status)
        self.assertIn('holds no operating system', ended.stderr)
        self.assert_disk(self.data)

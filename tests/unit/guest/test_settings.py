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
"""What the person who runs a host decides about adapting guests."""

import os
import types
import unittest
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import settings


from tests.unit import cases
from tests.unit.guest import base


class Environment(base.StandInCase):
    """What the tools are told."""

    def test_settings_of_libguestfs(self):
        chosen = self.settings(
            memory=2000, virtio_win='/iso', libguestfs={
                'LIBGUESTFS_BACKEND': 'libvirt', 'LIBGUESTFS_CACHEDIR': '/c'})
        environment = chosen.environment('/scratch')
        self.assertEqual(
            ('libvirt', '/c', '2000', '/iso', '/scratch', 'C.UTF-8'),
            tuple(environment[name] for name in (
                'LIBGUESTFS_BACKEND', 'LIBGUESTFS_CACHEDIR',
                'LIBGUESTFS_MEMSIZE', 'VIRTIO_WIN', 'TMPDIR', 'LC_ALL')))
        self.assertEqual('/c', chosen.cache)

    def test_no_secrets(self):
        os.environ['OS_PASSWORD'] = 'secret'
        self.addCleanup(os.environ.pop, 'OS_PASSWORD')
        self.assertNotIn('secret', self.settings().environment('/').values())

    def test_other_variables(self):
        with self.assertRaisesRegex(ValueError, 'LD_PRELOAD'):
            settings.Settings(libguestfs={'LD_PRELOAD': 'x'})

    def test_without_kvm(self):
        self.has_kvm(True)
        chosen = self.settings(libguestfs={
            'LIBGUESTFS_BACKEND_SETTINGS': 'gdb:force_kvm'})
        self.assertTrue(chosen.may_use_kvm)
        without = chosen.without_kvm()
        self.assertFalse(without.may_use_kvm)
        self.assertEqual(
            'gdb:force_tcg',
            without.environment('/')['LIBGUESTFS_BACKEND_SETTINGS'])

    def test_force_kvm_and_force_tcg(self):
        """libguestfs gives up where both are wanted."""
        for wanted in ('force_tcg', 'force_kvm', 'force_kvm:force_tcg', '::'):
            chosen = self.settings(libguestfs={
                'LIBGUESTFS_BACKEND_SETTINGS': wanted}).without_kvm()
            self.assertEqual(
                'force_tcg',
                chosen.libguestfs['LIBGUESTFS_BACKEND_SETTINGS'])

    def test_traces_cannot_be_switched_off(self):
        """They tell that the appliance has started."""
        self.assertEqual('1', self.settings(libguestfs={
            'LIBGUESTFS_TRACE': '0'}).environment('/')['LIBGUESTFS_TRACE'])


class Programs(cases.ScratchCase):
    """Where programs are looked for."""

    def setUp(self):
        super().setUp()
        self.program = self.scratch / 'a-program'
        self.program.touch(0o700)

    def with_path(self, path):
        patched = mock.patch.dict(os.environ, PATH=path)
        patched.start()
        self.addCleanup(patched.stop)

    def test_on_the_path(self):
        self.with_path(f'/usr/bin:{self.scratch}')
        self.assertEqual(str(self.program), settings.find('a-program'))
        self.assertEqual(str(self.program), settings.require('a-program'))

    def test_by_its_own_path(self):
        self.with_path('/usr/bin')
        self.assertIsNone(settings.find('a-program'))
        self.assertEqual(str(self.program), settings.find(str(self.program)))

    def test_no_programs_of_the_current_directory(self):
        """Whoever may write there would choose what is run."""
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.scratch)
        for path in ('.', '', ':/usr/bin', f'../{self.scratch.name}'):
            self.with_path(path)
            self.assertIsNone(settings.find('a-program'), path)

    def test_path_that_a_service_has(self):
        """It may be short, or not set at all."""
        self.with_path('')
        self.assertIsNotNone(settings.find('sh'))

    def test_missing(self):
        self.program.chmod(0o600)
        self.with_path(str(self.scratch))
        with self.assertRaisesRegex(exceptions.ToolMissing, 'a-program'):
            settings.require('a-program')


class Options(unittest.TestCase):

    def group(self, **changes):
        return types.SimpleNamespace(**{
            'tool': 'v2v', 'inspector': 'look', 'max_time': 1,
            'start_timeout': 2, 'memory': 3, 'libguestfs': {},
            'virtio_win': None, 'scratch_path': '/x'} | changes)

    def test_of_another_program(self):
        with self.assertRaisesRegex(exceptions.ToolMissing, 'LD_PRELOAD'):
            settings.of_options(self.group(libguestfs={'LD_PRELOAD': 'x'}))

    def test_scratch(self):
        found = settings.of_options(self.group(
            libguestfs={'LIBGUESTFS_PATH': '/appliance'}))
        self.assertEqual(('/x', '/appliance'),
                         (found.scratch, found.libguestfs['LIBGUESTFS_PATH']))

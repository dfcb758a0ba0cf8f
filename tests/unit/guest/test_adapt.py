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
"""Adapting a guest in an overlay, with a stand-in for the tools."""

import os
import subprocess
import time
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import programs
from glance_xs_convert.guest import settings

from testbed.guests import stand_in

from tests import processes
from tests.unit import cases
from tests.unit.guest import base


class Adapt(base.StandInCase):
    """The whole way, up to the overlay."""

    def adapt(self, settings=None, on_progress=base.ignore, **instructions):
        self.disk, self.data = self.new_disk(**instructions)
        self.overlay = self.disks / 'overlay.qcow2'
        return adapt.adapt(
            str(self.disk), str(self.overlay), settings or self.settings(),
            python=base.PYTHON, on_progress=on_progress)

    def assert_refused(self, kind, reason='', settings=None, **instructions):
        with self.assertRaisesRegex(kind, reason) as caught:
            self.adapt(settings, **instructions)
        self.assertIs(kind, type(caught.exception))
        self.assertEqual(self.data, self.disk.read_bytes())
        self.assert_clean('disk.raw')

    def test_adapted(self):
        found = self.adapt(packages=['qemu-guest-agent'])
        self.assertEqual(
            ('linux', 'debian', '12.5', 'x86_64', True),
            (found.system.family, found.system.distribution,
             found.system.version, found.system.architecture,
             found.system.has_agent))
        self.assertEqual(
            (adapt.BIOS, True, True, stand_in.VERSION, (), False),
            (found.firmware, found.has_virtio_disk, found.has_virtio_net,
             found.tool, found.warnings, found.used_kvm))
        self.assertEqual(self.data, self.disk.read_bytes())
        self.assert_clean('disk.raw', 'overlay.qcow2')
        self.assertEqual(0o600, self.overlay.stat().st_mode & 0o777)

    def test_warnings_and_emulated_devices(self):
        found = self.adapt(words=[
            'virt-v2v-in-place: warning: no drivers for this one',
            'virt-v2v-in-place: This guest does not have virtio drivers '
            'installed.'])
        self.assertEqual((('no drivers for this one',), False, False),
                         (found.warnings, found.has_virtio_disk,
                          found.has_virtio_net))

    def test_progress(self):
        stages = []
        self.adapt(on_progress=lambda one: stages.append(one.stage), sleep=1)
        self.assertLess({'looking for its operating system', 'starting'},
                        {*stages, 'x'})

    def test_an_error_of_the_caller_ends_it(self):
        class Enough(Exception):
            pass

        def raise_it(one):
            if one.stage == 'starting':
                raise Enough

        with self.assertRaises(Enough):
            self.adapt(on_progress=raise_it, sleep=3600)
        self.assert_clean('disk.raw')

    def test_no_operating_system(self):
        self.assert_refused(exceptions.NoOperatingSystem, systems=[])

    def test_several_operating_systems(self):
        self.assert_refused(exceptions.SeveralOperatingSystems, 'holds 2',
                            systems=[stand_in.DEBIAN] * 2)

    def test_no_boot_loader(self):
        self.assert_refused(exceptions.NoBootLoader, 'paravirtualization',
                            boots=False)

    def test_encrypted(self):
        self.assert_refused(
            exceptions.EncryptedGuest, inspector_status=1,
            inspector_errors=['/dev/tty: No such device or address'])

    def test_inspector_talks_nonsense(self):
        self.assert_refused(exceptions.AdaptingFailed, 'not well-formed',
                            document='<operatingsystems>')

    def test_tool_fails(self):
        self.assert_refused(
            exceptions.OnlyXenKernels, status=1, words=[],
            errors=['virt-v2v-in-place: error: only Xen kernels are '
                    'installed in this guest.'])

    def test_tool_fails_without_a_word(self):
        self.assert_refused(exceptions.AdaptingFailed, 'status 7', status=7,
                            words=[])

    def test_tool_is_missing(self):
        for change in ({'tool': 'no-such-tool'},
                       {'inspector': '/no/such/inspector'}):
            self.assert_refused(exceptions.ToolMissing,
                                'requires the packages virt-v2v, ',
                                settings=self.settings(**change))

    def test_time(self):
        self.assert_refused(exceptions.AdaptingTimedOut, 'more than 1 sec',
                            settings=self.settings(max_time=1), sleep=3600)

    def test_hang_without_kvm(self):
        begun = time.monotonic()
        with mock.patch.object(settings, 'WITHOUT_KVM', 2):
            self.assert_refused(
                exceptions.ApplianceFailed, 'not started within 2 seconds',
                settings=self.settings(start_timeout=1), hangs='always')
        self.assertLess(2, time.monotonic() - begun)

    def test_hang_with_kvm(self):
        """Each of the two is tried once more, without KVM."""
        self.has_kvm(True)
        for which in (stand_in.INSPECTOR, stand_in.TOOL):
            with mock.patch.object(settings, 'WITHOUT_KVM', cases.PATIENCE):
                found = self.adapt(self.settings(start_timeout=1),
                                   hangs=which)
            self.assertEqual((False, True),
                             (found.used_kvm, found.has_virtio_disk))
            self.overlay.unlink()

    def test_overlay_that_cannot_be_made(self):
        """However the program fails, the reason is one for people."""
        def fail(command, **options):
            if 'create' in command:
                raise subprocess.TimeoutExpired('qemu-img', 60)
            return run(command, **options)

        run = subprocess.run
        with mock.patch.object(adapt.subprocess, 'run', fail):
            self.assert_refused(exceptions.UnwritableTarget,
                                'overlay .* timed out after 60 seconds')

    def test_kvm(self):
        self.has_kvm(True)
        self.assertIs(True, self.adapt().used_kvm)

    def test_flood(self):
        with mock.patch.object(programs, 'MOST_SAID', 1 << 20):
            self.assert_refused(exceptions.AdaptingFailed,
                                'wrote more than 1 MiB', flood=True)

    def test_what_the_tool_starts_ends_with_it(self):
        seconds = processes.unmistakable()
        self.adapt(leaves=seconds)
        self.assertEqual([], processes.running(seconds))
        with self.assertRaises(exceptions.AdaptingTimedOut):
            self.adapt(self.settings(max_time=2), leaves=seconds,
                       sleep=3600)
        self.assertEqual([], processes.running(seconds))

    def test_little_space(self):
        with mock.patch.object(adapt, 'RESERVE', 1 << 60):
            self.assert_refused(exceptions.OutOfSpace, 'lacks the space')

    def test_long_names(self):
        directory = self.scratch / ('x' * 80)
        directory.mkdir()
        self.assert_refused(exceptions.UnwritableTarget, 'is too long',
                            settings=self.settings(scratch=str(directory)))


class Scratch(base.StandInCase):
    """Directories that were left behind."""

    def test_abandoned(self):
        old = self.scratches / 'glance-xs-adapt-old'
        old.mkdir()
        (old / 'file').touch()
        os.utime(old, (0, 0))
        with adapt.scratch_directory(str(self.scratches)) as first:
            os.utime(first, (0, 0))
            with adapt.scratch_directory(str(self.scratches)) as second:
                self.assertEqual(
                    {first, second},
                    {str(path) for path in self.scratches.iterdir()})
        self.assert_clean()

    def test_parent_is_killed(self):
        """The warden ends the tool, and removes its directory."""
        seconds = processes.unmistakable()
        self.new_disk(leaves=seconds, sleep=3600)
        program = self.begin_program(
            'import os, sys\n'
            'from glance_xs_convert.guest import adapt, settings\n'
            'def tell(one):\n'
            '    if one.stage == "starting":\n'
            '        print(flush=True)\n'
            'adapt.adapt(sys.argv[1] + "/disks/disk.raw", sys.argv[1] + '
            f'"/disks/o", settings.Settings(tool={self.tool!r}, '
            f'inspector={self.inspector!r}, scratch={str(self.scratches)!r}),'
            ' python=sys.executable, on_progress=tell)\n')
        deadline = time.monotonic() + cases.PATIENCE
        while not processes.running(seconds):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        program.kill()
        program.wait()
        deadline = time.monotonic() + cases.PATIENCE
        while processes.running(seconds) or any(self.scratches.iterdir()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

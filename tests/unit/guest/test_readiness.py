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
"""Finding out whether a host can adapt guests, with a stand-in."""

from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import readiness
from glance_xs_convert.guest import settings

from testbed.guests import stand_in

from tests.unit.guest import base


class Readiness(base.StandInCase):

    def try_appliance(self, **changes):
        return readiness.try_appliance(self.settings(**changes),
                                       python=base.PYTHON)

    def test_programs(self):
        self.assertEqual(stand_in.VERSION,
                         readiness.find_programs(self.settings()))
        for change in ({'tool': 'no-such'}, {'inspector': 'no-such'}):
            with self.assertRaises(exceptions.ToolMissing):
                readiness.find_programs(self.settings(**change))

    def test_kvm(self):
        self.assertRegex(readiness.describe_kvm(), 'does not exist')
        self.has_kvm(True)
        self.assertIsNone(readiness.describe_kvm())

    def test_space(self):
        path, free = readiness.free_space(self.settings(
            libguestfs={'LIBGUESTFS_CACHEDIR': str(self.scratch)}))
        self.assertEqual(str(self.scratch), path)
        self.assertLess(0, free)

    def test_starts(self):
        for has_kvm in (False, True):
            self.has_kvm(has_kvm)
            self.assertEqual(has_kvm, self.try_appliance().used_kvm)
        self.assert_clean()

    def test_does_not_start(self):
        """It says why, after it was tried without KVM."""
        self.has_kvm(True)
        self.inspector = self.scratch / 'broken'
        self.inspector.write_text(
            '#!/bin/sh\necho "libguestfs: error: guestfs_launch failed ($'
            'LIBGUESTFS_BACKEND_SETTINGS)" >&2\nexit 1\n')
        self.inspector.chmod(0o755)
        with self.assertRaisesRegex(exceptions.ApplianceFailed, 'force_tcg'):
            self.try_appliance(inspector=str(self.inspector))

    def test_hangs(self):
        self.inspector = self.scratch / 'hangs'
        self.inspector.write_text('#!/bin/sh\nexec sleep 3600\n')
        self.inspector.chmod(0o755)
        with (mock.patch.object(settings, 'WITHOUT_KVM', 2),
              self.assertRaisesRegex(exceptions.ApplianceFailed,
                                     '2 seconds')):
            self.try_appliance(inspector=str(self.inspector),
                               start_timeout=1)
        self.assert_clean()

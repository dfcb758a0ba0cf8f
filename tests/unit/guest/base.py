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
"""What the tests of adapting guests have in common.

The tools are a stand-in, see ``testbed/guests/stand_in.py``: what they do to a
guest is not tested here, but in ``tests/guest``.
"""

import shutil
import sys
import unittest
from unittest import mock

from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import inspection
from glance_xs_convert.guest import settings

from testbed.guests import stand_in

from tests.unit import cases

#: What adapting a guest of Linux has found.
LINUX = adapt.Adapted(
    system=inspection.System('linux', 'debian', 'Debian GNU/Linux 12', '12.5',
                             'x86_64', False),
    firmware=adapt.BIOS, has_virtio_disk=True, has_virtio_net=True,
    tool='virt-v2v-in-place 2.2.0', warnings=(), used_kvm=True, seconds=60.0)


@unittest.skipUnless(shutil.which('qemu-img') and shutil.which('qemu-io'),
                     'qemu-utils is not installed')
class StandInCase(cases.ScratchCase):
    """Has the stand-in for the tools, and a place for disks and scratch.

    :ivar disks: directory of disks
    :ivar scratches: directory of scratch directories
    """

    def setUp(self):
        super().setUp()
        self.disks = self.scratch / 'disks'
        self.scratches = self.scratch / 's'
        for directory in (self.disks, self.scratches):
            directory.mkdir()
        self.tool, self.inspector = stand_in.install(self.scratch)
        self.has_kvm(False)

    def has_kvm(self, has):
        """Let the host have KVM, or not."""
        path = self.scratch / 'kvm'
        if has:
            path.touch()
        patch = mock.patch.object(settings, 'KVM_DEVICE', str(path))
        patch.start()
        self.addCleanup(patch.stop)

    def settings(self, **changes):
        return settings.Settings(**{
            'tool': self.tool, 'inspector': self.inspector,
            'scratch': str(self.scratches), 'max_time': cases.PATIENCE,
            'start_timeout': cases.PATIENCE, **changes})

    def new_disk(self, **instructions):
        """Write a disk that tells the stand-in what to do.

        :returns: its path and its bytes
        """
        data = stand_in.disk(**instructions)
        path = self.disks / 'disk.raw'
        path.write_bytes(data)
        return path, data

    def assert_clean(self, *names):
        """Only these files are left."""
        self.assertEqual(sorted(names), sorted(
            path.name for path in self.disks.iterdir()))
        self.assertEqual([], list(self.scratches.iterdir()))


PYTHON = sys.executable


def ignore(progress):
    """Take no notice of the progress."""

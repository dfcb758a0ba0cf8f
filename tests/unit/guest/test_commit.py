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

"""Committing an overlay of qemu's to its disk."""

import os
import random
import subprocess
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import commit

from tests.unit.guest import base

MIB = 1 << 20
DATA = random.Random('commit').randbytes(4 * MIB)


class Commit(base.StandInCase):
    """The overlay is made and written by qemu's own programs."""

    def setUp(self):
        super().setUp()
        self.disk = self.disks / 'disk.raw'
        self.disk.write_bytes(DATA)
        self.overlay = self.disks / 'overlay.qcow2'
        self.run_quietly('qemu-img', 'create', '-f', 'qcow2', '-F', 'raw',
                         '-b', self.disk, self.overlay)
        self.run_quietly('qemu-io', '-f', 'qcow2', '-c',
                         'write -P 0xa5 1M 64k', self.overlay)
        self.committed = (DATA[:MIB] + b'\xa5' * 65536
                          + DATA[MIB + 65536:])

    def run_quietly(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def commit(self, on_progress=base.ignore):
        commit.commit(str(self.disk), str(self.overlay), self.settings(),
                      python=base.PYTHON, on_progress=on_progress)

    def test_commit(self):
        """It may be interrupted, and done once more."""
        for _ in range(2):
            self.commit()
            self.assertEqual(self.committed, self.disk.read_bytes())
        self.assert_clean('disk.raw', 'overlay.qcow2')

    def test_relative_paths(self):
        """qemu-img runs in another directory."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.disks)
        self.disk, self.overlay = self.disk.name, self.overlay.name
        self.commit()
        with open(self.disk, 'rb') as file:
            self.assertEqual(self.committed, file.read())

    def test_failure(self):
        self.overlay.write_bytes(b'no overlay')
        with self.assertRaisesRegex(exceptions.HalfCommitted, 'of no use'):
            self.commit()
        self.assert_clean('disk.raw', 'overlay.qcow2')

    def test_an_error_of_the_caller_ends_it(self):
        class Enough(Exception):
            pass

        def raise_it(one):
            raise Enough

        self.assertRaises(Enough, self.commit, raise_it)
        self.assert_clean('disk.raw', 'overlay.qcow2')

    def test_space(self):
        """What the overlay takes up is what the disk may grow by."""
        paths = str(self.disk), str(self.overlay)
        commit.check_space(*paths)
        needed = self.overlay.stat().st_blocks
        for free, refused in ((needed, False), (needed - 1, True)):
            found = mock.Mock(f_bavail=free, f_frsize=512)
            with mock.patch.object(commit.os, 'statvfs', autospec=True,
                                   return_value=found):
                if refused:
                    self.assertRaisesRegex(
                        exceptions.OutOfSpace, 'need .* of space .* has .*B$',
                        commit.check_space, *paths)
                else:
                    commit.check_space(*paths)

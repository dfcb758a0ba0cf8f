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
"""Adapting the only copy of a disk."""

import fcntl
import json
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import commit
from glance_xs_convert.guest import in_place

from testbed.guests import stand_in

from tests.unit.guest import base


class InPlace(base.StandInCase):
    """Adapts, is interrupted, and goes on."""

    def setUp(self):
        super().setUp()
        self.disk, self.data = self.new_disk()

    def adapt(self):
        return in_place.adapt_disk(
            str(self.disk), self.settings(), python=base.PYTHON,
            on_progress=base.ignore)

    def assert_adapted(self):
        self.assertEqual(stand_in.adapted(self.data), self.disk.read_bytes())
        self.assert_clean('disk.raw')

    def interrupt(self):
        """Leave everything as a crash does in the middle of a commit."""
        def crash(*args, **kwargs):
            raise KeyboardInterrupt

        with (mock.patch.object(commit, 'commit', crash),
              self.assertRaises(KeyboardInterrupt)):
            self.adapt()
        with self.disk.open('r+b') as file:
            place, value, length = stand_in.WRITTEN[0]
            file.seek(place)
            file.write(bytes([value]) * length)

    def test_adapted(self):
        self.assertTrue(self.adapt().has_virtio_disk)
        self.assert_adapted()

    def test_through_a_link(self):
        link = self.scratch / 'link'
        link.symlink_to(self.disk)
        in_place.adapt_disk(str(link), self.settings(), python=base.PYTHON,
                            on_progress=base.ignore)
        self.assert_adapted()

    def test_failure_leaves_the_disk(self):
        self.disk, self.data = self.new_disk(systems=[])
        with self.assertRaises(exceptions.NoOperatingSystem):
            self.adapt()
        self.assertEqual(self.data, self.disk.read_bytes())
        self.assert_clean('disk.raw')

    def test_commit_is_finished(self):
        self.interrupt()
        self.assert_clean('disk.raw', 'disk.raw.adapt')
        with mock.patch.object(in_place.adapt, 'adapt', None):
            found = self.adapt()
        self.assertEqual('debian', found.system.distribution)
        self.assert_adapted()

    def test_other_disk(self):
        self.interrupt()
        copy = self.disk.read_bytes()
        self.disk.unlink()
        (self.disks / 'keeps-the-inode').touch()
        self.disk.write_bytes(copy + bytes(512))
        with self.assertRaisesRegex(exceptions.TargetExists,
                                    'remove the directory'):
            self.adapt()
        self.assertEqual(copy + bytes(512), self.disk.read_bytes())

    def test_record_of_another_version(self):
        self.interrupt()
        record = self.disks / 'disk.raw.adapt' / 'complete.json'
        fields = json.loads(record.read_text())
        for text in (json.dumps({**fields, 'version': 2}), '{}', 'x'):
            record.write_text(text)
            with self.assertRaises(exceptions.TargetExists):
                self.adapt()

    def test_abandoned_attempt(self):
        directory = self.disks / 'disk.raw.adapt'
        directory.mkdir()
        (directory / 'overlay.qcow2').write_bytes(b'half')
        self.adapt()
        self.assert_adapted()

    def test_in_use(self):
        with self.disk.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with self.assertRaisesRegex(exceptions.UnwritableTarget,
                                        'in use'):
                self.adapt()

    def test_no_file(self):
        for path in (self.disks / 'missing', self.disks):
            with self.assertRaises(exceptions.UnwritableTarget):
                in_place.adapt_disk(str(path), self.settings(),
                                    python=base.PYTHON,
                                    on_progress=base.ignore)

    def test_no_space_for_the_commit(self):
        refuse = mock.Mock(side_effect=exceptions.OutOfSpace('full'))
        with (mock.patch.object(commit, 'check_space', refuse),
              self.assertRaises(exceptions.OutOfSpace)):
            self.adapt()
        self.assertEqual(self.data, self.disk.read_bytes())
        self.assert_clean('disk.raw')

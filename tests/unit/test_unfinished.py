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

"""Files that have no name of their own yet, and what others do to them."""

import errno
import fcntl
import os
import signal
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert import publish
from glance_xs_convert import unfinished

from tests.unit import files


class Others(files.FilesCase):
    """Other processes write the same target."""

    def test_running(self):
        process = self.begin()
        for overwrite in (False, True):
            self.assert_refused(exceptions.TargetExists,
                                'another conversion is writing it',
                                overwrite=overwrite)
        process.send_signal(signal.SIGINT)
        process.wait()
        self.assertEqual([], os.listdir(self.scratch))

    def test_killed(self):
        process = self.begin()
        process.kill()
        process.wait()
        self.assert_refused(exceptions.TargetExists,
                            'a conversion that was killed left it behind')
        self.write(b'new', overwrite=True)
        self.assert_only(b'new')

    def test_copies_of_the_descriptor_keep_the_lock(self):
        """A converter whose parent is gone is writing, too."""
        with (self.assertRaises(KeyboardInterrupt),
              publish.new_file(self.target) as descriptor):
            copy = os.dup(descriptor)
            self.addCleanup(os.close, copy)
            os.rename(self.partial, self.scratch / 'kept')
            raise KeyboardInterrupt
        os.rename(self.scratch / 'kept', self.partial)
        self.assert_refused(exceptions.TargetExists,
                            'another conversion is writing it',
                            overwrite=True)

    def test_replaced_while_it_is_written(self):
        for overwrite in (False, True):
            with (self.assertRaisesRegex(exceptions.UnwritableTarget,
                                         'was replaced or removed'),
                  publish.new_file(self.target, overwrite=overwrite)):
                self.partial.unlink()
                self.partial.write_bytes(b'of somebody else')
            self.assertEqual([self.partial.name], os.listdir(self.scratch))
            self.assertEqual(b'of somebody else', self.partial.read_bytes())
            self.partial.unlink()

    def test_removed_while_it_is_written(self):
        with (self.assertRaisesRegex(exceptions.UnwritableTarget,
                                     'was replaced or removed'),
              publish.new_file(self.target)):
            self.partial.unlink()
        self.assertEqual([], os.listdir(self.scratch))

    def test_changed_while_it_is_written(self):
        for change in (
                lambda descriptor: os.fchmod(descriptor, 0o4755),
                lambda descriptor: os.link(self.partial,
                                           self.scratch / 'alias')):
            with (self.assertRaisesRegex(exceptions.UnwritableTarget,
                                         'were changed while it was written'),
                  publish.new_file(self.target) as descriptor):
                change(descriptor)
            self.assertNotIn(self.target.name, os.listdir(self.scratch))

    def test_file_system_without_locks(self):
        with mock.patch('fcntl.flock', autospec=True,
                        side_effect=OSError(errno.ENOLCK, 'No locks')):
            self.write(b'new')
            self.assert_only(b'new')
            self.partial.write_bytes(b'left')
            self.assert_refused(exceptions.UnwritableTarget, 'No locks',
                                overwrite=True)

    def test_error_while_it_is_locked(self):
        with mock.patch('fcntl.flock', autospec=True,
                        side_effect=OSError(errno.EIO, 'I/O error')):
            self.assert_refused(exceptions.UnwritableTarget, 'I/O error')

    def lock_first(self, then):
        """Have somebody find a new file before its maker can lock it.

        :param then: what becomes of the finder, whose lock it is
        """
        flock = fcntl.flock

        def interfere(descriptor, operation):
            finder = os.open(self.partial, os.O_RDWR)
            flock(finder, fcntl.LOCK_EX)
            self.partial.unlink()
            self.partial.write_bytes(b'of the finder')
            then(finder)
            return flock(descriptor, operation)

        with (mock.patch('fcntl.flock', interfere),
              self.assertRaisesRegex(exceptions.TargetExists,
                                     'another conversion is writing it')):
            self.write(b'new')
        self.assertEqual([self.partial.name], os.listdir(self.scratch))
        self.assertEqual(b'of the finder', self.partial.read_bytes())

    def test_found_before_it_was_locked(self):
        self.lock_first(then=lambda finder: self.addCleanup(os.close, finder))

    def test_found_and_replaced_before_it_was_locked(self):
        self.lock_first(then=os.close)

    def test_unnamed(self):
        file = unfinished.create_unnamed(str(self.scratch))
        os.write(file.descriptor, b'new')
        self.assertFalse(file.is_named)
        self.assertEqual([], os.listdir(self.scratch))
        file.set_name(str(self.partial))
        file.publish(str(self.target), False)
        file.close()
        self.assert_only(b'new')

    def test_temporary_name_that_is_taken(self):
        file = unfinished.create_unnamed(str(self.scratch))
        self.addCleanup(file.close)
        self.partial.write_bytes(b'left')
        with self.assertRaisesRegex(exceptions.TargetExists, 'killed left it'):
            file.set_name(str(self.partial))
        self.assertEqual(b'left', self.partial.read_bytes())

    def test_file_system_without_links(self):
        with mock.patch('os.link', autospec=True,
                        side_effect=PermissionError):
            self.write(b'new')
            self.assert_only(b'new')
            with (self.assertRaises(exceptions.TargetExists),
                  mock.patch.object(unfinished.UnfinishedFile, 'flush',
                                    autospec=True)):
                self.target.unlink()
                with publish.new_file(self.target):
                    self.target.write_bytes(b'of somebody else')
        self.assert_only(b'of somebody else')

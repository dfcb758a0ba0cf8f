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

"""Opening sources, and what becomes of names when targets are written."""

import contextlib
import errno
import fcntl
import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert import publish

from tests.unit import cases

#: Writes a target until it is killed; its argument is the path.
WRITER = '''
import os, sys, time
from glance_xs_convert import publish

with publish.new_file(sys.argv[1]) as descriptor:
    os.write(descriptor, b'half')
    print('begun', flush=True)
    time.sleep(600)
'''


class FilesCase(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.target = self.scratch / 'disk'
        self.partial = self.scratch / 'disk.part'

    def write(self, content, **options):
        with publish.new_file(self.target, **options) as descriptor:
            os.write(descriptor, content)

    def begin(self):
        """Have another process write the target."""
        cases.heed_signals(self)
        process = subprocess.Popen(
            [sys.executable, '-c', WRITER, self.target],
            stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertEqual(b'begun\n', process.stdout.readline())
        return process

    def assert_refused(self, error, message, **options):
        before = self.everything()
        descriptors = os.listdir('/proc/self/fd')
        with self.assertRaisesRegex(error, message):
            self.write(b'new', **options)
        self.assertEqual(before, self.everything())
        self.assertEqual(descriptors, os.listdir('/proc/self/fd'))

    def everything(self):
        return {path.name: (os.lstat(path).st_ino, path.is_symlink()
                            or not path.is_file() or path.read_bytes())
                for path in self.scratch.iterdir()}

    def assert_only(self, content):
        self.assertEqual([self.target.name], os.listdir(self.scratch))
        self.assertEqual(content, self.target.read_bytes())


class Opened(FilesCase):

    def test_closed_afterwards(self):
        self.target.write_bytes(b'content')
        with publish.open_source(self.target) as file:
            self.assertEqual(b'content', file.read())
        self.assertTrue(file.closed)

    def test_empty_name(self):
        with (self.assertRaisesRegex(exceptions.UnreadableSource,
                                     'the archive has an empty name'),
              publish.open_source('')):
            self.fail()

    def test_missing(self):
        with (self.assertRaisesRegex(exceptions.UnreadableSource,
                                     'disk cannot be opened: No such file'),
              publish.open_source(self.target)):
            self.fail()


class NewFile(FilesCase):

    def test_named_at_the_end(self):
        with publish.new_file(self.target) as descriptor:
            os.write(descriptor, b'new')
            self.assertEqual([self.partial.name], os.listdir(self.scratch))
        self.assert_only(b'new')

    def test_replaced_file_keeps_its_mode(self):
        """Nobody else may read what he could not read before."""
        for mode in (0o600, 0o664):
            self.target.write_bytes(b'old')
            self.target.chmod(mode)
            self.write(b'new', overwrite=True)
            self.assertEqual(mode, self.target.stat().st_mode & 0o777)
            self.assert_only(b'new')

    def test_nothing_after_an_error(self):
        with (self.assertRaises(KeyboardInterrupt),
              publish.new_file(self.target)):
            raise KeyboardInterrupt
        self.assertEqual([], os.listdir(self.scratch))

    def test_relative_path(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.scratch)
        self.target = pathlib.Path('disk')
        self.write(b'new')
        self.assertEqual(['disk'], os.listdir(self.scratch))

    def test_mode(self):
        self.addCleanup(os.umask, os.umask(0o022))
        for mode, expected in ((0o666, 0o644), (0o600, 0o600)):
            self.write(b'', overwrite=True, mode=mode)
            self.assertEqual(expected, self.target.stat().st_mode & 0o777)

    def test_existing_target(self):
        self.target.write_bytes(b'old')
        self.assert_refused(exceptions.TargetExists, 'disk exists$')
        self.write(b'new', overwrite=True)
        self.assert_only(b'new')

    def test_target_that_is_made_meanwhile(self):
        with (self.assertRaises(exceptions.TargetExists),
              publish.new_file(self.target)):
            self.target.write_bytes(b'of somebody else')
        self.assert_only(b'of somebody else')

    def test_special_files(self):
        os.mkfifo(self.target)
        self.assert_refused(exceptions.UnwritableTarget, 'not a regular file',
                            overwrite=True)
        self.target.unlink()
        for make in (os.mkfifo, lambda path: os.symlink(__file__, path),
                     os.mkdir):
            with self.subTest(make):
                make(self.partial)
                self.assert_refused(exceptions.UnwritableTarget,
                                    'part is not a regular file',
                                    overwrite=True)
                self.assert_refused(exceptions.TargetExists, 'part exists')
                if self.partial.is_dir():
                    self.partial.rmdir()
                else:
                    self.partial.unlink()

    def test_durable_before_it_has_its_name(self):
        calls = mock.Mock()
        with (mock.patch('os.fsync', calls.fsync),
              mock.patch('os.link', calls.link)):
            self.write(b'new')
        self.assertEqual(['fsync', 'link', 'fsync'],
                         [call[0] for call in calls.mock_calls])

    def test_written_back_meanwhile(self):
        """A slow disk does not take its time at the end only."""
        calls = []
        seen = threading.Event()

        def begin(*arguments):
            calls.append(arguments)
            seen.set()
            return 0

        with (mock.patch.object(publish, '_write_starter', lambda: begin),
              mock.patch.object(publish, '_WRITEBACK_INTERVAL', 0.001),
              publish.new_file(self.target) as descriptor):
            self.assertTrue(seen.wait(cases.PATIENCE))
        self.assertEqual((descriptor, 0, 0, 2), calls[0])
        before = len(calls)
        time.sleep(0.05)
        self.assertEqual(before, len(calls))

    def test_kernel_begins_to_write(self):
        begin = publish._write_starter()
        descriptor = os.open(self.target, os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, descriptor)
        os.write(descriptor, b'data')
        self.assertEqual(0, begin(descriptor, 0, 0, 2))

    def test_need_not_be_durable(self):
        with mock.patch('os.fsync', autospec=True) as fsync:
            self.write(b'new', durable=False)
        fsync.assert_not_called()
        self.assert_only(b'new')

    def test_file_system_without_links(self):
        with mock.patch('os.link', autospec=True,
                        side_effect=PermissionError):
            self.write(b'new')
            self.assert_only(b'new')
            with (self.assertRaises(exceptions.TargetExists),
                  mock.patch.object(publish, '_flush', lambda *_: None)):
                self.target.unlink()
                with publish.new_file(self.target):
                    self.target.write_bytes(b'of somebody else')
        self.assert_only(b'of somebody else')


class Archive(FilesCase):
    """The archive is not replaced by the disk."""

    def setUp(self):
        super().setUp()
        self.archive = self.scratch / 'archive'
        self.archive.write_bytes(b'archive')
        self.source = self.enterContext(open(self.archive, 'rb'))

    def enterContext(self, context):
        # unittest has it from Python 3.11 on.
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(context)

    def test_same_name(self):
        self.target = self.archive
        self.assert_refused(exceptions.UnwritableTarget,
                            'is the archive itself', overwrite=True,
                            source=self.source)

    def test_hard_link(self):
        os.link(self.archive, self.target)
        self.assert_refused(exceptions.UnwritableTarget,
                            'is the archive itself', overwrite=True,
                            source=self.source)

    def test_partial_name(self):
        os.link(self.archive, self.partial)
        self.assert_refused(exceptions.UnwritableTarget,
                            'part is the archive itself', overwrite=True,
                            source=self.source)

    def test_other_file(self):
        self.target.write_bytes(b'archive')
        self.write(b'new', overwrite=True, source=self.source)
        self.assertEqual(b'new', self.target.read_bytes())

    def test_source_without_a_descriptor(self):
        self.write(b'new', source=io.BytesIO())
        self.assertEqual(b'new', self.target.read_bytes())


class Others(FilesCase):
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


class NewFiles(FilesCase):
    """Several files that get their names together."""

    def setUp(self):
        super().setUp()
        self.directory = self.scratch / 'disks'

    def write_files(self, names, count=3, **options):
        with publish.NewFiles(self.directory, count, **options) as files:
            for number, descriptor in enumerate(files.descriptors):
                os.write(descriptor, b'%d' % number)
            files.publish(names)

    def contents(self):
        return {path.name: path.read_bytes()
                for path in self.directory.iterdir()}

    def without_unnamed_files(self):
        """Let the file system not support files without names."""
        really_open = os.open

        def refusing(path, flags, *arguments, **options):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, 'no')
            return really_open(path, flags, *arguments, **options)

        return mock.patch('os.open', refusing)

    def test_named_at_the_end(self):
        for patch in (contextlib.nullcontext(), self.without_unnamed_files()):
            with patch:
                self.write_files({0: 'a', 2: 'b'})
            self.assertEqual({'a': b'0', 'b': b'2'}, self.contents())
            for path in list(self.directory.iterdir()):
                path.unlink()
            self.directory.rmdir()

    def test_nothing_remains_after_an_error(self):
        for patch in (contextlib.nullcontext(), self.without_unnamed_files()):
            with (patch, self.assertRaises(ZeroDivisionError),
                  publish.NewFiles(self.directory, 3)):
                raise ZeroDivisionError
            self.assertFalse(self.directory.exists())

    def test_all_or_none(self):
        self.directory.mkdir()
        (self.directory / 'b').write_bytes(b'mine')
        for patch in (contextlib.nullcontext(), self.without_unnamed_files()):
            with patch, self.assertRaises(exceptions.TargetExists):
                self.write_files({0: 'a', 1: 'b'})
            self.assertEqual({'b': b'mine'}, self.contents())

    def test_a_name_that_is_taken_meanwhile(self):
        really_publish = publish._publish

        def late(descriptor, partial, target, overwrite):
            if target.endswith('b'):
                raise exceptions.TargetExists(target)
            really_publish(descriptor, partial, target, overwrite)

        with (mock.patch.object(publish, '_publish', late),
              self.assertRaises(exceptions.TargetExists)):
            self.write_files({0: 'a', 1: 'b'})
        self.assertFalse(self.directory.exists())

    def test_overwrite(self):
        self.directory.mkdir()
        (self.directory / 'b').write_bytes(b'mine')
        (self.directory / 'a.part').write_bytes(b'left behind')
        (self.directory / 'b').chmod(0o600)
        self.write_files({0: 'a', 1: 'b'}, overwrite=True)
        self.assertEqual({'a': b'0', 'b': b'1'}, self.contents())
        self.assertEqual(0o600, (self.directory / 'b').stat().st_mode & 0o777)

    def test_what_cannot_be_replaced(self):
        self.directory.mkdir()
        (self.directory / 'a').mkdir()
        with self.assertRaises(exceptions.UnwritableTarget):
            self.write_files({0: 'a'}, overwrite=True)

    def test_no_directory(self):
        self.directory.write_bytes(b'a file')
        with self.assertRaises(exceptions.UnwritableTarget):
            self.write_files({})
        self.directory = self.scratch / 'no' / 'disks'
        with self.assertRaises(exceptions.UnwritableTarget):
            self.write_files({})

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
import io
import os
import pathlib
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert import publish
from glance_xs_convert import unfinished

from tests.unit import files


class Opened(files.FilesCase):

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


class NewFile(files.FilesCase):

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

    def test_need_not_be_durable(self):
        with mock.patch('os.fsync', autospec=True) as fsync:
            self.write(b'new', durable=False)
        fsync.assert_not_called()
        self.assert_only(b'new')


class Archive(files.FilesCase):
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


class NewFiles(files.FilesCase):
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
        really_publish = unfinished.UnfinishedFile.publish

        def late(file, target, overwrite):
            if target.endswith('b'):
                raise exceptions.TargetExists(target)
            really_publish(file, target, overwrite)

        with (mock.patch.object(unfinished.UnfinishedFile, 'publish', late),
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

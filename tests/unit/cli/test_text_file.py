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
"""Files of text are complete, or as they were."""

import os
import pathlib
import tempfile
import threading
import unittest

from glance_xs_convert.cli import text_file
from glance_xs_convert import exceptions


class TextFile(unittest.TestCase):
    """A file is complete, or as it was."""

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name)
        self.path = self.directory / 'file'

    def write(self, text='new', path=None, overwrite=True):
        with text_file.new(str(path or self.path), overwrite) as target:
            target.write(text)
            self.before = (self.path.read_text() if self.path.exists()
                           else None)

    def test_new_file(self):
        mask = os.umask(0o027)
        try:
            self.write('ü')
        finally:
            os.umask(mask)
        self.assertIsNone(self.before)
        self.assertEqual('ü', self.path.read_text(encoding='utf-8'))
        self.assertEqual(0o640, self.path.stat().st_mode & 0o777)

    def test_file_that_exists(self):
        self.path.write_text('old')
        self.path.chmod(0o604)
        self.write()
        self.assertEqual(('old', 'new'), (self.before, self.path.read_text()))
        self.assertEqual(0o604, self.path.stat().st_mode & 0o777)

    def test_file_that_must_not_be_replaced(self):
        self.path.write_text('old')
        with self.assertRaisesRegex(exceptions.TargetExists, '--force'):
            self.write(overwrite=False)
        self.assertEqual('old', self.path.read_text())
        self.assertEqual(['file'], os.listdir(self.directory))

    def test_file_that_appears_meanwhile(self):
        with (self.assertRaises(exceptions.TargetExists),
              text_file.new(str(self.path), False) as target):
            target.write('new')
            self.path.write_text('other')
        self.assertEqual('other', self.path.read_text())
        self.assertEqual(['file'], os.listdir(self.directory))

    def test_link(self):
        link = self.directory / 'link'
        link.symlink_to(self.path)
        self.write(path=link)
        self.assertTrue(link.is_symlink())
        self.assertEqual('new', self.path.read_text())

    def test_pipe(self):
        os.mkfifo(self.path)
        found = []
        reader = threading.Thread(target=lambda: found.append(
            self.path.read_text()))
        reader.start()
        with text_file.new(str(self.path), False) as target:
            target.write('new')
        reader.join()
        self.assertEqual(['new'], found)

    def test_error_meanwhile(self):
        self.path.write_text('old')
        with (self.assertRaises(ZeroDivisionError),
              text_file.new(str(self.path), True) as target):
            target.write('new')
            raise ZeroDivisionError
        self.assertEqual('old', self.path.read_text())
        self.assertEqual(['file'], os.listdir(self.directory))

    def test_what_cannot_be_written(self):
        for path in (self.directory, self.directory / 'no' / 'x'):
            with self.assertRaisesRegex(exceptions.UnwritableTarget,
                                        'cannot be (created|written)'):
                self.write(path=path)

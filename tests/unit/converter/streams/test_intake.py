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


"""How the archive comes in: counted, hashed, and never waited for too long."""

import contextlib
import hashlib
import io
import os
import random
import tempfile
import threading
import unittest

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.streams import intake

DATA = random.Random('intake').randbytes(300_000)


class Trickle(io.RawIOBase):
    """Gives few bytes a time, and none at all now and then."""

    def __init__(self, data, step, idle):
        super().__init__()
        self._data = io.BytesIO(data)
        self._step = step
        self._idle = idle
        self._calls = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self._calls += 1
        if self._idle and self._calls % self._idle == 0:
            return None
        return self._data.readinto(memoryview(buffer)[:self._step])


class Intake(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.progress = conversion_progress.Progress()

    @contextlib.contextmanager
    def opened(self, file, **options):
        with intake.opened(file, self.progress, **options) as source:
            yield source

    @contextlib.contextmanager
    def pipe(self, data=b''):
        """A file to read from, and the descriptor of its other end."""
        reading, writing = os.pipe()
        with (open(reading, 'rb', buffering=0) as file,
              open(writing, 'wb', buffering=0)):
            os.write(writing, data)
            yield file, writing

    def test_counts_and_hashes(self):
        with self.opened(io.BytesIO(DATA), hashed=True) as source:
            self.assertEqual(len(DATA), self.progress.source_size)
            self.assertEqual(DATA, source.read())
            self.assertEqual(len(DATA), source.size_read)
            self.assertEqual(len(DATA), self.progress.source_read)
            self.assertEqual(hashlib.sha256(DATA).hexdigest(),
                             source.sha256())

    def test_begins_where_the_file_is(self):
        file = io.BytesIO(b'before' + DATA)
        file.seek(len(b'before'))
        with self.opened(file) as source:
            self.assertEqual(len(DATA), self.progress.source_size)
            self.assertEqual(DATA, source.read())
            self.assertEqual('', source.sha256())

    def test_begins_again(self):
        with self.opened(io.BytesIO(DATA), hashed=True) as source:
            source.read(100_000)
            source.seek(0)
            self.assertEqual(DATA, source.read())
            self.assertEqual(len(DATA), source.size_read)
            self.assertEqual(hashlib.sha256(DATA).hexdigest(),
                             source.sha256())

    def test_peek_sees_a_sector(self):
        with self.opened(Trickle(DATA, 1, 0)) as source:
            self.assertIsNone(self.progress.source_size)
            self.assertEqual(DATA[:512], source.peek(512)[:512])

    def test_no_data_yet_is_not_the_end(self):
        with self.opened(Trickle(DATA, 700, 3)) as source:
            self.assertEqual(DATA, source.read())

    def test_pipe_that_does_not_block(self):
        with self.pipe(DATA[:1000]) as (file, writing):
            os.set_blocking(file.fileno(), False)
            with self.opened(file) as source:
                self.assertEqual(DATA[:1000], source.read1(1000))
                later = threading.Timer(0.2, os.write, (
                    writing, DATA[1000:3000]))
                later.start()
                self.addCleanup(later.join)
                self.assertEqual(DATA[1000:3000], source.read(2000))

    def test_interrupted_read_of_a_pipe(self):
        with self.pipe(DATA[:1000]) as (file, _), self.opened(file) as source:
            later = threading.Timer(0.2, source.interrupt)
            later.start()
            self.addCleanup(later.join)
            with self.assertRaises(intake.Interrupted):
                source.read()

    def test_digest_ends_with_the_source(self):
        before = {*threading.enumerate()}
        with (contextlib.suppress(ZeroDivisionError),
              self.opened(io.BytesIO(DATA), hashed=True) as source):
            source.read()
            self.assertEqual(1, len({*threading.enumerate()} - before))
            raise ZeroDivisionError
        self.assertEqual(set(), {*threading.enumerate()} - before)


class Holes(unittest.TestCase):
    """What a file has not stored is not read."""

    def read(self, extents, size, buffered):
        """Write a file, and return what is read from it, and from its hash."""
        with tempfile.TemporaryFile(buffering=-1 if buffered else 0) as file:
            for offset, data in extents:
                file.seek(offset)
                file.write(data)
            file.truncate(size)
            file.seek(0)
            whole = file.read()
            file.seek(0)
            seen = conversion_progress.Progress()
            with intake.opened(file, seen, True) as source:
                chunks = [source.peek(512) and source.read_sparse(1000)]
                while chunk := source.read_sparse(len(forward.ZEROS)):
                    chunks.append(chunk)
                self.assertEqual(whole, b''.join(chunks))
                self.assertEqual(size, seen.source_read)
                self.assertEqual(hashlib.sha256(whole).hexdigest(),
                                 source.sha256())
        return [chunk is forward.ZEROS for chunk in chunks].count(True)

    def test_skipped_and_counted(self):
        chunk = len(forward.ZEROS)
        for buffered in (False, True):
            self.assertLess(6, self.read(
                [(0, DATA), (9 * chunk + 5, b'x' * 5000)], 12 * chunk + 77,
                buffered))

    def test_files_without_holes(self):
        self.assertEqual(0, self.read([(0, DATA * 20)], 20 * len(DATA), True))

    def test_sources_that_are_no_files(self):
        with intake.opened(
                io.BytesIO(DATA), conversion_progress.Progress()) as source:
            self.assertEqual(DATA, source.read_sparse(len(forward.ZEROS)))

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


"""Reading ahead: what comes, what is raised, and how it ends."""

import io
import random
import threading
import unittest

from glance_xs_convert.converter.streams import read_ahead

from tests.unit import cases

DATA = random.Random('ahead').randbytes(100_000)


class ReadAhead(unittest.TestCase):

    def setUp(self):
        super().setUp()
        before = {*threading.enumerate()}
        self.addCleanup(lambda: self.assertEqual(
            set(), {*threading.enumerate()} - before))

    def test_all_chunks_come(self):
        with read_ahead.ReadAhead(
                io.BytesIO(DATA).read, chunk_size=777) as chunks:
            self.assertEqual(DATA, b''.join(chunks))

    def test_empty(self):
        with read_ahead.ReadAhead(io.BytesIO().read) as chunks:
            self.assertEqual([], list(chunks))

    def test_no_more_than_allowed_is_read_ahead(self):
        asked = []
        full = threading.Event()

        def read(size):
            asked.append(size)
            # One chunk waits to be taken, two wait behind it.
            if len(asked) == 3:
                full.set()
            return b'x' * size

        with read_ahead.ReadAhead(read, chunk_size=10, chunks=2) as chunks:
            self.assertTrue(full.wait(cases.PATIENCE))
            self.assertFalse(threading.Event().wait(0.1))
            self.assertEqual([10] * 3, asked)
            self.assertEqual(b'x' * 10, next(chunks))

    def test_errors_come_after_what_was_read(self):
        answers = iter([b'first', ZeroDivisionError()])

        def read(size):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        with read_ahead.ReadAhead(read) as chunks:
            self.assertEqual(b'first', next(chunks))
            with self.assertRaises(ZeroDivisionError):
                next(chunks)

    def test_leaving_early(self):
        with read_ahead.ReadAhead(lambda size: b'x' * size) as chunks:
            next(chunks)

    def test_leaving_interrupts_a_read(self):
        interrupted = threading.Event()

        def read(size):
            interrupted.wait()
            return b''

        with read_ahead.ReadAhead(read, interrupted.set):
            pass
        self.assertTrue(interrupted.is_set())

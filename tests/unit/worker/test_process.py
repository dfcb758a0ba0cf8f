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

"""Starting, hearing and ending a process, whatever it does.

The processes are small shell scripts, which get the converter's arguments.
"""

import os
import signal
import time
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert.worker import process
from glance_xs_convert.worker import protocol

from tests import processes
from tests.unit.worker import base

JOB = protocol.Job(protocol.PROBE, protocol.Request(image_limits.DEFAULT))


class ProcessCase(base.WorkerCase):
    """Starts scripts, of which nothing may be left."""

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.assertEqual([], base.children()))

    def start(self, text, job=JOB):
        child = process.Child(str(self.program(text)), job)
        self.addCleanup(child.__exit__)
        return child

    def lines(self, child):
        return [line for lines in child.lines() for line in lines]


class Hearing(ProcessCase):

    def test_lines(self):
        """They may come in pieces, and more than one at once."""
        child = self.start(r'''
            printf 'one\ntw'; sleep 0.1; printf 'o\n\nthree\n'
            printf 'the rest'
        ''')
        self.assertEqual([b'one', b'two', b'', b'three'], self.lines(child))
        self.assertEqual(0, child.wait())

    def test_nothing_is_heard_for_a_while(self):
        """The caller can look at the clock meanwhile."""
        heard = []
        go_on = self.scratch / 'go on'
        with mock.patch.object(process, '_TICK', 0.05):
            child = self.start(f"""
                while ! [ -e "{go_on}" ]; do sleep 0.05; done
                echo late
            """)
            for lines in child.lines():
                heard.append(lines)
                if not lines:
                    go_on.touch()
        self.assertIn([], heard)
        self.assertIn([b'late'], heard)

    def test_job(self):
        child = self.start('head -n 1')
        line, = self.lines(child)
        self.assertEqual(JOB, protocol.decode_job(line))

    def test_descriptors(self):
        """The child gets those of the job, under their own numbers."""
        self.source.write_bytes(b'archive')
        with self.source.open() as source, self.target.open('w') as target:
            child = self.start('''
                set -- $(head -n 1 | tr -c '0-9\\n' ' ' )
                for number in "$@"; do
                    readlink "/proc/$$/fd/$number"
                done
            ''', protocol.Job(
                protocol.CONVERT, protocol.Request(
                    image_limits.Limits(*[0] * 4), sandbox=protocol.OFF),
                source.fileno(), (target.fileno(),)))
            found = self.lines(child)
        self.assertIn(os.fsencode(self.source), found)
        self.assertIn(os.fsencode(self.target), found)

    def test_child_that_does_not_read(self):
        """That is no reason to fail before its words were heard."""
        child = self.start('exec <&-; sleep 0.1; echo no; exit 3')
        self.assertEqual([b'no'], self.lines(child))
        self.assertEqual(3, child.wait())

    def test_many_lines(self):
        child = self.start('yes | head -n 1000000')
        self.assertRaises(process.Flood, self.lines, child)

    def test_line_without_end(self):
        child = self.start('head -c 9000000 /dev/zero | tr "\\0" x')
        with mock.patch.object(process, '_BURST', 1 << 30):
            self.assertRaises(process.Flood, self.lines, child)

    def test_errors_without_end(self):
        self.lose_patience()
        child = self.start('yes | head -c 9000000 >&2; echo')
        self.assertRaises(process.Flood, self.lines, child)


class Ending(ProcessCase):

    def test_cannot_be_started(self):
        for python in ('/no/such/python', '/'):
            with self.assertRaisesRegex(exceptions.ConverterStopped, python):
                process.Child(python, JOB)

    def test_status(self):
        self.assertEqual(7, self.start('exit 7').wait())
        self.assertEqual(-signal.SIGKILL, self.start('kill -9 $$').wait())

    def test_does_not_end_by_itself(self):
        self.lose_patience()
        child = self.start('exec sleep 60')
        self.assertIsNone(child.wait())
        self.assertEqual(-signal.SIGKILL, child.end())

    def test_has_time_to_clean_up(self):
        """The end of its standard input tells it to end."""
        child = self.start('read job; read more; exit 5')
        self.assertEqual(5, child.end())

    def test_what_it_started(self):
        self.lose_patience()
        seconds = processes.unmistakable()
        child = self.start(f'sleep {seconds} & echo; exec sleep {seconds}')
        next(child.lines())
        child.end()
        deadline = time.monotonic() + base.PATIENCE
        while processes.running(seconds):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_last_words(self):
        child = self.start(r'''
            seq 1 5000 >&2
            printf '\n\nall is \033[31mlost\r\n\377' >&2
        ''')
        child.wait()
        words = child.last_words()
        self.assertTrue(words.isprintable())
        self.assertRegex(words, r'5000 \| all is \\x1b\[31mlost.*xff$')
        self.assertLess(len(words), 16 << 10)

    def test_no_last_words(self):
        child = self.start('exit 0')
        child.wait()
        self.assertEqual('', child.last_words())

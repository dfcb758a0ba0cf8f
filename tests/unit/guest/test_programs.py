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

"""Running programs under a warden, and hearing what they say."""

import sys
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.guest import programs

from tests import processes
from tests.unit import cases


class Enough(Exception):
    """The caller does not want to wait any longer."""


class Tool(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        # Wardens remove the directory that they are given.
        self.place = self.scratch / 'place'
        self.place.mkdir()

    def start(self, script, python=sys.executable, environment=None):
        return programs.Tool(
            python, ['/bin/sh', '-c', script],
            environment=environment or {'PATH': '/usr/bin:/bin'},
            scratch=str(self.place), memory=512, disk_size=1 << 20)

    def run_tool(self, script, check=lambda tool: None, **options):
        """Run a script, and keep what it says."""
        self.output, self.messages = b'', []

        def take(data):
            self.output += data

        with self.start(script, **options) as tool:
            self.status = tool.run(check, take, self.messages.append)
        return tool

    def test_what_it_says(self):
        self.run_tool(r'''
            printf 'an\0 output\n'
            printf 'one\ntw' >&2; sleep 0.1; printf 'o\n\nlast' >&2
            exit 3
        ''')
        self.assertEqual((3, b'an\0 output\n', ['one', 'two', '', 'last']),
                         (self.status, self.output, self.messages))

    def test_words_are_fit_to_be_shown(self):
        self.run_tool(r"printf 'a\033[2J\rb\377\n' >&2")
        [words] = self.messages
        self.assertTrue(words.isprintable())
        self.assertRegex(words, 'a.*2J.*b.*ff')

    def test_long_lines(self):
        self.run_tool('head -c 100000 /dev/zero | tr "\\0" x >&2; echo >&2; '
                      'echo next >&2')
        first, second = self.messages
        self.assertEqual('next', second)
        self.assertLess(len(first), 9000)

    def test_traces(self):
        """They are not for people, and tell when the appliance is there."""
        trace = 'libguestfs: trace: '
        tool = self.run_tool(f'echo "{trace}launch" >&2; echo word >&2')
        self.assertEqual((['word'], False),
                         (self.messages, tool.has_started))
        for line, has_started in (('launch = 0', True), ('launch = -1', False),
                                  ('add_drive = 0', False)):
            tool = self.run_tool(f'echo "{trace}{line}" >&2')
            self.assertEqual(([], has_started),
                             (self.messages, tool.has_started))

    def test_too_many_words(self):
        for stream in (1, 2):
            word = processes.unmistakable()
            with (mock.patch.object(programs, 'MOST_SAID', 1 << 16),
                  self.assertRaisesRegex(exceptions.AdaptingFailed,
                                         'sh wrote more than 64 KiB')):
                self.run_tool(f'yes {word} | head -c 9000000 >&{stream}')
            self.assertEqual([], processes.running(word))

    def test_check_ends_it(self):
        def check(tool):
            raise Enough

        seconds = processes.unmistakable()
        self.assertRaises(Enough, self.run_tool, f'exec sleep {seconds}',
                          check)
        self.assertEqual([], processes.running(seconds))

    def test_check_is_called_while_it_is_silent(self):
        seen = []

        def check(tool):
            seen.append(tool)
            if len(seen) == 2:
                raise Enough

        self.assertRaises(Enough, self.run_tool, 'exec sleep 600', check)

    def test_left_before_it_ran(self):
        seconds = processes.unmistakable()
        with self.start(f'sleep {seconds} & exec sleep {seconds}'):
            pass
        self.assertEqual([], processes.running(seconds))

    def test_environment(self):
        """It gets what it is given, and nothing of this process."""
        with mock.patch.dict('os.environ', OS_PASSWORD='secret'):
            self.run_tool('exec env', environment={
                'PATH': '/usr/bin:/bin', 'GIVEN': 'yes'})
        self.assertIn(b'GIVEN=yes\n', self.output)
        self.assertNotIn(b'secret', self.output)

    def test_directory(self):
        self.run_tool('pwd')
        self.assertEqual(f'{self.place}\n'.encode(), self.output)

    def test_no_interpreter(self):
        for python in ('/no/such/python', '/'):
            with self.assertRaisesRegex(exceptions.ToolMissing, python):
                self.start('true', python=python)

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

"""What the tests of the command line have in common."""

import contextlib
import dataclasses
import fcntl
import io
import json
import logging
import os
import pty
import struct
import subprocess
import sys
import termios

from glance_xs_convert.cli import main

from tests.unit import cases

#: Rows, columns, and both in pixels.
WINDOW = (24, 100, 0, 0)

COMMAND = (sys.executable, '-m', 'glance_xs_convert.cli.main')


@dataclasses.dataclass(frozen=True)
class Ended:
    """What is left of a command: its exit status, and what it said."""

    status: int
    stdout: str
    stderr: str

    def json(self):
        return json.loads(self.stdout)


class CommandCase(cases.ConvertCase):
    """Runs the command, in this process or in one of its own."""

    def setUp(self):
        super().setUp()
        cases.heed_signals(self)
        root = logging.getLogger()
        self.addCleanup(root.setLevel, root.level)

    def run_here(self, *arguments):
        """Run the command in this process."""
        handlers = logging.root.handlers[:]
        stdout, stderr = io.StringIO(), io.StringIO()
        try:
            with (contextlib.redirect_stdout(stdout),
                  contextlib.redirect_stderr(stderr)):
                status = main.main([str(text) for text in arguments])
        finally:
            logging.root.handlers[:] = handlers
        return Ended(status, stdout.getvalue(), stderr.getvalue())

    def start(self, *arguments, environment=None, command=COMMAND,
              **options):
        """Start the command in a process of its own, all pipes open."""
        return subprocess.Popen(
            [*command, *map(os.fspath, arguments)],
            env=os.environ | (environment or {}), cwd=cases.ROOT,
            **{'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE,
               'stderr': subprocess.PIPE} | options)

    def run_apart(self, *arguments, stdin=b'', **options):
        """Run the command in a process of its own.

        ``stdin`` is a file, or the bytes to be read from a pipe.
        """
        data = stdin if isinstance(stdin, bytes) else None
        if data is None:
            options['stdin'] = stdin
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate(data, cases.PATIENCE)
        return Ended(process.returncode, (stdout or b'').decode(),
                     (stderr or b'').decode())

    def run_on_terminal(self, *arguments, environment=None, stdin=None,
                        heard=lambda said: None):
        """Run the command on a terminal; all that it says is stdout.

        ``heard`` is called with all that has been said so far.
        """
        leader, follower = pty.openpty()
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack('4H', *WINDOW))
        with self.start(*arguments, stdin=stdin or follower, stdout=follower,
                        stderr=follower, environment={
                            'TERM': 'xterm', 'NO_COLOR': '',
                            **(environment or {})}) as process:
            os.close(follower)
            said = b''
            with contextlib.suppress(OSError):
                while data := os.read(leader, 65536):
                    said += data
                    heard(said)
            os.close(leader)
            process.wait(cases.PATIENCE)
        return Ended(process.returncode, said.decode(), '')

    def assert_fails(self, ended, message, status=1):
        """Check for one line on standard error, and nothing else."""
        self.assertEqual('', ended.stdout)
        self.assertRegex(ended.stderr, r'\A[^\n]+\n\Z')
        self.assertIn(message, ended.stderr)
        self.assertEqual(status, ended.status)

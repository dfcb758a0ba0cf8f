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

"""Conversions that begin but do not go on.

The plugin starts its converters with the interpreter that Glance's option
``[wsgi] python_interpreter`` names. Here this is a script that stops itself
before it becomes Python, if it is told to. However busy the machine is, no
conversion is over before somebody could stop it.
"""

from collections import abc
import contextlib
import os
import pathlib
import signal
import sys
import time

from testbed.clouds import services

#: How long stopped processes may take to go on, in seconds.
_SECONDS = 120


class Hold:
    """Lets processes stop at their start.

    :param directory: directory of its files
    :ivar interpreter: what to start the processes with
    """

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir()
        self.interpreter = directory / 'python'
        self._flag = directory / 'hold'
        self.interpreter.write_text(
            f'#!/bin/sh\n[ -e {self._flag} ] && kill -STOP $$\n'
            f'exec {sys.executable} "$@"\n')
        self.interpreter.chmod(0o755)

    @contextlib.contextmanager
    def whoever_starts(self) -> abc.Iterator[None]:
        """Hold the processes that start before this is left."""
        self._flag.touch()
        try:
            yield
        finally:
            self._flag.unlink()

    def held(self) -> list[int]:
        """Return the IDs of the processes that are held."""
        return [pid for pid in self._at_their_start()
                if services.state(pid) == 'T']

    def release(self) -> None:
        """Let all go on, also those that are about to stop."""
        deadline = time.monotonic() + _SECONDS
        while pids := self._at_their_start():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            if time.monotonic() > deadline:
                raise TimeoutError(f'the processes {pids} do not go on')
            time.sleep(0.01)

    def _at_their_start(self) -> list[int]:
        """Return the processes that still run the script."""
        return [pid for pid in services.processes()
                if services.command_line(pid)[1:2] == [str(self.interpreter)]]

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
"""Running a tool under a warden, and reading what it says."""

from collections.abc import Callable
import contextlib
import json
import os
import selectors
import subprocess  # nosec B404
import sys
import time
from typing import IO

from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

_WARDEN = 'glance_xs_convert.guest.warden'

#: The byte by which a living parent tells the warden to end the tool.
_END = b'.'
#: How often the caller's function is called, in seconds.
_TICK = 0.5
#: How long a warden may take to end everything, in seconds.
_GRACE = 60.0
_PIPE_SIZE = 64 * 1024
#: The longest line that is kept, in bytes; longer ones are cut.
_LONGEST_LINE = 8 * 1024
#: The most that a tool may write to each stream, in bytes.
MOST_SAID = 256 * units.MIB

#: Where the tools tell that the appliance has started.
_TRACE = 'libguestfs: trace: '
_STARTED = 'launch = 0'

#: The address space that a tool may use beyond the appliance's memory, which
#: virt-v2v multiplies: QEMU takes some gigabytes for translated code and
#: threads.
_ADDRESS_SPACE = 8 * units.GIB
_MOST_MEMORY = 3
#: The size of the largest file, whatever the disk is: libguestfs' own.
_LARGEST_FILE = 8 * units.GIB

Heard = Callable[[str], None]


class Tool:
    """A running tool.

    Use it as a context manager; leaving it ends the tool and all that it has
    started.

    :param python: interpreter for the warden
    :param command: path of the tool, and its arguments
    :param environment: its environment
    :param scratch: directory in which it runs
    :param memory: memory of the appliance, in MiB
    :param disk_size: size of the guest's disk, in bytes
    :ivar has_started: whether the appliance has started
    """

    def __init__(self, python: str, command: list[str], *,
                 environment: dict[str, str], scratch: str, memory: int,
                 disk_size: int) -> None:
        self._name = os.path.basename(command[0])
        self._begun = time.monotonic()
        self.has_started = False
        job = {
            'command': command, 'environment': environment,
            'scratch': scratch,
            'limits': {
                'RLIMIT_CORE': 0,
                'RLIMIT_AS': (_MOST_MEMORY * memory * units.MIB
                              + _ADDRESS_SPACE),
                'RLIMIT_FSIZE': max(disk_size + disk_size // 16,
                                    _LARGEST_FILE),
            }}
        try:
            self._process = subprocess.Popen(  # nosec B603
                [python, '-m', _WARDEN], bufsize=0, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd='/',
                start_new_session=True, env={
                    'LC_ALL': 'C.UTF-8',
                    'PATH': os.defpath,
                    'PYTHONPATH': os.pathsep.join(
                        one for one in sys.path if os.path.isabs(one)),
                })
        except OSError as error:
            raise exceptions.ToolMissing(
                f'{self._name} cannot be run with {python}: '
                f'{error.strerror}') from error
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(
                json.dumps(job).encode() + b'\n')

    def __enter__(self) -> 'Tool':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def run(self, check: Callable[['Tool'], None],
            on_output: Callable[[bytes], None], on_message: Heard) -> int:
        """Wait until the tool ends.

        :param check: called twice a second; an error that it raises ends the
                      tool
        :param on_output: called with what it writes to standard output
        :param on_message: called with each line on standard error that is
                           not a trace
        :returns: its exit status
        :raises AdaptingFailed: it says too much
        """
        errors = _Lines(self._take, on_message)
        said: dict[int, int] = {}
        told = 0.0
        with selectors.DefaultSelector() as selector:
            for pipe, take in ((self._process.stdout, on_output),
                               (self._process.stderr, errors.add)):
                selector.register(_pipe(pipe), selectors.EVENT_READ, take)
            while selector.get_map():
                for key, _ in selector.select(_TICK):
                    data = os.read(key.fd, _PIPE_SIZE)
                    if not data:
                        selector.unregister(key.fileobj)
                        continue
                    said[key.fd] = said.get(key.fd, 0) + len(data)
                    if said[key.fd] > MOST_SAID:
                        raise exceptions.AdaptingFailed(
                            f'{self._name} wrote more than '
                            f'{text.size(MOST_SAID)} of messages')
                    key.data(data)
                now = time.monotonic()
                if now - told >= _TICK:
                    told = now
                    check(self)
        errors.end()
        return self._process.wait(_GRACE)

    def check_start(self, patience: float) -> None:
        """Check that the appliance starts in time.

        :param patience: time for that, in seconds
        :raises ApplianceFailed: it has not started in that time
        """
        if not self.has_started and (
                time.monotonic() - self._begun > patience):
            raise exceptions.ApplianceFailed(
                "libguestfs' virtual machine has not started within "
                f'{patience} seconds')

    def _take(self, line: str) -> bool:
        """Whether a line on standard error is a trace."""
        if not line.startswith(_TRACE):
            return False
        if line.endswith(_STARTED):
            self.has_started = True
        return True

    def _end(self) -> None:
        """Tell the warden to end the tool, and wait for it."""
        stdin = _pipe(self._process.stdin)
        with contextlib.suppress(OSError):
            stdin.write(_END)
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Lines:
    """Cuts a stream into lines for people, of bounded length."""

    def __init__(self, is_trace: Callable[[str], bool], heard: Heard) -> None:
        self._is_trace = is_trace
        self._heard = heard
        self._rest = b''

    def add(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b'\n')
        self._rest = rest[:_LONGEST_LINE]
        for line in lines:
            self._tell(line)

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest)

    def _tell(self, line: bytes) -> None:
        words = line[:_LONGEST_LINE].decode(errors='backslashreplace')
        if not self._is_trace(words):
            self._heard(text.printable(words, _LONGEST_LINE))


def _pipe(pipe: 'IO[bytes] | None') -> 'IO[bytes]':
    if pipe is None:  # Popen has been asked for it.
        raise exceptions.ToolMissing('a tool cannot be run without pipes')
    return pipe

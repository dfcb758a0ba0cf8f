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

"""A converter's process, as its parent starts, hears and ends it."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import fcntl
import os
import selectors
import signal
import subprocess  # nosec B404
import sys
import time
from typing import IO

from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units
from glance_xs_convert.worker import priority
from glance_xs_convert.worker import protocol

_CHILD = 'glance_xs_convert.worker.child'

#: How long the parent waits for messages before it checks the time, in
#: seconds.
_TICK = 2 * protocol.REPORT_INTERVAL
#: How long a child may take to end when it has done its job, and to be gone
#: when it was killed, in seconds; it comes last where processors are few.
_ENDING = 60.0
_DYING = 10.0
_PIPE_SIZE = 64 * 1024
#: How much of the child's standard error is kept, in bytes, and how much it
#: may write there.
_STDERR_KEPT = 4096
_STDERR_MAX = units.MIB
#: How often the child may wake its parent up, at once and per second: ten
#: times as often as a healthy one does.
_BURST = 100
_RATE = 20 / protocol.REPORT_INTERVAL


class Flood(Exception):
    """The child writes more than a healthy one would."""


class Child:
    """A converter's process.

    Use it as a context manager; leaving it ends the process.

    :param python: interpreter that runs it
    :param job: job with the parent's descriptors
    :raises ConverterStopped: the process cannot be started
    """

    def __init__(self, python: str, job: protocol.Job) -> None:
        self._started = time.monotonic()
        self._heard = 0
        self._errors = bytearray()
        self._errors_size = 0
        with contextlib.ExitStack() as stack:
            source = None if job.source is None else stack.enter_context(
                _duplicate(job.source))
            targets = tuple(stack.enter_context(_duplicate(target))
                            for target in job.targets)
            self._process = _start(
                python, [one for one in (source, *targets) if one is not None])
        # Already the start takes processor time.
        priority.step_back(self._process.pid, job.request.niceness)
        self._stdin, self._stdout, self._stderr = map(_pipe, (
            self._process.stdin, self._process.stdout, self._process.stderr))
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(protocol.encode_job(protocol.Job(
                job.operation, job.request, source, targets)))

    def __enter__(self) -> 'Child':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._stderr.close()

    def lines(self) -> Iterator[list[bytes]]:
        """Yield the child's lines until it closes its output.

        An empty list comes at least once a second, so that the caller can
        check the time.

        :raises Flood: the child writes too much, or too often
        """
        rest = b''
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(_TICK)]
                if self._stderr in ready and not self._keep_errors():
                    selector.unregister(self._stderr)
                lines: list[bytes] = []
                if self._stdout in ready:
                    data = os.read(self._stdout.fileno(), _PIPE_SIZE)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b'\n')
                self._count(len(ready) + len(lines), len(rest))
                yield lines

    def wait(self) -> int | None:
        """Wait until the child has ended of its own accord.

        Everything that it has started has ended, too.

        :returns: its exit status, or None if it does not end
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_ENDING)
        return None

    def end(self) -> int | None:
        """End the child and its process group, unless they have ended.

        :returns: its exit status, or None if it does not end
        """
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(protocol.GRACE)
        # Until the child is waited for, nobody else can have the number.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DYING)
        return None

    def last_words(self) -> str:
        """Return the end of the ended child's standard error, in one line.

        It may be a stranger's words, who could make up lines of a log.
        """
        with (contextlib.suppress(Flood),
              selectors.DefaultSelector() as selector):
            selector.register(self._stderr, selectors.EVENT_READ)
            while selector.select(0) and self._keep_errors():
                pass
        words = self._errors.decode(errors='backslashreplace')
        return ' | '.join(text.printable(line, _STDERR_KEPT)
                          for line in words.splitlines() if line)

    def _keep_errors(self) -> bool:
        """Read from standard error; return False at its end."""
        data = os.read(self._stderr.fileno(), _PIPE_SIZE)
        self._errors += data
        del self._errors[:-_STDERR_KEPT]
        self._errors_size += len(data)
        if self._errors_size > _STDERR_MAX:
            raise Flood
        return bool(data)

    def _count(self, events: int, unfinished: int) -> None:
        """Count the child's events.

        :param unfinished: bytes of the last line, if it is incomplete
        """
        self._heard += events
        elapsed = time.monotonic() - self._started
        if (self._heard > _BURST + _RATE * elapsed
                or unfinished > protocol.MAX_RESULT):
            raise Flood


def _start(python: str, descriptors: Sequence[int],
           ) -> 'subprocess.Popen[bytes]':
    environment = {
        'LC_ALL': 'C.UTF-8',
        # Otherwise each thread reserves gigabytes of address space.
        'MALLOC_ARENA_MAX': '1',
        'PATH': os.defpath,
        'PYTHONPATH': os.pathsep.join(_path()),
    }
    try:
        return subprocess.Popen(  # nosec B603
            [python, '-Sm', _CHILD], bufsize=0, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=descriptors, env=environment, cwd='/',
            start_new_session=True)
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'the converter cannot be run with {python}: {error.strerror}'
        ) from error


def _path() -> list[str]:
    """Return where the child looks for modules.

    It does not run what site-packages may run at the start, which takes time,
    and tells where a package is that was installed to be edited.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    return [path for path in (*sys.path, package) if os.path.isabs(path)]


@contextlib.contextmanager
def _duplicate(descriptor: int) -> Iterator[int]:
    """Duplicate a descriptor, with a number above the standard streams'."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        yield copy
    finally:
        os.close(copy)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:  # Popen has been asked for it.
        raise exceptions.ConverterStopped(
            'the converter cannot be run without pipes')
    return pipe

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

"""The converter in a process of its own.

The parent writes one line of JSON to the child's standard input, the
request, and keeps that pipe open: when it is closed, because the parent has
had enough or is gone, the child cleans up and ends. The child writes lines of
JSON to its standard output: progress, and at last the result or the error.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import ctypes
import dataclasses
import json
import logging
import os
import resource
import selectors
import shutil
import signal
import subprocess  # nosec B404
import sys
import tempfile
import threading
import time
from typing import Any
from typing import BinaryIO
from typing import TypeVar

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import limits as limits_
from glance_xs_convert import progress as progress_

_T = TypeVar('_T')

LOG = logging.getLogger(__name__)

_MODULE = 'glance_xs_convert.worker.child'

#: The file descriptors are used bare: a thread that is in a buffered file at
#: the end of the process makes Python abort.
_STDIN = 0
_STDOUT = 1

#: How often the child reports, in seconds.
REPORT_INTERVAL = 0.5
#: How long it may take to clean up, once it was told to end.
_GRACE = 5.0
#: How much the child stands back: it still gets what others leave.
_NICENESS = 10
#: What the parent keeps of the child's standard error.
_STDERR_KEPT = 4096
#: The longest line that the child writes.
_MAX_LINE = 1024 ** 2

#: Flags of Linux's unshare(2).
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


@dataclasses.dataclass(frozen=True)
class Request:
    """What the child is to do, and what it may use for it.

    :ivar source: the path of the archive
    :ivar target: the path of the raw disk
    :ivar bare: whether the source is a VHD in no archive
    :ivar limits: of the image
    :ivar max_memory: address space in bytes
    :ivar max_cpu_time: in seconds; 0 for no limit
    """

    source: str
    target: str
    bare: bool
    limits: limits_.Limits
    max_memory: int
    max_cpu_time: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the parent learns of a conversion.

    :ivar virtual_size: of the raw disk, in bytes
    :ivar layers: how many there were
    :ivar bytes_written: to the raw disk
    :ivar source_size: of the archive, in bytes
    :ivar source_sha256: of the archive, in hexadecimal digits
    """

    virtual_size: int
    layers: int
    bytes_written: int
    source_size: int
    source_sha256: str


def interpreter(configured: str | None) -> str:
    """The Python interpreter that a child can be run with.

    :param configured: Glance's ``[wsgi] python_interpreter``; where it is
                       not set and the process is no Python interpreter, as
                       under uWSGI, the one of the environment is taken
    """
    if configured:
        return configured
    if os.path.basename(sys.executable or '').startswith('python'):
        return sys.executable
    for directory in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        for name in ('python3', 'python'):
            path = os.path.join(directory, 'bin', name)
            if os.access(path, os.X_OK):
                return path
    return shutil.which('python3') or 'python3'


def run(request: Request, python: str,
        on_progress: Callable[[progress_.Progress], None],
        progress_timeout: float) -> Outcome:
    """Convert in a child process.

    :param python: the interpreter to run, see ``interpreter``
    :param on_progress: called about twice a second, also when nothing
                        has happened; what it raises ends the child
    :param progress_timeout: seconds without progress after which the child
                             is ended
    :raises XsConvertError: the child's error, or it ended without one
    """
    with (tempfile.TemporaryFile() as errors,
          _process(python, errors) as process):
        _send(process, request)
        latest = progress_.Progress()
        changed = time.monotonic()
        for message in _messages(process.stdout):
            if 'outcome' in message:
                return _parsed(Outcome, message['outcome'])
            if 'error' in message:
                raise _parsed(_error, message['error'])
            if 'progress' in message:
                progress = _parsed(progress_.Progress, message['progress'])
                if progress != latest:
                    latest, changed = progress, time.monotonic()
            if time.monotonic() - changed > progress_timeout:
                raise exceptions.ConverterStopped(
                    'the conversion made no progress for '
                    f'{progress_timeout:.0f} seconds')
            on_progress(latest)
        raise _unexpected_end(_end_of(process), errors)


@contextlib.contextmanager
def _process(python: str, errors: BinaryIO,
             ) -> Iterator['subprocess.Popen[bytes]']:
    """A child that has ended, one way or another, on leaving."""
    environment = {
        'LC_ALL': 'C.UTF-8',
        # Else each thread reserves address space by the gigabyte.
        'MALLOC_ARENA_MAX': '1',
        'PATH': os.defpath,
        'PYTHONPATH': os.pathsep.join(
            path for path in sys.path if os.path.isabs(path)),
    }
    try:
        process = subprocess.Popen(  # nosec B603
            [python, '-m', _MODULE], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=errors, env=environment, cwd='/',
            start_new_session=True)
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'the converter cannot be run with {python}: {error.strerror}'
        ) from error
    try:
        yield process
    finally:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        _end_of(process)


def _end_of(process: 'subprocess.Popen[bytes]') -> int | None:
    """The status of a child that is to end; None if it can not be ended."""
    for _ in range(2):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_GRACE)
        process.kill()
    return None


def _send(process: 'subprocess.Popen[bytes]', request: Request) -> None:
    line = json.dumps(dataclasses.asdict(request)).encode() + b'\n'
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.write(line)
            process.stdin.flush()


def _messages(pipe: Any) -> Iterator[dict[str, Any]]:
    """What the child says; an empty message when it is silent for long."""
    buffer = b''
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(buffer) < _MAX_LINE:
            if not selector.select(2 * REPORT_INTERVAL):
                yield {}
                continue
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b'\n')
            for line in lines:
                yield _message(line)


def _message(line: bytes) -> dict[str, Any]:
    """A line as a message; an empty one if it is none."""
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _parsed(kind: Callable[..., _T], fields: Any) -> _T:
    """What a message carries.

    :raises ConverterStopped: it is nothing that the child would say
    """
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        LOG.error('The converter said %s', fields)
        raise exceptions.ConverterStopped(
            'the converter unexpectedly said what makes no sense') from error


def _error(name: str, reason: str, member: str | None, offset: int | None,
           ) -> exceptions.XsConvertError:
    kind = getattr(exceptions, name, None)
    if not (isinstance(kind, type)
            and issubclass(kind, exceptions.XsConvertError)):
        kind = exceptions.XsConvertError
    return kind(reason, member=member, offset=offset)


def _unexpected_end(status: int | None, errors: BinaryIO,
                    ) -> exceptions.ConverterStopped:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _STDERR_KEPT))
    LOG.error('The converter ended with status %s: %s', status,
              errors.read().decode(errors='replace'))
    return exceptions.ConverterStopped(
        f'the converter ended unexpectedly, with status {status}')


def main() -> int:
    """The child: read the request, convert, report."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGXCPU, _end_of_time)
    # The threads of uWSGI block signals, and their children do, too.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    request = json.loads(_read_request())
    limits = limits_.Limits(**request.pop('limits'))
    order = Request(limits=limits, **request)
    _restrict(order)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    progress = progress_.Progress()
    threading.Thread(target=_report, args=(progress,), daemon=True).start()
    try:
        result = api.convert(
            order.source, order.target, limits=limits, progress=progress,
            bare=order.bare, digest=True)
    except exceptions.XsConvertError as error:
        return _say_error(error)
    except MemoryError:
        return _say_error(exceptions.LimitExceeded(
            'the conversion needs more memory than is allowed'))
    _say('outcome', dataclasses.asdict(Outcome(
        result.virtual_size, len(result.layers), result.bytes_written,
        result.source_size, result.source_sha256)))
    return 0


def _restrict(request: Request) -> None:
    """Limit what the process can use, before it reads the image."""
    os.umask(0o077)
    _stand_back()
    _leave_the_network()
    _limit(resource.RLIMIT_AS, request.max_memory)
    _limit(resource.RLIMIT_FSIZE, request.limits.max_virtual_size)
    _limit(resource.RLIMIT_NOFILE, 64)
    _limit(resource.RLIMIT_CORE, 0)
    if request.max_cpu_time:
        _limit(resource.RLIMIT_CPU, request.max_cpu_time, int(_GRACE))


def _stand_back() -> None:
    """Let Glance's requests go first where there are too few processors.

    Linux may schedule by sessions, of which the process has its own: then it
    is the session's niceness that counts.
    """
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with (contextlib.suppress(OSError),
          open('/proc/self/autogroup', 'w') as autogroup):
        autogroup.write(str(_NICENESS))


def _leave_the_network() -> None:
    """Go where there is none, if the kernel allows it.

    It takes a privilege, or a user namespace; there, root could not read
    the files of others any more. It has to be done before there are other
    threads.
    """
    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNET) and os.geteuid():
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _limit(what: int, value: int, grace: int = 0) -> None:
    """Set a limit, no higher than it is.

    :param grace: how much more than the value kills the process
    """
    _, hard = resource.getrlimit(what)
    if hard == resource.RLIM_INFINITY:
        hard = value + grace
    soft = min(value, max(hard - grace, 1) if grace else hard)
    resource.setrlimit(what, (soft, min(value + grace, hard)))


def _end(signal_number: int, frame: object) -> None:
    """End by an exception, so that what was begun is removed."""
    sys.exit(128 + signal_number)


def _end_of_time(signal_number: int, frame: object) -> None:
    raise exceptions.LimitExceeded(
        'the conversion takes more processor time than is allowed')


def _read_request() -> bytes:
    line = b''
    while not line.endswith(b'\n'):
        data = os.read(_STDIN, 65536)
        if not data:
            sys.exit('no request came')
        line += data
    return line


def _end_with_parent() -> None:
    os.read(_STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _report(progress: progress_.Progress) -> None:
    while True:
        _say('progress', dataclasses.asdict(progress))
        time.sleep(REPORT_INTERVAL)


_output = threading.Lock()


def _say(kind: str, message: dict[str, Any]) -> None:
    """Write a line."""
    with _output, contextlib.suppress(BrokenPipeError):
        os.write(_STDOUT, json.dumps({kind: message}).encode() + b'\n')


def _say_error(error: exceptions.XsConvertError) -> int:
    _say('error', {'name': type(error).__name__, 'reason': error.reason,
                   'member': error.member, 'offset': error.offset})
    return 1


if __name__ == '__main__':
    sys.exit(main())

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

"""The process that reads an image, which ``parent`` starts."""

from collections.abc import Callable
import contextlib
import io
import os
import signal
import sys
import threading
import time
from typing import BinaryIO
from typing import cast

from glance_xs_convert.converter.containers import ova_xml
from glance_xs_convert.converter import convert
from glance_xs_convert import exceptions
from glance_xs_convert import progress
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import resources
from glance_xs_convert.worker import sandbox

_STDIN = 0
_STDOUT = 1
_STDERR = 2

Outcome = protocol.Outcome | protocol.Assessment | protocol.Findings
Work = Callable[[protocol.Job, progress.Progress], Outcome]


class Stopped(BaseException):
    """The conversion was stopped from outside.

    It is not an Exception, so that nobody takes it for a fault of the image.

    :ivar error: the error to report
    """

    def __init__(self, error: exceptions.XsConvertError) -> None:
        super().__init__(error)
        self.error = error


class Output:
    """The pipe to the parent.

    It uses the bare descriptor, because Python aborts if a thread is inside a
    buffered file when the process ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Keep the output of libraries out of the messages.
        self._descriptor = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)

    def write(self, line: bytes) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, line)


def main() -> int:
    """Do the parent's job and report the result.

    :returns: the exit status
    """
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGXCPU, _stop_for_cpu_time)
    # uWSGI's threads block signals, and their children inherit this.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    output = Output()
    job = protocol.decode_job(_read_line())
    try:
        outcome = _run(job, output)
    except Stopped as stopped:
        error = stopped.error
    except exceptions.XsConvertError as refusal:
        error = refusal
    except MemoryError:
        error = exceptions.LimitExceeded(
            'the conversion needs more memory than is allowed')
    else:
        output.write(protocol.encode_outcome(outcome))
        return 0
    output.write(protocol.encode_error(error))
    return 1


def _run(job: protocol.Job, output: Output) -> Outcome:
    request = job.request
    work = _work(job.operation)
    resources.restrict(request)
    privileges.enter_empty_network()
    if request.sandbox != protocol.OFF:
        output.write(protocol.encode_confinement(
            sandbox.enter(request.sandbox)))
    # From here on, the maker of the image may have taken over the process.
    latest = progress.Progress()
    for target, arguments in ((_exit_with_parent, ()),
                              (_report, (latest, output))):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    return work(job, latest)


def _work(operation: str) -> Work:
    """Return the function for an operation, with its modules loaded."""
    if operation == protocol.PROBE:
        from glance_xs_convert.worker import probe

        return lambda job, latest: probe.look()
    sandbox.load_late()
    return _convert if operation == protocol.CONVERT else _check


def _convert(job: protocol.Job, latest: progress.Progress,
             ) -> protocol.Outcome:
    source, target = _descriptors(job.source, job.target)
    request = job.request
    try:
        result = convert.convert(
            _opened(source), target, limits=request.limits, progress=latest,
            disk=request.disk, digest=request.digest)
    except BaseException:
        # The parent removes the file, unless it has been killed.
        with contextlib.suppress(OSError):
            os.ftruncate(target, 0)
        raise
    return protocol.Outcome(
        result.virtual_size, max(1, len(result.layers)),
        result.bytes_written, result.source_size, result.source_sha256,
        _guest(result.guest),
        None if result.disk is None else result.disk.label)


def _guest(found: ova_xml.Guest | None) -> protocol.Guest | None:
    if found is None:
        return None
    return protocol.Guest(
        found.name, f'{found.product} {found.version}'.strip(),
        found.firmware, found.is_paravirtualized)


def _check(job: protocol.Job, latest: progress.Progress,
           ) -> protocol.Assessment:
    [source] = _descriptors(job.source)
    result = convert.check(_opened(source), limits=job.request.limits,
                           progress=latest, disk=job.request.disk)
    start = result.first_sectors
    hints = start.hint, None if result.guest is None else result.guest.hint
    return protocol.Assessment(
        result.virtual_size, max(1, len(result.layers)), result.source_size,
        result.allocated, result.room, start.partition_table,
        start.has_efi_system_partition, start.has_boot_code,
        [hint for hint in hints if hint])


def _descriptors(*descriptors: int | None) -> list[int]:
    return [one for one in descriptors if one is not None]


def _opened(descriptor: int) -> BinaryIO:
    return cast(BinaryIO, io.FileIO(descriptor, closefd=False))


def _exit(signal_number: int, frame: object) -> None:
    """End with an exception, so that unfinished work is abandoned."""
    sys.exit(128 + signal_number)


def _stop_for_cpu_time(signal_number: int, frame: object) -> None:
    raise Stopped(exceptions.LimitExceeded(
        'the conversion takes more processor time than is allowed'))


def _read_line() -> bytes:
    line = b''
    while not line.endswith(b'\n'):
        data = os.read(_STDIN, 65536)
        if not data:
            sys.exit('the parent process sent no request')
        line += data
    return line


def _exit_with_parent() -> None:
    """End the process when the parent closes the pipe."""
    os.read(_STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(protocol.GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _report(latest: progress.Progress, output: Output) -> None:
    while True:
        output.write(protocol.encode_progress(latest))
        time.sleep(protocol.REPORT_INTERVAL)


if __name__ == '__main__':
    sys.exit(main())

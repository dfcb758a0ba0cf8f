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
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
import signal
import sys
import threading
import time
from typing import BinaryIO
from typing import cast

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter import convert
from glance_xs_convert import exceptions
from glance_xs_convert import results
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import resources
from glance_xs_convert.worker import sandbox
from glance_xs_convert.worker import supervisor

_STDIN = 0
_STDOUT = 1
_STDERR = 2

Work = Callable[[protocol.Job, conversion_progress.Progress], protocol.Result]


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
    supervisor.divide()
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGXCPU, _stop_for_cpu_time)
    output = Output()
    job = protocol.decode_job(_read_line())
    try:
        line = protocol.encode_result(_run(job, output))
    except Stopped as stopped:
        error = stopped.error
    except exceptions.XsConvertError as refusal:
        error = refusal
    except MemoryError:
        error = exceptions.LimitExceeded(
            'the conversion needs more memory than is allowed')
    else:
        output.write(line)
        # There is nothing left to do, and the parent waits.
        os._exit(0)
    output.write(protocol.encode_error(error))
    return 1


def _run(job: protocol.Job, output: Output) -> protocol.Result:
    request = job.request
    work = _work(job.operation)
    resources.restrict(job)
    privileges.enter_empty_network()
    if request.sandbox != protocol.OFF:
        output.write(protocol.encode_confinement(
            sandbox.enter(request.sandbox)))
    # From here on, the maker of the image may have taken over the process.
    latest = conversion_progress.Progress()
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
    works: dict[str, Work] = {
        protocol.CONVERT: _convert, protocol.CONVERT_ALL: _convert_all,
        protocol.CHECK: _check,
        protocol.INSPECT: _inspect, protocol.DESCRIBE: _describe}
    return works[operation]


def _convert(job: protocol.Job, latest: conversion_progress.Progress,
             ) -> results.ConversionResult:
    request = job.request
    [target] = job.targets
    with _emptied_on_failure(job.targets):
        return convert.convert(
            _source(job), target, limits=request.limits, progress=latest,
            disk=request.disk, digest=request.digest)


def _convert_all(job: protocol.Job, latest: conversion_progress.Progress,
                 ) -> results.AllDisks:
    with _emptied_on_failure(job.targets):
        return convert.convert_all(
            _source(job), job.targets, limits=job.request.limits,
            progress=latest)


@contextlib.contextmanager
def _emptied_on_failure(targets: Sequence[int]) -> Iterator[None]:
    """Empty the files if they are not completed.

    The parent removes them, unless it has been killed.
    """
    try:
        yield
    except BaseException:
        for target in targets:
            with contextlib.suppress(OSError):
                os.ftruncate(target, 0)
        raise


def _check(job: protocol.Job, latest: conversion_progress.Progress,
           ) -> results.CheckResult:
    result = convert.check(
        _source(job), limits=job.request.limits, progress=latest,
        disk=job.request.disk, with_map=bool(job.targets))
    for target in job.targets:
        if result.disk_map is not None:
            _write_map(target, result.disk_map.packed)
    return result


def _write_map(target: int, packed: bytes) -> None:
    if len(packed) > protocol.MAX_MAP:
        raise exceptions.LimitExceeded(
            'the map of the disk is too long, because it changes from layer '
            'to layer too often')
    view = memoryview(packed)
    while view:
        view = view[os.write(target, view):]


def _inspect(job: protocol.Job, latest: conversion_progress.Progress,
             ) -> results.Inspection:
    return convert.inspect(_source(job), limits=job.request.limits,
                           progress=latest, disk=job.request.disk)


def _describe(job: protocol.Job, latest: conversion_progress.Progress,
              ) -> results.Description:
    return convert.describe(_source(job), limits=job.request.limits,
                            progress=latest)


def _source(job: protocol.Job) -> BinaryIO:
    if job.source is None:
        raise ValueError('the job has no source')
    return cast(BinaryIO, io.FileIO(job.source, closefd=False))


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


def _report(latest: conversion_progress.Progress, output: Output) -> None:
    while True:
        output.write(protocol.encode_progress(latest))
        time.sleep(protocol.REPORT_INTERVAL)


if __name__ == '__main__':
    sys.exit(main())

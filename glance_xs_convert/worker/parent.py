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

"""Running a conversion or a check in a process of its own.

The process reads an image that a stranger has sent, so its messages and its
result are checked.
"""

from collections.abc import Callable
import logging
import math
import os
import shutil
import sys
import time
from typing import Any
from typing import TypeVar

from glance_xs_convert import exceptions
from glance_xs_convert import files
from glance_xs_convert import progress
from glance_xs_convert.worker import process
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import replies

_T = TypeVar('_T')

LOG = logging.getLogger(__name__)

#: The interval between calls of ``on_progress``, in seconds.
_INTERVAL = protocol.REPORT_INTERVAL / 2
#: How long a child may be silent, in seconds. A healthy one keeps reporting,
#: whatever it waits for.
_MAX_SILENCE = 60.0

OnProgress = Callable[[progress.Progress], None]

#: The missing means that have been logged, which is done once.
_logged: set[str] = set()


def interpreter(configured: str | None) -> str:
    """Return a Python interpreter to run a child with.

    :param configured: Glance's ``[wsgi] python_interpreter``. If it is not set
                       and the process is not a Python interpreter, as under
                       uWSGI, the interpreter of the environment is used.
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


def convert_file(source: str, target: str, request: protocol.Request, *,
                 python: str, on_progress: OnProgress,
                 progress_timeout: float = math.inf) -> protocol.Outcome:
    """Convert an archive to a new raw disk, both in the staging area.

    The disk is not flushed, because an import starts again after a crash.

    :param source: path of the archive
    :param target: path of the raw disk, which only its owner may read

    For other parameters and errors, see ``convert`` and ``files``.
    """
    with (files.opened(source) as file,
          files.new_file(target, mode=0o600, durable=False) as descriptor):
        return convert(
            file.fileno(), descriptor, request, python=python,
            on_progress=on_progress, progress_timeout=progress_timeout)


def convert(source: int, target: int, request: protocol.Request, *,
            python: str, on_progress: OnProgress,
            progress_timeout: float = math.inf) -> protocol.Outcome:
    """Convert an archive to a raw disk.

    :param source: descriptor of the archive
    :param target: descriptor of a new file, open for reading and writing
    :param python: interpreter to run, see ``interpreter``
    :param on_progress: called a few times a second, even without progress; an
                        error that it raises ends the conversion
    :param progress_timeout: seconds without progress after which the
                             conversion ends
    :raises XsConvertError: the child reported an error, or ended without a
                            result
    """
    largest = _largest(source)
    outcome = _run(
        protocol.Job(protocol.CONVERT, request, source, target), python,
        on_progress, progress_timeout, lambda fields: replies.outcome(
            fields, request.limits, request.digest, largest))
    # The child has ended and cannot write to the file any more.
    found = os.fstat(target).st_size
    if found != outcome.virtual_size:
        LOG.error('The converter announced a disk of %d bytes but wrote one '
                  'of %d', outcome.virtual_size, found)
        raise _invalid()
    return outcome


def check(source: int, request: protocol.Request, *, python: str,
          on_progress: OnProgress) -> protocol.Assessment:
    """Find out what a conversion would give; see ``convert``."""
    largest = _largest(source)
    return _run(
        protocol.Job(protocol.CHECK, request, source), python, on_progress,
        math.inf, lambda fields: replies.assessment(
            fields, request.limits, largest))


def probe(request: protocol.Request, *, python: str) -> protocol.Findings:
    """Find out what a confined process can do on this host."""
    return _run(protocol.Job(protocol.PROBE, request), python,
                lambda latest: None, math.inf, replies.findings)


def _run(job: protocol.Job, python: str, on_progress: OnProgress,
         progress_timeout: float, outcome_of: Callable[[dict[str, Any]], _T],
         ) -> _T:
    """Run a child until its job is done.

    :param outcome_of: makes the result from the fields of a message
    """
    with process.Child(python, job) as child:
        clock = _Clock(job.request.max_time, progress_timeout)
        is_first = True
        try:
            for lines in child.lines():
                for line in lines:
                    kind, fields = replies.parse(line)
                    clock.heard()
                    if kind == protocol.OUTCOME:
                        outcome = outcome_of(fields)
                        if child.end() is None:
                            raise exceptions.ConverterStopped(
                                'the converter cannot be ended')
                        return outcome
                    if kind == protocol.ERROR:
                        raise replies.error(fields)
                    if kind == protocol.CONFINED and is_first:
                        # It comes before the image can have any influence.
                        _log_missing(replies.confinement(fields).missing)
                    elif kind == protocol.PROGRESS:
                        clock.progressed(replies.progress_of(
                            fields, job.request.limits))
                    else:
                        raise replies.Invalid(f'its kind is {kind!a}')
                    is_first = False
                if clock.ticks():
                    on_progress(clock.latest)
        except replies.Invalid as error:
            LOG.error('The converter sent an invalid message: %s', error)
            raise _invalid() from error
        except process.Flood as error:
            raise exceptions.ConverterStopped(
                'the converter sent too many messages') from error
        status = child.end()
        LOG.error('The converter ended with status %s: %s', status,
                  child.last_words())
        raise exceptions.ConverterStopped(
            f'the converter ended unexpectedly, with status {status}')


def _log_missing(missing: list[str]) -> None:
    """Log which means of confinement are missing, each of them once."""
    for one in missing:
        if one not in _logged:
            _logged.add(one)
            LOG.warning('The converter is not fully confined: %s', one)


class _Clock:
    """Measures a conversion's time, silence, and time without progress.

    :param max_time: longest time in seconds; 0 for no limit
    :param progress_timeout: longest time without progress, in seconds
    :ivar latest: the last progress reported
    """

    def __init__(self, max_time: int, progress_timeout: float) -> None:
        now = time.monotonic()
        self.latest = progress.Progress()
        self._started = self._heard = self._changed = now
        self._told = -math.inf
        self._max_time = max_time or math.inf
        self._progress_timeout = progress_timeout

    def heard(self) -> None:
        self._heard = time.monotonic()

    def progressed(self, latest: progress.Progress) -> None:
        if latest != self.latest:
            self.latest, self._changed = latest, time.monotonic()

    def ticks(self) -> bool:
        """Whether it is time to pass the progress on.

        :raises ConverterStopped: a time limit is exceeded
        """
        now = time.monotonic()
        if now - self._changed > self._progress_timeout:
            raise exceptions.ConverterStopped(
                'the conversion made no progress for '
                f'{self._progress_timeout:.0f} seconds')
        if now - self._started > self._max_time:
            raise exceptions.ConverterStopped(
                f'the conversion took more than {self._max_time} seconds')
        if now - self._heard > _MAX_SILENCE:
            raise exceptions.ConverterStopped(
                f'the converter was silent for {_MAX_SILENCE:.0f} seconds')
        if now - self._told < _INTERVAL:
            return False
        self._told = now
        return True


def _largest(source: int) -> int:
    status = os.fstat(source)
    return replies.largest_source(status.st_mode, status.st_size)


def _invalid() -> exceptions.ConverterStopped:
    return exceptions.ConverterStopped(
        'the converter sent an invalid message')

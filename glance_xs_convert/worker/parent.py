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
from collections.abc import Sequence
import contextlib
import dataclasses
import logging
import math
import os
import shutil
import stat
import sys
import time
from typing import TypeVar

from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import maps
from glance_xs_convert import publish
from glance_xs_convert import results
from glance_xs_convert import text
from glance_xs_convert import units
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

OnProgress = Callable[[conversion_progress.Progress], None]

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
                 progress_timeout: float = math.inf,
                 ) -> results.ConversionResult:
    """Convert an archive to a new raw disk, both in the staging area.

    The disk is not flushed, because an import starts again after a crash.

    :param source: path of the archive
    :param target: path of the raw disk, which only its owner may read

    For other parameters and errors, see ``convert`` and ``files``.
    """
    with (publish.open_source(source) as file,
          publish.new_file(target, mode=0o600, durable=False) as descriptor):
        return convert(
            file.fileno(), descriptor, request, python=python,
            on_progress=on_progress, progress_timeout=progress_timeout)


def convert(source: int, target: int, request: protocol.Request, *,
            python: str, on_progress: OnProgress,
            progress_timeout: float = math.inf) -> results.ConversionResult:
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
    result = _run(
        protocol.Job(protocol.CONVERT, request, source, (target,)),
        results.ConversionResult, python, on_progress, progress_timeout)
    _expect(result.virtual_size <= request.limits.largest_disk,
            'the disk is too large')
    _expect(result.source_size <= _largest(source),
            'the archive is larger than its file')
    _expect(bool(result.source_sha256) == request.digest,
            'there is no digest, or an unwanted one')
    _check_layers(result.layers, request.limits)
    _check_written(target, result)
    return result


def _check_written(target: int, result: results.ConversionResult
                   | results.ConvertedDisk) -> None:
    """Compare a disk with what the child says, which has ended."""
    found = os.fstat(target)
    _expect(found.st_size == result.virtual_size,
            'it announced a disk of '
            f'{text.exact_size(result.virtual_size)} but wrote one of '
            f'{text.exact_size(found.st_size)}')
    # A file system may allocate more at once than a file needs.
    slack = units.MIB + 2 * found.st_blksize
    allocated = found.st_blocks * units.STAT_BLOCK
    for most in (result.allocated, result.virtual_size):
        _expect(allocated <= most + most // 64 + slack,
                'it announced a disk that occupies '
                f'{text.exact_size(result.allocated)} of '
                f'{text.exact_size(result.virtual_size)}, and this one '
                f'occupies {text.exact_size(allocated)}')


def convert_all(source: int, targets: Sequence[int],
                request: protocol.Request, *, python: str,
                on_progress: OnProgress) -> results.AllDisks:
    """Convert all disks of an archive to raw disks; see ``convert``.

    :param targets: descriptors of new files, open for reading and writing, of
                    which as many are written as there are disks
    """
    result = _run(
        protocol.Job(protocol.CONVERT_ALL, request, source, tuple(targets)),
        results.AllDisks, python, on_progress)
    _expect(result.source_size <= _largest(source),
            'the archive is larger than its file')
    numbers = [disk.target for disk in result.disks]
    _expect(sorted(set(numbers)) == list(range(len(numbers)))
            and 0 < len(numbers) <= len(targets),
            'the disks are not in different files')
    for disk in result.disks:
        _expect(disk.virtual_size <= request.limits.max_virtual_size,
                'a disk is too large')
        _check_written(targets[disk.target], disk)
    return result


def check(source: int, request: protocol.Request, *, python: str,
          on_progress: OnProgress, with_map: bool = False,
          ) -> results.CheckResult:
    """Find out what a conversion would give; see ``convert``.

    :param with_map: whether to make a map of the disk
    """
    with contextlib.ExitStack() as stack:
        targets = []
        if with_map:
            targets.append(os.memfd_create('map'))
            stack.callback(os.close, targets[0])
        result = _run(
            protocol.Job(protocol.CHECK, request, source, tuple(targets)),
            results.CheckResult, python, on_progress)
        _expect(result.virtual_size <= request.limits.max_virtual_size,
                'the disk is too large')
        _expect(result.source_size <= _largest(source),
                'the archive is larger than its file')
        _check_layers(result.layers, request.limits)
        for target in targets:
            result = dataclasses.replace(result, disk_map=_read_map(
                target, result.virtual_size, result.layer_count))
        return result


def _read_map(file: int, size: int, layers: int) -> maps.DiskMap:
    """Read the map that the child has made."""
    length = os.fstat(file).st_size
    _expect(length <= protocol.MAX_MAP, 'the map is too long')
    found = maps.DiskMap(size, layers, os.pread(file, length, 0))
    _expect(found.is_sound(), 'the map contradicts itself')
    return found


def inspect(source: int, request: protocol.Request, *, python: str,
            on_progress: OnProgress) -> results.Inspection:
    """List the contents of an image; see ``convert``."""
    result = _run(protocol.Job(protocol.INSPECT, request, source),
                  results.Inspection, python, on_progress)
    _check_layers(result.layers, request.limits)
    _expect(bool(result.disks) or result.guest is not None,
            'a chain has no disk')
    _expect(result.guest is None or all(found.disk is not None
                                        for found in result.disks),
            'a disk of an export is not described')
    return result


def describe(source: int, request: protocol.Request, *, python: str,
             on_progress: OnProgress) -> results.Description:
    """Read what an image says about itself in its first file.

    :param source: descriptor of the image or of its beginning, for example a
                   pipe, of which no more is read than that

    For other parameters and errors, see ``convert``.
    """
    result = _run(protocol.Job(protocol.DESCRIBE, request, source),
                  results.Description, python, on_progress)
    _expect(bool(result.guests) or not result.disks,
            'the disks belong to no virtual machine')
    return result


def probe(request: protocol.Request, *, python: str) -> protocol.Findings:
    """Find out what a confined process can do on this host."""
    return _run(protocol.Job(protocol.PROBE, request), protocol.Findings,
                python, lambda latest: None)


def _check_layers(layers: list[results.Vhd],
                  bounds: image_limits.Limits) -> None:
    _expect(len(layers) <= bounds.max_chain_length, 'the chain is too long')
    _expect(all(layer.current_size <= bounds.max_virtual_size
                for layer in layers), 'a layer is too large')


def _run(job: protocol.Job, kind: type[_T], python: str,
         on_progress: OnProgress, progress_timeout: float = math.inf) -> _T:
    """Run a child until its job is done.

    :param kind: class of the result
    """
    with process.Child(python, job) as child:
        clock = _Clock(job.request.max_time, progress_timeout)
        try:
            for lines in child.lines():
                for line in lines:
                    result = _heard(line, kind, clock, job.request.limits)
                    if result is not None:
                        status = child.wait()
                        if status == 0:
                            return result
                        if status is None:
                            raise exceptions.ConverterStopped(
                                'the converter does not end')
                        raise _ended_unexpectedly(child, status)
                if clock.ticks():
                    on_progress(clock.latest)
        except replies.Invalid as error:
            raise _invalid(str(error)) from error
        except process.Flood as error:
            raise exceptions.ConverterStopped(
                'the converter sent too many messages') from error
        raise _ended_unexpectedly(child, child.end())


def _ended_unexpectedly(child: process.Child, status: int | None,
                        ) -> exceptions.ConverterStopped:
    """Make the error for a child that has failed, and log what it wrote."""
    LOG.error('The converter ended with status %s: %s', status,
              child.last_words())
    return exceptions.ConverterStopped(
        f'the converter ended unexpectedly, with status {status}')


def _heard(line: bytes, kind: type[_T], clock: '_Clock',
           bounds: image_limits.Limits) -> _T | None:
    """Note what the child says; return the result if it is that.

    :raises Invalid: a healthy converter would not say it
    :raises XsConvertError: the child reports an error
    """
    name, fields = replies.parse(line)
    is_first = clock.heard()
    if name == protocol.RESULT:
        return replies.build(kind, fields)
    if name == protocol.ERROR:
        raise replies.error(fields)
    if name == protocol.CONFINED and is_first:
        # It comes before the image can have any influence.
        _log_missing(replies.build(protocol.Confinement, fields).missing)
    elif name == protocol.PROGRESS:
        latest = replies.build(conversion_progress.Progress, fields)
        if latest.layers > bounds.max_chain_length:
            raise replies.Invalid('the chain is too long')
        clock.progressed(latest)
    else:
        raise replies.Invalid(f'its kind is {name!a}')
    return None


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
        self.latest = conversion_progress.Progress()
        self._started = self._heard = self._changed = now
        self._is_silent = True
        self._told = -math.inf
        self._max_time = max_time or math.inf
        self._progress_timeout = progress_timeout

    def heard(self) -> bool:
        """Note that the child lives; return whether it speaks first."""
        self._heard = time.monotonic()
        is_first, self._is_silent = self._is_silent, False
        return is_first

    def progressed(self, latest: conversion_progress.Progress) -> None:
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
    """Return the most bytes that can be read from a file."""
    status = os.fstat(source)
    return status.st_size if stat.S_ISREG(status.st_mode) else sys.maxsize


def _expect(condition: bool, otherwise: str) -> None:
    """Check what the child says against what its parent knows.

    :raises ConverterStopped: the condition is not met
    """
    if not condition:
        raise _invalid(otherwise)


def _invalid(reason: str) -> exceptions.ConverterStopped:
    LOG.error('The converter sent an invalid message: %s', reason)
    return exceptions.ConverterStopped(
        'the converter sent an invalid message')

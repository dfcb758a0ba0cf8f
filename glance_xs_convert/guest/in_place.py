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
"""Adapting the guest on somebody's only copy of a disk.

The tool's changes go to an overlay in a directory beside the disk. A record in
that directory says when the overlay is complete. It is committed only then; if
the commit is interrupted, the next call finds the record and finishes it.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import commit
from glance_xs_convert.guest import inspection
from glance_xs_convert.guest import settings as settings_

_SUFFIX = '.adapt'
_OVERLAY = 'overlay.qcow2'
_RECORD = 'complete.json'
#: The version of the record; others are left alone.
_VERSION = 1


def adapt_disk(disk: str, settings: settings_.Settings, *, python: str,
               on_progress: adapt.OnProgress) -> adapt.Adapted:
    """Adapt the guest on a raw disk, or finish what was interrupted.

    :param disk: path of the disk, which is as it was unless all goes well
    :param python: interpreter to run a warden with
    :param on_progress: called twice a second; an error that it raises ends
                        the work
    :raises XsConvertError: the guest cannot be adapted
    """
    disk = os.path.realpath(disk)
    with _locked(disk) as descriptor:
        directory = disk + _SUFFIX
        overlay = os.path.join(directory, _OVERLAY)
        found = _interrupted(directory, descriptor)
        if found is None:
            try:
                shutil.rmtree(directory, ignore_errors=True)
                os.mkdir(directory, mode=0o700)
            except OSError as error:
                raise exceptions.UnwritableTarget(
                    f'{directory} cannot be made: {error.strerror}'
                ) from error
            try:
                found = adapt.adapt(disk, overlay, settings, python=python,
                                    on_progress=on_progress)
                commit.check_space(disk, overlay)
                _write_record(directory, overlay, descriptor, found)
            except BaseException:
                shutil.rmtree(directory, ignore_errors=True)
                raise
        commit.commit(disk, overlay, settings, python=python,
                      on_progress=on_progress)
        shutil.rmtree(directory)
    return found


@contextlib.contextmanager
def _locked(disk: str) -> Iterator[int]:
    """Open a disk for writing, and keep other commands off it.

    :raises UnwritableTarget: it cannot be opened for writing, or is in use
    """
    try:
        descriptor = os.open(disk, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{disk} cannot be opened for writing: {error.strerror}'
        ) from error
    try:
        if not os.path.isfile(disk):
            raise exceptions.UnwritableTarget(f'{disk} is not a file')
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise exceptions.UnwritableTarget(
                f'{disk} is in use by another command') from None
        yield descriptor
    finally:
        os.close(descriptor)


def _identity(descriptor: int) -> dict[str, int]:
    status = os.fstat(descriptor)
    return {'inode': status.st_ino, 'size': status.st_size}


def _write_record(directory: str, overlay: str, descriptor: int,
                  found: adapt.Adapted) -> None:
    """Record durably that the overlay is complete."""
    file = os.open(overlay, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    path = os.path.join(directory, _RECORD)
    with open(path + '.new', 'w', encoding='utf-8') as record:
        json.dump({'version': _VERSION, 'disk': _identity(descriptor),
                   'adapted': dataclasses.asdict(found)}, record)
        record.flush()
        os.fsync(record.fileno())
    os.rename(path + '.new', path)
    for name in (directory, os.path.dirname(directory)):
        file = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _interrupted(directory: str, descriptor: int) -> adapt.Adapted | None:
    """Return what an interrupted commit was about; None if there is none.

    :raises TargetExists: there is one, of another disk or another version
    """
    path = os.path.join(directory, _RECORD)
    try:
        with open(path, encoding='utf-8') as file:
            record = json.load(file)
        if record['version'] == _VERSION and (
                record['disk'] == _identity(descriptor)):
            fields = record['adapted']
            return adapt.Adapted(**{
                **fields, 'warnings': tuple(fields['warnings']),
                'system': inspection.System(**fields['system'])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise exceptions.TargetExists(
        f'{directory} was left by an interrupted command, but does not fit '
        'this disk: if the disk was replaced since, remove the directory')

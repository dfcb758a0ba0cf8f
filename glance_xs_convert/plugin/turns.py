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

"""Taking turns: so many at once on a host, first come, first served.

Everybody who comes draws a ticket, a file that stays locked until its turn is
over or its process ends, however it ends. The oldest tickets have their turn.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import os
import re
import stat
import tempfile
import time
import uuid

from glance_xs_convert import exceptions

#: How often somebody who waits looks, in seconds.
_INTERVAL = 0.5
_SUFFIX = '.ticket'
_TICKET = re.compile(r'[0-9]{20}-[0-9a-f-]{36}' + re.escape(_SUFFIX))
_UNFINISHED = re.compile(r'\.' + _TICKET.pattern)


class Abandoned(Exception):
    """Raised when a holder cannot clean up; its ticket is kept."""


@contextlib.contextmanager
def turn(limit: int, label: str, waiting: Callable[[int], None],
         directory: str | None = None) -> Iterator[None]:
    """Wait for a turn, and have it.

    :param limit: how many may have their turn at once; 0 for any number
    :param label: what the turn is for, of which :func:`collect` tells
    :param waiting: called again and again while waiting, with the number of
                    those who came before; what it raises ends the wait
    :param directory: where the tickets are; one for each user and host in
                      the directory for temporary files if it is None
    :raises ConverterStopped: no ticket can be written

    A turn that ends by ``Abandoned`` is over, but :func:`collect` tells of
    it as if its process had ended.
    """
    directory = directory or _default_directory()
    try:
        _prepare(directory)
        descriptor, ticket = _draw(directory, label)
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'{directory}, where conversions take their turns, cannot be '
            f'used: {error.strerror or error}') from error
    stays = False
    try:
        while limit and (ahead := _ahead(directory, ticket)) >= limit:
            waiting(ahead)
            time.sleep(_INTERVAL)
        yield
    except Abandoned:
        stays = True
        raise
    finally:
        if not stays:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, ticket))
        os.close(descriptor)


def collect(is_dealt_with: Callable[[str], bool],
            directory: str | None = None) -> None:
    """Look for turns that ended with the process that had them.

    :param is_dealt_with: called with the label of each; what is said there
                          is said to one caller at a time, and not again
                          once the answer was True
    :param directory: where the tickets are, as for :func:`turn`
    :raises OSError: they cannot be read, or are not to be trusted
    """
    directory = directory or _default_directory()
    if not os.path.lexists(directory):
        return
    _check_owner(directory)
    for name in _tickets(directory):
        path = os.path.join(directory, name)
        with (contextlib.suppress(FileNotFoundError, BlockingIOError),
              open(path, 'r+', errors='replace') as ticket):
            fcntl.flock(ticket, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (os.fstat(ticket.fileno()).st_nlink
                    and is_dealt_with(ticket.read())):
                os.unlink(path)


def _default_directory() -> str:
    return os.path.join(
        tempfile.gettempdir(), f'glance-xs-convert-{os.getuid()}')


def _prepare(directory: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    _check_owner(directory)


def _check_owner(directory: str) -> None:
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError('it belongs to somebody else')
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError('others can write to it')


def _draw(directory: str, label: str) -> tuple[int, str]:
    """A locked ticket, whose name sorts behind all that were drawn before."""
    with _locked(directory):
        newest = max(_tickets(directory), default='0')
        number = max(time.time_ns(), int(newest.partition('-')[0]) + 1)
        name = f'{number:020d}-{uuid.uuid4()}{_SUFFIX}'
        # Nobody else draws now, so nobody will finish these any more.
        for unfinished in filter(_UNFINISHED.fullmatch,
                                 os.listdir(directory)):
            os.unlink(os.path.join(directory, unfinished))
        hidden = os.path.join(directory, f'.{name}')
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL,
                             0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, label.encode())
            os.fsync(descriptor)
            os.rename(hidden, os.path.join(directory, name))
        except BaseException:
            os.close(descriptor)
            os.unlink(hidden)
            raise
    return descriptor, name


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tickets(directory: str) -> list[str]:
    return sorted(filter(_TICKET.fullmatch, os.listdir(directory)))


def _ahead(directory: str, ticket: str) -> int:
    """How many that came before are still there."""
    return sum(
        _is_held(os.path.join(directory, name))
        for name in _tickets(directory) if name < ticket)


def _is_held(path: str) -> bool:
    """Whether a ticket is there, and so is the process that drew it."""
    with (contextlib.suppress(FileNotFoundError),
          open(path, 'r+') as ticket):
        try:
            fcntl.flock(ticket, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

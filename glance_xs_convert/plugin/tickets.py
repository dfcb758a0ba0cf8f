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

"""Tickets: files that stay locked for as long as their process lives.

The kernel releases the lock at any end of the process, so a ticket that lies
there unlocked tells that its holder came to no orderly end. Locks of this
kind, flock(2), are the host's: a directory of tickets serves one host.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import io
import os
import re
import stat
import tempfile
import time
import uuid


class Ticket:
    """A ticket that is held.

    :ivar name: sorts behind those of all that were drawn before
    """

    def __init__(self, path: str, file: io.FileIO) -> None:
        self.name = os.path.basename(path)
        self._path = path
        self._file = file

    def add(self, text: str) -> None:
        """Write more text on it, that lasts when this returns.

        :raises OSError: it cannot be written
        """
        os.write(self._file.fileno(), text.encode())
        os.fsync(self._file.fileno())

    def release(self) -> None:
        """Remove it: its holder is through."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.drop()

    def drop(self) -> None:
        """Let go of it, for others to find."""
        self._file.close()


class Box:
    """The tickets of one kind in a directory.

    :param directory: one for each user and host in the directory for
                      temporary files if it is None
    :param suffix: of the names of the tickets
    """

    def __init__(self, directory: str | None, suffix: str) -> None:
        self.directory = directory or os.path.join(
            tempfile.gettempdir(), f'glance-xs-convert-{os.getuid()}')
        self._suffix = suffix
        name = r'[0-9]{20}-[0-9a-f-]{36}' + re.escape(suffix)
        self._name = re.compile(name)
        self._unfinished = re.compile(r'\.' + name)

    def draw(self, text: str = '') -> Ticket:
        """A new ticket, with a text on it.

        :raises OSError: it cannot be written, or the directory is not to be
                         trusted
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.directory, 0o700)
        self._check_owner()
        with self._locked() as directory:
            self._remove_unfinished()
            newest = max(self.names(), default='0')
            number = max(time.time_ns(), int(newest.partition('-')[0]) + 1)
            name = f'{number:020d}-{uuid.uuid4()}{self._suffix}'
            hidden = self._path(f'.{name}')
            file = io.FileIO(hidden, 'x', opener=_private)
            ticket = Ticket(self._path(name), file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                ticket.add(text)
                os.rename(hidden, self._path(name))
            except BaseException:
                ticket.drop()
                os.unlink(hidden)
                raise
            os.fsync(directory)
        return ticket

    def names(self) -> list[str]:
        """The names of all tickets in the order in which they were drawn."""
        return sorted(filter(self._name.fullmatch,
                             os.listdir(self.directory)))

    def is_held(self, name: str) -> bool:
        """Whether a ticket is there, and so is the process that drew it."""
        try:
            with self._take(name):
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def collect(self, deal: Callable[[str], bool]) -> None:
        """Remove the tickets that have no holder any more.

        :param deal: called with the text of each; nobody else gets to hear
                     of it meanwhile, and the ticket stays unless the answer
                     is True
        :raises OSError: they cannot be read, or are not to be trusted
        """
        if not os.path.lexists(self.directory):
            return
        self._check_owner()
        for name in self.names():
            with (contextlib.suppress(FileNotFoundError, BlockingIOError),
                  self._take(name) as text):
                if deal(text):
                    os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _check_owner(self) -> None:
        found = os.lstat(self.directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError('it belongs to somebody else')
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError('others can write to it')

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The directory's descriptor, while nobody else draws."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove_unfinished(self) -> None:
        """Nobody else draws now, so nobody will finish these any more."""
        for name in filter(self._unfinished.fullmatch,
                           os.listdir(self.directory)):
            os.unlink(self._path(name))

    @contextlib.contextmanager
    def _take(self, name: str) -> Iterator[str]:
        """The text of a ticket without a holder, locked meanwhile.

        :raises BlockingIOError: it has a holder
        :raises FileNotFoundError: it is not there any more
        """
        with open(self._path(name), 'r+', errors='replace') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError
            yield file.read()


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)

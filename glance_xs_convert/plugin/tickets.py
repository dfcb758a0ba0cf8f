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

"""Tickets, which are files that stay locked as long as their process lives.

The kernel releases the lock however the process ends, so an unlocked ticket
shows that its holder did not end properly. Locks of this kind, flock(2), are
local to the host, so a directory of tickets serves one host.
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
    """A ticket that this process holds.

    :ivar name: its name, which sorts after those of all earlier tickets
    """

    def __init__(self, path: str, file: io.FileIO) -> None:
        self.name = os.path.basename(path)
        self._path = path
        self._file = file

    def add(self, text: str) -> None:
        """Add text, which is durable when this returns.

        :raises OSError: the ticket cannot be written
        """
        os.write(self._file.fileno(), text.encode())
        os.fsync(self._file.fileno())

    def release(self) -> None:
        """Remove the ticket, because its holder has finished."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.drop()

    def drop(self) -> None:
        """Unlock the ticket and leave it for others to find."""
        self._file.close()


class Box:
    """The tickets of one kind in a directory.

    :param directory: the directory, or None for one named after the user's ID
                      below the directory for temporary files
    :param suffix: suffix of the tickets' names
    """

    def __init__(self, directory: str | None, suffix: str) -> None:
        self.directory = directory or os.path.join(
            tempfile.gettempdir(), f'glance-xs-convert-{os.getuid()}')
        self._suffix = suffix
        name = r'[0-9]{20}-[0-9a-f-]{36}' + re.escape(suffix)
        self._name = re.compile(name)
        self._unfinished = re.compile(r'\.' + name)

    def draw(self, text: str = '') -> Ticket:
        """Draw a new ticket with a text on it.

        :raises OSError: the ticket cannot be written, or the directory cannot
                         be trusted
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
        """Return the names of all tickets, in the order of drawing."""
        return sorted(filter(self._name.fullmatch,
                             os.listdir(self.directory)))

    def is_held(self, name: str) -> bool:
        """Whether a ticket exists and its holder is alive."""
        try:
            with self._take(name):
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def collect(self, deal: Callable[[str], bool]) -> None:
        """Remove the tickets whose holders are gone.

        :param deal: called with the text of each; meanwhile nobody else can
                     take the ticket, which stays unless the result is True
        :raises OSError: the tickets cannot be read or trusted
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
            raise PermissionError('it belongs to another user')
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError('other users can write to it')

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield the directory's descriptor while nobody else draws."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove_unfinished(self) -> None:
        """Remove unfinished tickets, while nobody else draws."""
        for name in filter(self._unfinished.fullmatch,
                           os.listdir(self.directory)):
            os.unlink(self._path(name))

    @contextlib.contextmanager
    def _take(self, name: str) -> Iterator[str]:
        """Lock a ticket without a holder, and yield its text.

        :raises BlockingIOError: the ticket has a holder
        :raises FileNotFoundError: the ticket does not exist any more
        """
        with open(self._path(name), 'r+', errors='replace') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError
            yield file.read()


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)

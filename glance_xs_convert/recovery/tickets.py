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
import errno
import fcntl
import io
import os
import re
import stat
import time
import uuid

#: The suffix of the tickets of those that wait for a turn, or have it.
TURN_SUFFIX = '.turn'
#: The suffix of the tickets of uploads whose data is being staged.
UPLOAD_SUFFIX = '.upload'

_SHARED = stat.S_IWGRP | stat.S_IWOTH


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
        data = text.encode()
        descriptor = self._file.fileno()
        written = os.write(descriptor, data)
        if written != len(data):
            # Half a line would spoil the next one.
            os.ftruncate(descriptor,
                         os.lseek(descriptor, -written, os.SEEK_CUR))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)

    def release(self) -> None:
        """Remove the ticket, because its holder has finished."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.drop()

    def drop(self) -> None:
        """Unlock the ticket and leave it for others to find."""
        self._file.close()


class Taken:
    """A ticket without a holder, which this process alone has taken.

    :ivar text: what its holder wrote on it
    """

    def __init__(self, path: str, text: str) -> None:
        self.text = text
        self._path = path

    def remove(self) -> None:
        """Remove the ticket, because nothing remains to do for it."""
        os.unlink(self._path)


class Box:
    """The tickets of one kind in a directory.

    :param directory: the directory, which is created if necessary, as is the
                      one above
    :param suffix: suffix of the tickets' names
    """

    def __init__(self, directory: str, suffix: str) -> None:
        self.directory = directory
        self._suffix = suffix
        name = r'[0-9]{20}-[0-9a-f-]{36}' + re.escape(suffix)
        self._name = re.compile(name)
        self._unfinished = re.compile(r'\.' + name)

    def draw(self, text: str | Callable[[], str] = '') -> Ticket:
        """Draw a new ticket with a text on it.

        :param text: the text, or a function that makes it while nobody else
                     draws
        :raises OSError: the ticket cannot be written, or the directory cannot
                         be trusted
        """
        for path in (os.path.dirname(self.directory), self.directory):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        self.check_owner()
        with self._locked() as directory:
            self._remove_unfinished()
            written = text if isinstance(text, str) else text()
            newest = max(self.names(), default='0')
            number = max(time.time_ns(), int(newest.partition('-')[0]) + 1)
            name = f'{number:020d}-{uuid.uuid4()}{self._suffix}'
            hidden = self._path(f'.{name}')
            file = io.FileIO(hidden, 'x', opener=_private)
            ticket = Ticket(self._path(name), file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                ticket.add(written)
                os.rename(hidden, self._path(name))
            except BaseException:
                ticket.drop()
                os.unlink(hidden)
                raise
            os.fsync(directory)
        return ticket

    def names(self) -> list[str]:
        """Return the names of all tickets, in the order of drawing."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(filter(self._name.fullmatch, found))

    def held(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of each ticket with a living holder."""
        for name in self.names():
            with (contextlib.suppress(FileNotFoundError),
                  open(self._path(name), errors='replace') as file):
                try:
                    # Others may look at the same moment.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield name, file.read()

    def remove_abandoned(self) -> None:
        """Remove the tickets whose holders are gone.

        :raises OSError: the tickets cannot be read or trusted
        """
        if os.path.lexists(self.directory):
            self.check_owner()
        for name in self.names():
            with (contextlib.suppress(FileNotFoundError, BlockingIOError),
                  self.take(name) as ticket):
                ticket.remove()

    @contextlib.contextmanager
    def take(self, name: str) -> Iterator[Taken]:
        """Take a ticket without a holder.

        :raises BlockingIOError: the ticket has a holder
        :raises FileNotFoundError: the ticket does not exist any more
        """
        path = self._path(name)
        with open(path, 'r+', errors='replace') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError
            yield Taken(path, file.read())

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def check_owner(self) -> None:
        """Check that other users cannot put tickets into the box.

        :raises PermissionError: they can
        """
        found = os.lstat(self.directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError('it belongs to another user')
        if found.st_mode & _SHARED:
            raise PermissionError('other users can write to it')
        mode = os.stat(os.path.dirname(self.directory)).st_mode
        if mode & _SHARED and not mode & stat.S_ISVTX:
            raise PermissionError(
                'other users can write to the directory above it')

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


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)

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


"""The archive as it comes in: counted, and hashed if that is wanted."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import io
import os
import select
from typing import BinaryIO
from typing import TYPE_CHECKING

from glance_xs_convert.converter.streams import digest
from glance_xs_convert import progress

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The archive is read in pieces of this many bytes.
_BUFFER = 64 * 1024
#: A read ends before the end of the file only with so many bytes at least,
#: so that whoever peeks sees the first sector.
_LEAST = 512
#: How often a read that waits for data looks whether it is still wanted, in
#: milliseconds.
_PATIENCE = 100


class Interrupted(Exception):
    """Nobody waits for the data any more."""


class Source(io.BufferedReader):
    """An archive that is being read.

    :param file: open for reading, from where it stands
    :param progress: ``source_size`` and ``source_read`` are kept up to date
    :param hashed: what every byte is added to, or None
    """

    def __init__(self, file: BinaryIO, progress: progress.Progress,
                 hashed: digest.Digest | None) -> None:
        self._tap = _Tap(file, progress, hashed)
        super().__init__(self._tap, _BUFFER)
        self._progress = progress
        self._digest = hashed

    @property
    def size_read(self) -> int:
        """How many bytes have been read in this pass."""
        return self._progress.source_read

    def sha256(self) -> str:
        """Of what has been read, in hexadecimal digits.

        Empty if nobody wanted it.
        """
        return self._digest.hexdigest() if self._digest else ''

    def interrupt(self) -> None:
        """Make a read that waits for data, in another thread, return."""
        self._tap.interrupted = True


@contextlib.contextmanager
def opened(file: BinaryIO, progress: progress.Progress, hashed: bool = False,
           ) -> Iterator[Source]:
    """Count, and perhaps hash, what is read of a file.

    :param hashed: whether the SHA-256 is wanted
    """
    if progress.source_size is None:
        progress.source_size = _size(file)
    with contextlib.ExitStack() as stack:
        yield Source(file, progress, stack.enter_context(digest.Digest())
                     if hashed else None)


def _size(file: BinaryIO) -> int | None:
    """How many bytes come; None if the file cannot tell."""
    if not file.seekable():
        return None
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size


class _Tap(io.RawIOBase):
    """A file whose readers are overheard.

    :ivar interrupted: set by another thread, it ends reads that wait
    """

    interrupted = False

    def __init__(self, file: BinaryIO, progress: progress.Progress,
                 hashed: digest.Digest | None) -> None:
        self._file = file
        self._progress = progress
        self._digest = hashed
        self._waiter = _waiter(file)
        self._readinto: Callable[[memoryview], int | None] = getattr(
            file, 'readinto', self._read_and_copy)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Start again: what was counted and hashed so far is forgotten."""
        self.interrupted = False
        self._progress.source_read = 0
        if self._digest is not None:
            self._digest.restart()
        return self._file.seek(offset, whence)

    def readinto(self, buffer: 'WriteableBuffer') -> int:
        """As much as comes, but no less than a sector before the end."""
        view = memoryview(buffer).cast('B')
        size = 0
        while size < min(_LEAST, len(view)):
            self._wait()
            count = self._readinto(view[size:])
            if count is None:
                continue
            if not count:
                break
            size += count
        self._progress.source_read += size
        if self._digest is not None:
            self._digest.update(view[:size])
        return size

    def _wait(self) -> None:
        """Wait for data, or until nobody waits for them any more.

        :raises Interrupted: that is so
        """
        while self._waiter is not None and not self._waiter.poll(_PATIENCE):
            if self.interrupted:
                raise Interrupted

    def _read_and_copy(self, view: memoryview) -> int:
        data = self._file.read(len(view))
        view[:len(data)] = data
        return len(data)


def _waiter(file: BinaryIO) -> 'select.poll | None':
    """What waits for data of a pipe or socket; None for other files.

    A buffered file may have data where its descriptor has none.
    """
    if file.seekable() or not isinstance(file, io.RawIOBase):
        return None
    try:
        descriptor = file.fileno()
    except OSError:
        return None
    waiter = select.poll()
    waiter.register(descriptor, select.POLLIN)
    return waiter

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


"""Reading the archive, counting its bytes and, on request, hashing them."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import io
import os
import select
import stat
from typing import BinaryIO
from typing import TYPE_CHECKING

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.streams import digest
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import units

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The archive is read in pieces of this many bytes.
_BUFFER = 64 * 1024
#: Before the end of the file, a read returns at least this many bytes, so that
#: a peek shows the first sector.
_LEAST = 512
#: The interval, in seconds, at which a read that waits for data checks whether
#: it is still wanted.
_PATIENCE = 0.1
#: From this number on, select(2) cannot wait for a descriptor.
_FD_SETSIZE = 1024


class Interrupted(Exception):
    """A read was interrupted because nobody needs the data."""


class Source(io.BufferedReader):
    """An archive that is being read.

    :param file: the archive, open for reading; it is read from its current
                 position
    :param progress: ``source_size`` and ``source_read`` are kept up to date
    :param hashed: the digest that every byte is added to, or None
    """

    def __init__(self, file: BinaryIO, progress: conversion_progress.Progress,
                 hashed: digest.Digest | None) -> None:
        self._tap = _Tap(file, progress, hashed)
        super().__init__(self._tap, _BUFFER)
        self._progress = progress
        self._digest = hashed

    @property
    def size_read(self) -> int:
        """The number of bytes read in this pass."""
        return self._progress.source_read

    def read_sparse(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; none at the end.

        Where the file has a hole, they are ``forward.ZEROS``, and the hole is
        not read.
        """
        if (size == len(forward.ZEROS) and self._tap.is_sparse
                and self._tap.skip_hole(self.tell())):
            return forward.ZEROS
        return self.read1(size)

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes read, in hexadecimal digits.

        It is empty if no digest was requested.
        """
        return self._digest.hexdigest() if self._digest else ''

    def interrupt(self) -> None:
        """Make a read return that waits for data in another thread."""
        self._tap.interrupted = True


@contextlib.contextmanager
def opened(file: BinaryIO, progress: conversion_progress.Progress,
           hashed: bool = False,
           ) -> Iterator[Source]:
    """Count, and optionally hash, the bytes that are read from a file.

    :param hashed: whether to compute the SHA-256
    """
    if progress.source_size is None:
        progress.source_size = _size(file)
    with contextlib.ExitStack() as stack:
        yield Source(file, progress, stack.enter_context(digest.Digest())
                     if hashed else None)


def _size(file: BinaryIO) -> int | None:
    """Return the number of bytes to come, or None if it is not known."""
    if not file.seekable():
        return None
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size


class _Tap(io.RawIOBase):
    """A file that counts and hashes the bytes read from it.

    :ivar interrupted: another thread sets this to end a read that waits
    :ivar is_sparse: whether it may have holes
    """

    interrupted = False

    def __init__(self, file: BinaryIO, progress: conversion_progress.Progress,
                 hashed: digest.Digest | None) -> None:
        self._file = file
        self._progress = progress
        self._digest = hashed
        self._waiter = _waiter(file)
        self.is_sparse = _is_sparse(file)
        self._readinto: Callable[[memoryview], int | None] = getattr(
            file, 'readinto', self._read_and_copy)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Start again, and forget the bytes counted and hashed so far."""
        self.interrupted = False
        self._progress.source_read = 0
        if self._digest is not None:
            self._digest.restart()
        return self._file.seek(offset, whence)

    def readinto(self, buffer: 'WriteableBuffer') -> int:
        """Read the data at hand, but at least a sector before the end."""
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

    def skip_hole(self, position: int) -> bool:
        """Skip a chunk of zeros, if the file has a hole there.

        :param position: place of the next byte that is wanted
        :returns: whether it was skipped
        """
        if not self.is_sparse or position != self._file.tell():
            return False
        descriptor, size = self._file.fileno(), len(forward.ZEROS)
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            data = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            # There is no more data: the file ends with a hole.
            data = os.fstat(descriptor).st_size
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)
        if data < position + size:
            return False
        self._file.seek(position + size)
        self._progress.source_read += size
        if self._digest is not None:
            self._digest.update(memoryview(forward.ZEROS))
        return True

    def _wait(self) -> None:
        """Wait for data.

        :raises Interrupted: nobody needs the data any more
        """
        while self._waiter is not None and not self._waiter():
            if self.interrupted:
                raise Interrupted

    def _read_and_copy(self, view: memoryview) -> int:
        data = self._file.read(len(view))
        view[:len(data)] = data
        return len(data)


def _is_sparse(file: BinaryIO) -> bool:
    """Whether a file has holes, as far as its size on the disk tells."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return False
    return (stat.S_ISREG(found.st_mode)
            and found.st_blocks * units.STAT_BLOCK < found.st_size)


def _waiter(file: BinaryIO) -> Callable[[], bool] | None:
    """Return a function that waits briefly for input.

    Only pipes and sockets need one; for other files, it is None.

    A buffered file may have data even if its descriptor does not.
    """
    if file.seekable() or not isinstance(file, io.RawIOBase):
        return None
    try:
        descriptor = file.fileno()
    except OSError:
        return None
    if descriptor < _FD_SETSIZE:
        # Unlike poll(2), it works where no descriptor can be added.
        return lambda: bool(select.select(
            [descriptor], [], [], _PATIENCE)[0])
    waiter = select.poll()
    waiter.register(descriptor, select.POLLIN)
    return lambda: bool(waiter.poll(_PATIENCE * 1000))

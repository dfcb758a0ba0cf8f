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


"""A file in which zeros take no space."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import ctypes
import errno
import os

from glance_xs_convert.converter.disk import sectors
from glance_xs_convert.converter.disk import zeros
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

_ZEROS = bytes(sectors.REGION_SIZE)

#: Modes of fallocate(2), from linux/falloc.h.
_KEEP_SIZE = 1
_PUNCH_HOLE = 2


class SparseFile:
    """A new file in which zeros take no space.

    :param descriptor: descriptor of an empty regular file, open for writing
    :ivar end: the end of the last byte written, as an offset
    :ivar bytes_written: bytes written so far; what replaces other data counts
                         as well
    """

    def __init__(self, descriptor: int) -> None:
        self.end = 0
        self.bytes_written = 0
        self._overwrites = False
        self._descriptor = descriptor
        self._punch_hole = _hole_puncher()

    def restart(self) -> None:
        self.set_size(0)
        self.end = 0
        self.bytes_written = 0

    def allocated(self) -> int:
        """Return the number of bytes that the file occupies."""
        with _writable():
            return os.fstat(self._descriptor).st_blocks * units.STAT_BLOCK

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        self._overwrites = overwrites

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        """Write the next ``size`` bytes of ``data``.

        :raises OutOfSpace: the file system is full
        :raises UnwritableTarget: the operating system refuses for another
                                  reason
        """
        for buffer, start, end in data.pieces(size):
            self._write_buffer(buffer, start, end, offset)
            offset += end - start

    def _write_buffer(self, buffer: bytes | bytearray, start: int, end: int,
                      offset: int) -> None:
        """Write a part of a buffer, and leave out its zeros."""
        view = memoryview(buffer)
        shift = offset - start
        for is_data, first, last in zeros.split(buffer, start, end, shift):
            if is_data:
                self._write(view[first:last], shift + first)
            elif self._overwrites:
                self.clear(shift + first, last - first)

    def write_sectors(self, offset: int, size: int, wanted: int,
                      data: forward.Reader) -> None:
        new = data.read(size)
        with _writable():
            old = bytearray(os.pread(self._descriptor, size, offset))
        old.extend(bytes(size - len(old)))
        sectors.overlay(old, new, wanted)
        self._write_buffer(old, 0, size, offset)

    def clear(self, offset: int, size: int) -> None:
        end = min(offset + size, self.end)
        # A page in which the file ends is only given up as a whole.
        beyond = -end % sectors.PAGE_SIZE if end == self.end else 0
        with _writable():
            while offset < end:
                offset = self._next_data(offset)
                if offset >= end:
                    return
                if self._punch_hole(self._descriptor, offset,
                                    end + beyond - offset):
                    return
                length = min(end - offset, len(_ZEROS))
                self._write(memoryview(_ZEROS)[:length], offset)
                offset += length

    def set_size(self, size: int) -> None:
        with _writable():
            os.ftruncate(self._descriptor, size)

    def check_room(self, size: int) -> None:
        own = self.allocated()
        with _writable():
            found = os.fstatvfs(self._descriptor)
        if not found.f_blocks:
            return
        free = found.f_bavail if os.geteuid() else found.f_bfree
        room = free * found.f_frsize + (own if self._overwrites else 0)
        if size > room:
            raise exceptions.OutOfSpace(
                f'there is not enough space for the raw disk: a layer needs '
                f'{text.exact_size(size)}, and {text.exact_size(room)} is '
                'left')

    def _next_data(self, offset: int) -> int:
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.end
            raise

    def _write(self, view: memoryview, offset: int) -> None:
        self.bytes_written += len(view)
        self.end = max(self.end, offset + len(view))
        with _writable():
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view = view[written:]
                offset += written


@contextlib.contextmanager
def _writable() -> Iterator[None]:
    """Turn the operating system's refusals into this package's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise exceptions.OutOfSpace(
                'there is no space left for the raw disk') from error
        if error.errno == errno.EFBIG:
            raise exceptions.LimitExceeded(
                'the raw disk is larger than the file system or a limit of '
                'the process allows') from error
        raise exceptions.UnwritableTarget(
            f'the raw disk cannot be written: {error.strerror}') from error


def _hole_puncher() -> Callable[[int, int, int], bool]:
    """Return a function that punches holes with Linux's fallocate(2).

    Where the system does not have it, the function fails.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fallocate = libc.fallocate
    except AttributeError:
        return lambda descriptor, offset, size: False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64,
                          ctypes.c_int64)

    def punch(descriptor: int, offset: int, size: int) -> bool:
        """Punch a hole, and say whether that worked."""
        return not fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE,
                             offset, size)

    return punch

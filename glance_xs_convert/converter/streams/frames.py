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

"""Decompression of data in frames, whichever library decompresses them.

Bzip2 and xz call a frame a stream.
"""

from collections.abc import Callable
import dataclasses
import re
from typing import Protocol

from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

#: The largest piece of compressed data to read at a time, in bytes.
_SOURCE_SIZE = 256 * 1024
#: How much a frame is handed first, in bytes; then twice as much each time.
#: What it does not need is copied, so many small frames would take long.
_FIRST_PIECE = 1024
_NOT_ZERO = re.compile(rb'[^\0]')
#: Gzip cannot compress better than this, and other formats do so only if the
#: data is nearly all zeros. The first _FREE bytes do not count, because a
#: small archive may be mostly holes.
_MAX_RATIO = 1032
_FREE = units.GIB


class Source(Protocol):
    """Compressed bytes."""

    def read1(self, size: int, /) -> bytes:
        """Return the bytes at hand, at most so many; none at the end."""


class Frame(Protocol):
    """A decompressor of one frame, as the standard library's are."""

    @property
    def eof(self) -> bool:
        """Whether the frame has been read to its end."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing can be decompressed without more data."""

    @property
    def unused_data(self) -> bytes:
        """The data that was handed over and follows the frame."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take more data, and return at most so many bytes."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of compressed data.

    :ivar name: its name, for errors
    :ivar frame: makes the decompressor of a frame
    :ivar errors: what it raises if the data is damaged
    :ivar refusal: turns the text of such an error into one of this package
    :ivar may_be_padded: whether zeros may follow a frame
    """

    name: str
    frame: Callable[[], Frame]
    errors: tuple[type[Exception], ...]
    refusal: Callable[[str], exceptions.XsConvertError]
    may_be_padded: bool


class Proportion:
    """A bound on how much compressed data may expand.

    :param name: name of the format, for errors
    :param size_read: returns how many of its bytes have been read
    """

    def __init__(self, name: str, size_read: Callable[[], int]) -> None:
        self._name = name
        self._size_read = size_read
        self._size = 0

    def count(self, size: int) -> None:
        """Add to the number of bytes that the data expands to.

        :raises LimitExceeded: they are out of proportion
        """
        self._size += size
        if self._size > _FREE + _MAX_RATIO * self._size_read():
            raise exceptions.LimitExceeded(
                f'the first {text.exact_size(self._size_read())} of '
                f'{self._name} data expand to {text.exact_size(self._size)} '
                'or more, which is out of proportion')


class Decompressor:
    """The decompressed bytes of one or more frames.

    :param source: the compressed bytes
    """

    def __init__(self, source: Source, form: Format) -> None:
        self._source = source
        self._form = form
        self._data, self._used = b'', 0
        self._size_read = 0
        self._proportion = Proportion(form.name, lambda: self._size_read)
        self._begin_frame()

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none after the last frame.

        :raises DamagedArchive: the data is cut short or damaged
        :raises LimitExceeded: the data expands too much, or needs too much
                               memory to decompress
        """
        data = b''
        while not data:
            if self._frame.eof:
                if not self._has_another_frame():
                    return b''
                self._begin_frame()
            try:
                data = self._frame.decompress(self._next_piece(), size)
            except self._form.errors as error:
                raise self._form.refusal(str(error)) from None
            if self._frame.eof:
                self._used -= len(self._frame.unused_data)
        self._proportion.count(len(data))
        return data

    def _begin_frame(self) -> None:
        self._frame = self._form.frame()
        self._piece_size = _FIRST_PIECE

    def _next_piece(self) -> bytes:
        """Return the data that the frame needs, if it needs any."""
        if not self._frame.needs_input:
            return b''
        if self._used == len(self._data) and not self._fill():
            raise exceptions.DamagedArchive(
                f'the {self._form.name} data ends early: the archive is cut '
                'short')
        piece = self._data[self._used:self._used + self._piece_size]
        self._used += len(piece)
        self._piece_size *= 2
        return piece

    def _has_another_frame(self) -> bool:
        """Skip what may pad a frame, and return whether anything follows."""
        while self._used < len(self._data) or self._fill():
            if not self._form.may_be_padded:
                return True
            found = _NOT_ZERO.search(self._data, self._used)
            self._used = found.start() if found else len(self._data)
            if found:
                return True
        return False

    def _fill(self) -> bool:
        """Read the data at hand, without waiting for more."""
        self._data, self._used = self._source.read1(_SOURCE_SIZE), 0
        self._size_read += len(self._data)
        return bool(self._data)


def damaged(name: str, reason: str) -> exceptions.DamagedArchive:
    """Make the error for damaged data.

    :param name: name of the format
    :param reason: the library's text
    """
    return exceptions.DamagedArchive(f'the {name} data is damaged ({reason})')

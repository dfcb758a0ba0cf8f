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

"""Reading from front to back, without copying and without going back."""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Protocol

from glance_xs_convert import units


#: A part of a buffer: the bytes from the first index up to the second.
Piece = tuple[bytes, int, int]
#: The same, behind its position.
Located = tuple[int, Piece]


#: A chunk of zeros that nobody has to read.
ZEROS = bytes(2 * units.MIB)


class EndOfData(EOFError):
    """The data ended before the requested number of bytes."""


class Reader(Protocol):
    """Anything that can only be read forward."""

    @property
    def position(self) -> int:
        """The number of bytes that have been read or skipped."""

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        :raises EndOfData: there are fewer
        """

    def skip(self, size: int) -> None:
        """Skip the next ``size`` bytes.

        :raises EndOfData: there are fewer
        """

    def pieces(self, size: int) -> Iterator[Piece]:
        """Yield the next ``size`` bytes as parts of the buffers.

        :raises EndOfData: there are fewer
        """

    def stored_pieces(self, size: int) -> Iterator[Located]:
        """Yield the next ``size`` bytes, and may leave out holes.

        :raises EndOfData: there are fewer
        """


def located(reader: Reader, size: int) -> Iterator[Located]:
    """Yield the next ``size`` bytes with their positions."""
    for piece in reader.pieces(size):
        _, start, end = piece
        yield reader.position - (end - start), piece


class PieceReader:
    """A Reader whose bytes all come from :meth:`pieces`.

    :ivar position: number of bytes that have been read or skipped
    """

    position: int

    def pieces(self, size: int) -> Iterator[Piece]:
        raise NotImplementedError

    def read(self, size: int) -> bytes:
        return b''.join([buffer[start:end]
                         for buffer, start, end in self.pieces(size)])

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

    def stored_pieces(self, size: int) -> Iterator[Located]:
        return located(self, size)


class ForwardReader(PieceReader):
    """A Reader of the concatenation of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.position = 0
        self._chunks = iter(chunks)
        self._chunk = b''
        self._used = 0

    def pieces(self, size: int) -> Iterator[Piece]:
        """Yield the next ``size`` bytes; the caller must take all pieces."""
        while size:
            start = self._used
            if start == len(self._chunk):
                if not self._fill():
                    raise self.end_of_data()
                continue
            end = min(start + size, len(self._chunk))
            self._used = end
            self.position += end - start
            size -= end - start
            yield self._chunk, start, end

    def read(self, size: int) -> bytes:
        start = self._used
        end = start + size
        if end <= len(self._chunk):
            self._used = end
            self.position += size
            return self._chunk[start:end]
        return super().read(size)

    @property
    def available(self) -> int:
        """The number of bytes that can be read without waiting."""
        return len(self._chunk) - self._used

    def at_end(self) -> bool:
        """Whether everything has been read."""
        while self._used == len(self._chunk):
            if not self._fill():
                return True
        return False

    def peek(self, size: int) -> bytes:
        """Return the next bytes without reading them; fewer at the end."""
        while self.available < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._chunk = self._chunk[self._used:] + chunk
            self._used = 0
        return self._chunk[self._used:self._used + size]

    def end_of_data(self) -> Exception:
        """Make the error to raise when the chunks end too early."""
        return EndOfData()

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        self._chunk = chunk or b''
        self._used = 0
        return chunk is not None


class Window:
    """A Reader of the next ``size`` bytes of another one.

    :ivar position: number of bytes of the window that have been read
    """

    def __init__(self, reader: Reader, size: int) -> None:
        self.size = size
        self._reader = reader
        self._start = reader.position

    @property
    def position(self) -> int:
        return self._reader.position - self._start

    @property
    def left(self) -> int:
        return self.size - self.position

    def read(self, size: int) -> bytes:
        return self._reader.read(self._bounded(size))

    def skip(self, size: int) -> None:
        self._reader.skip(self._bounded(size))

    def pieces(self, size: int) -> Iterator[Piece]:
        return self._reader.pieces(self._bounded(size))

    def stored_pieces(self, size: int) -> Iterator[Located]:
        for position, piece in self._reader.stored_pieces(self._bounded(size)):
            yield position - self._start, piece

    def _bounded(self, size: int) -> int:
        if size > self.left:
            raise EndOfData
        return size


class Rewound:
    """A Reader that repeats the bytes that were last read from another one.

    :param again: these bytes
    """

    def __init__(self, reader: Reader, again: bytes) -> None:
        self._reader = reader
        self._again = again
        self._used = 0

    @property
    def position(self) -> int:
        return self._reader.position - len(self._again) + self._used

    def read(self, size: int) -> bytes:
        again = self._take(size)
        return again + self._reader.read(size - len(again))

    def skip(self, size: int) -> None:
        self._reader.skip(size - len(self._take(size)))

    def pieces(self, size: int) -> Iterator[Piece]:
        again = self._take(size)
        if again:
            yield again, 0, len(again)
        yield from self._reader.pieces(size - len(again))

    def stored_pieces(self, size: int) -> Iterator[Located]:
        position = self.position
        again = self._take(size)
        if again:
            yield position, (again, 0, len(again))
        yield from self._reader.stored_pieces(size - len(again))

    def _take(self, size: int) -> bytes:
        again = self._again[self._used:self._used + size]
        self._used += len(again)
        return again

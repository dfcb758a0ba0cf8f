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

"""Bytes that are mostly zeros."""

from collections import abc
import io
import typing

ZEROS = bytes(1 << 20)

# A piece of a long run of bytes: the bytes themselves, or how many zeros.
Piece = bytes | int


class Sparse:
    """Extents at ascending offsets, and zeros everywhere else."""

    def __init__(self) -> None:
        self.size = 0
        self._extents: dict[int, bytes] = {}

    def put(self, offset: int, data: bytes) -> None:
        """Place ``data`` at ``offset``; extents must not overlap."""
        if data:
            self._extents[offset] = data
            self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        """Cut the content to ``size`` bytes, or fill it up with zeros."""
        for offset in [o for o in self._extents if o >= size]:
            del self._extents[offset]
        for offset, data in self._extents.items():
            if offset + len(data) > size:
                self._extents[offset] = data[:size - offset]
        self.size = size

    def pieces(self) -> abc.Iterator[Piece]:
        """Yield the content from front to back."""
        position = 0
        for offset, data in sorted(self._extents.items()):
            if offset < position:
                raise ValueError(f'extents overlap at byte {offset}')
            if offset > position:
                yield offset - position
            yield data
            position = offset + len(data)
        if position < self.size:
            yield self.size - position

    def tobytes(self) -> bytes:
        """Return the content as one bytes object."""
        target = io.BytesIO()
        write_pieces(target, self.pieces())
        return target.getvalue()

    def write_to(self, path: typing.Any) -> None:
        """Write the content to ``path``, leaving holes for the zeros."""
        with open(path, 'wb') as target:
            for piece in self.pieces():
                if isinstance(piece, int):
                    target.seek(piece, io.SEEK_CUR)
                else:
                    target.write(piece)
            target.truncate(self.size)


def write_pieces(target: typing.Any, pieces: abc.Iterable[Piece]) -> None:
    """Write every byte of ``pieces``, including zeros, to a file object."""
    for piece in pieces:
        if isinstance(piece, int):
            for _ in range(piece // len(ZEROS)):
                target.write(ZEROS)
            target.write(ZEROS[:piece % len(ZEROS)])
        else:
            target.write(piece)

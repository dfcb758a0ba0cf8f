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

"""Tar archives and gzip streams, intact and broken.

The standard library's ``tarfile`` packs the headers. The layout of the archive
and the gzip stream are made here, so that long runs of zeros cost nothing and
every rule can be broken.
"""

from collections import abc
import dataclasses
import functools
import io
import struct
import sys
import tarfile
import typing
import zlib

from testbed.images import sparse
from testbed.images import vhd

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GNU = tarfile.GNU_FORMAT
PAX = tarfile.PAX_FORMAT
USTAR = tarfile.USTAR_FORMAT

BLOCK = 512
END_MARKER = bytes(2 * BLOCK)

OLD_NAMES = ('snap.vhd', 'image.vhd', 'base.vhd')


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of an archive.

    ``claimed_size`` is the size in the header if it differs from that of the
    content. ``raw`` replaces everything else.
    """

    name: str
    content: bytes | sparse.Sparse = b''
    type: bytes = tarfile.REGTYPE
    linkname: str = ''
    claimed_size: int | None = None
    pax_headers: abc.Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    raw: abc.Iterable[sparse.Piece] | None = None

    @property
    def size(self) -> int:
        """The size in the header."""
        if self.claimed_size is not None:
            return self.claimed_size
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.size


def names(count: int, prefix: str = './') -> list[str]:
    """Return the names of a chain's members, leaf to base."""
    return [f'{prefix}{number}.vhd' for number in range(count)]


def chain_members(layers: abc.Sequence[vhd.Layer],
                  member_names: abc.Sequence[str] | None = None,
                  order: abc.Iterable[int] | None = None,
                  prefix: str = './') -> list[Member]:
    """Return a chain's members; ``order`` lists layers, 0 being the leaf."""
    if member_names is None:
        member_names = names(len(layers), prefix)
    if order is None:
        order = range(len(layers))
    return [Member(member_names[i], layers[i].image()) for i in order]


def directory(name: str = './') -> Member:
    """Make the entry that ``tar -c .`` writes first."""
    return Member(name, type=tarfile.DIRTYPE)


def padding(size: int) -> int:
    """Return the zeros that fill the last block of ``size`` bytes."""
    return -size % BLOCK


def header(member: Member, tar_format: int = GNU) -> bytes:
    """Return all header blocks of a member, including extended ones."""
    info = tarfile.TarInfo(member.name)
    info.type = member.type
    info.linkname = member.linkname
    info.size = member.size
    info.mode = 0o755 if member.type == tarfile.DIRTYPE else 0o644
    info.mtime = 1795380000
    info.uname = info.gname = 'root'
    info.pax_headers = dict(member.pax_headers)
    encoded: bytes = info.tobuf(typing.cast(typing.Any, tar_format))
    if member.type == tarfile.DIRTYPE and not member.name.endswith('/'):
        return encoded
    return with_name(encoded, member.name) if len(encoded) == BLOCK else (
        encoded)


def with_name(block: bytes, name: str) -> bytes:
    """Put ``name`` into a single header block unchanged.

    ``tarfile`` would normalize it.
    """
    encoded = name.encode()
    if len(encoded) > 100:
        return block
    return with_checksum(encoded.ljust(100, b'\0') + block[100:])


def with_checksum(block: bytes) -> bytes:
    """Recompute the checksum of a single header block."""
    cleared = block[:148] + b' ' * 8 + block[156:]
    return (block[:148] + b'%06o\0 ' % sum(cleared)) + block[156:]


def number(value: int) -> bytes:
    """Encode a number in 12 bytes: in octal, or in base 256 if necessary."""
    if value < 8 ** 11:
        return b'%011o\0' % value
    return b'\x80' + value.to_bytes(11, 'big')


def tar_pieces(members: abc.Iterable[Member], tar_format: int = GNU,
               end: bytes | int = END_MARKER) -> abc.Iterator[sparse.Piece]:
    """Yield the archive: its members, then its end marker."""
    for member in members:
        if member.raw is not None:
            yield from member.raw
            continue
        yield header(member, tar_format)
        content = member.content
        if isinstance(content, bytes):
            yield content + bytes(padding(len(content)))
        else:
            yield from content.pieces()
            yield padding(content.size)
    yield end


def gnu_sparse(name: str, content: sparse.Sparse) -> Member:
    """Make a member like ``tar --sparse --format=gnu`` (type ``S``)."""
    extents = _data_extents(content)
    stored = b''.join(data for _, data in extents)
    table = [number(offset) + number(len(data)) for offset, data in extents]
    table.append(number(content.size) + number(0))
    block = header(Member(name, type=b'S', claimed_size=len(stored)))
    extended = table[4:]
    block = with_checksum(
        block[:257] + b'ustar  \0' + block[265:386]
        + b''.join(table[:4]).ljust(96, b'\0')
        + (b'\1' if extended else b'\0') + number(content.size)
        + bytes(17))
    blocks = [block]
    while extended:
        entries, extended = extended[:21], extended[21:]
        blocks.append(b''.join(entries).ljust(504, b'\0')
                      + (b'\1' if extended else b'\0') + bytes(7))
    return Member(name, raw=[*blocks, stored, padding(len(stored))])


def pax_sparse(name: str, content: sparse.Sparse) -> Member:
    """Make a member like ``tar --sparse --format=posix`` (1.0)."""
    extents = _data_extents(content)
    numbers = [len(extents) + 1]
    for offset, data in extents:
        numbers += [offset, len(data)]
    numbers += [content.size, 0]
    table = b''.join(b'%d\n' % number for number in numbers)
    stored = table + bytes(padding(len(table)))
    stored += b''.join(data for _, data in extents)
    member = Member('GNUSparseFile.0/' + name, stored, pax_headers={
        'GNU.sparse.major': '1', 'GNU.sparse.minor': '0',
        'GNU.sparse.name': name, 'GNU.sparse.realsize': str(content.size)})
    return Member(name, raw=list(tar_pieces([member], PAX, end=0)))


def _data_extents(content: sparse.Sparse) -> list[tuple[int, bytes]]:
    """Return the stored parts of a file, each padded to whole blocks."""
    extents = []
    position = 0
    for piece in content.pieces():
        if isinstance(piece, int):
            position += piece
        else:
            extents.append((position, piece))
            position += len(piece)
    merged: list[tuple[int, bytes]] = []
    for offset, data in extents:
        start = offset - offset % BLOCK
        if merged and start <= merged[-1][0] + len(merged[-1][1]):
            before, kept = merged.pop()
            data = kept + bytes(offset - before - len(kept)) + data
            start = before
        else:
            data = bytes(offset - start) + data
        merged.append((start, data))
    return [(offset, data + bytes(min(padding(len(data)),
                                      content.size - offset - len(data))))
            for offset, data in merged]


# The lengths of the runs of zeros that are deflated once, from long to short;
# powers of 2.
ZERO_RUNS = (16 << 20, 1 << 20, 64 << 10)


@functools.cache
def _zero_run(length: int) -> tuple[bytes, list[int]]:
    """Deflate a run of zeros that can be put anywhere in a stream.

    Returns its deflate blocks, which refer to nothing before them and end on a
    byte, and its effect on the register of a CRC-32 as the columns of a matrix
    over GF(2).
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(length))
    packed += deflate.flush(zlib.Z_FULL_FLUSH)
    columns = [~zlib.crc32(b'\0', ~(1 << bit) & 0xFFFFFFFF) & 0xFFFFFFFF
               for bit in range(32)]
    for _ in range(length.bit_length() - 1):
        columns = [_apply(columns, column) for column in columns]
    return packed, columns


def _apply(columns: list[int], register: int) -> int:
    result = 0
    for bit, column in enumerate(columns):
        if register >> bit & 1:
            result ^= column
    return result


class GzipWriter:
    """Writes one gzip stream to a file object, with zeros at no cost.

    A new gzip member starts after ``member_size`` bytes.
    """

    HEADER = b'\x1f\x8b\x08\0\0\0\0\0\0\x03'

    def __init__(self, target: typing.Any, level: int = 1,
                 member_size: int | None = None) -> None:
        self._target = target
        self._level = level
        self._member_size = member_size
        self._open()

    def _open(self) -> None:
        self._deflate = zlib.compressobj(self._level, zlib.DEFLATED, -15)
        self._crc = 0
        self._length = 0
        self._target.write(self.HEADER)

    def close(self) -> None:
        """End the gzip member with its CRC and length."""
        self._target.write(self._deflate.flush())
        self._target.write(
            struct.pack('<II', self._crc, self._length & 0xFFFFFFFF))

    def write(self, data: bytes | memoryview) -> None:
        """Compress ``data``."""
        data = memoryview(data)
        while self._member_size and (
                self._length + len(data) >= self._member_size):
            room = self._member_size - self._length
            self._compress(data[:room])
            data = data[room:]
            self.close()
            self._open()
        self._compress(data)

    def _compress(self, data: memoryview) -> None:
        self._target.write(self._deflate.compress(data))
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)

    def zeros(self, count: int) -> None:
        """Compress ``count`` zeros."""
        if not self._member_size and count >= ZERO_RUNS[-1]:
            self._target.write(self._deflate.flush(zlib.Z_FULL_FLUSH))
            self._length += count
            for length in ZERO_RUNS:
                packed, columns = _zero_run(length)
                for _ in range(count // length):
                    self._target.write(packed)
                    self._crc = 0xFFFFFFFF & ~_apply(
                        columns, ~self._crc & 0xFFFFFFFF)
                count %= length
            self._length -= count
        sparse.write_pieces(self, [count])

    def write_pieces(self, pieces: abc.Iterable[sparse.Piece]) -> None:
        """Compress the pieces."""
        for piece in pieces:
            if isinstance(piece, int):
                self.zeros(piece)
            else:
                self.write(piece)


def gzipped(pieces: abc.Iterable[sparse.Piece], level: int = 1,
            member_size: int | None = None) -> bytes:
    """Return the pieces as a gzip stream."""
    target = io.BytesIO()
    writer = GzipWriter(target, level, member_size)
    writer.write_pieces(pieces)
    writer.close()
    return target.getvalue()


def zstandard(pieces: abc.Iterable[sparse.Piece], level: int = 1,
              frame_size: int | None = None,
              options: abc.Mapping[int, int] | None = None) -> bytes:
    """Return the pieces as zstandard data.

    A new frame starts after about ``frame_size`` bytes. ``options`` are the
    library's own, and replace ``level``.
    """
    target = io.BytesIO()
    write_zstandard(target, pieces, level, frame_size, options)
    return target.getvalue()


def write_zstandard(target: typing.Any, pieces: abc.Iterable[sparse.Piece],
                    level: int = 1, frame_size: int | None = None,
                    options: abc.Mapping[int, int] | None = None) -> None:
    """Write the pieces as zstandard data to a file object."""
    chosen = options or {zstd.CompressionParameter.compression_level: level,
                         zstd.CompressionParameter.checksum_flag: 1}
    compressor = zstd.ZstdCompressor(options=dict(chosen))
    length = 0
    for piece in pieces:
        size = piece if isinstance(piece, int) else len(piece)
        for start in range(0, size, len(sparse.ZEROS)):
            end = min(size, start + len(sparse.ZEROS))
            target.write(compressor.compress(
                sparse.ZEROS[:end - start] if isinstance(piece, int)
                else piece[start:end]))
        length += size
        if frame_size is not None and length >= frame_size:
            target.write(compressor.flush(compressor.FLUSH_FRAME))
            length = 0
    target.write(compressor.flush(compressor.FLUSH_FRAME))


def tgz(members: abc.Iterable[Member], tar_format: int = GNU,
        end: bytes | int = END_MARKER, level: int = 1,
        member_size: int | None = None) -> bytes:
    """Return a gzipped tar archive."""
    return gzipped(tar_pieces(members, tar_format, end), level, member_size)


def tar(members: abc.Iterable[Member], tar_format: int = GNU,
        end: bytes | int = END_MARKER) -> bytes:
    """Return a tar archive that is not compressed."""
    target = io.BytesIO()
    sparse.write_pieces(target, tar_pieces(members, tar_format, end))
    return target.getvalue()


def write_tgz(path: typing.Any, members: abc.Iterable[Member],
              tar_format: int = GNU, level: int = 1) -> None:
    """Write a gzipped tar archive to ``path`` piece by piece."""
    with open(path, 'wb') as target:
        writer = GzipWriter(target, level)
        writer.write_pieces(tar_pieces(members, tar_format))
        writer.close()


def flipped(data: bytes, bit: int) -> bytes:
    """Flip one bit, counted from the start of ``data``."""
    position, shift = divmod(bit, 8)
    return (data[:position] + bytes([data[position] ^ 1 << shift])
            + data[position + 1:])

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

"""The archive: compression by magic bytes, tar members, the last checksum.

The headers are read by the standard library's ``tarfile``; the members'
data pass by it, straight from the decompressor's buffers. Source for the
format: POSIX.1-2017, "pax Interchange Format", and the GNU tar manual,
"Basic Tar Format".
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import io
import os
import re
import tarfile
from typing import BinaryIO
from typing import cast
from typing import Protocol
from typing import TypeAlias

from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import limits as limits_
from glance_xs_convert import text

#: What one member's headers (long names, pax records) may amount to, what
#: those of all members may, and what may be read of them at once.
_MAX_HEADERS = 64 * 1024
_MAX_ALL_HEADERS = 2 * 1024 ** 2
_MAX_HEADER_READ = 16 * 1024
#: The standard library's pax parser is quadratic in the length of a number,
#: and copies the global records for each member.
_ENDLESS_NUMBER = re.compile(rb'[0-9]{64}')
_MAX_GLOBAL_RECORDS = 100
_PAX_LENGTH = re.compile(rb'[1-9][0-9]{0,4} ')
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_TYPE = slice(156, 157)
#: What may follow the end-of-archive marker: the rest of tar's last record.
_MAX_TRAILER = 16 * 1024 ** 2
#: A layer of the largest disk with its tables, twice: tar headers that
#: claim more are not believed.
_MAX_MEMBER_SIZE = 2 * layout.MAX_DISK_SIZE


_ZEROS = bytes(64 * 1024)

#: First bytes of what people take for a XenServer image.
_KNOWN_MAGIC = (
    (layout.Footer.COOKIE, 'a VHD that is in no archive'),
    (b'vhdxfile', 'a VHDX disk'),
    (b'QFI\xfb', 'a qcow2 disk'),
    (b'KDMV', 'a VMDK disk'),
    (b'PK\x03\x04', 'a zip archive'),
    (b'BZh', 'bzip2 data'),
    (b'\xfd7zXZ\x00', 'xz data'),
    (b'\x28\xb5\x2f\xfd', 'zstandard data'),
    (b'<', 'text'),
)


class Member:
    """A regular file in the archive.

    :ivar index: its place among all members of the archive, from 0
    :ivar path: its name as it stands in the archive
    :ivar name: the same, fit to be shown
    :ivar size: in bytes
    :ivar data: a Reader of its bytes, valid until the next member is taken
    """

    def __init__(self, index: int, path: str, size: int,
                 data: forward.Reader) -> None:
        self.index = index
        self.path = path
        self.name = text.printable(path)
        self.size = size
        self.data = data


class Members(Protocol):
    """What holds the VHDs of one disk."""

    def members(self) -> Iterator[Member]:
        """The regular files, in their order."""

    def ignore(self, member: Member) -> None:
        """Leave a member aside."""


Opener: TypeAlias = Callable[
    [io.BufferedReader, limits_.Limits],
    contextlib.AbstractContextManager[Members]]


class Archive:
    """A tar archive, gzipped or plain, read once from front to back.

    :param chunks: the decompressed bytes
    :param has_checksum: the chunks only end where all the data have come,
                         so the archive may lack its end-of-archive marker
    """

    def __init__(self, chunks: Iterable[bytes], limits: limits_.Limits,
                 has_checksum: bool) -> None:
        self._limits = limits
        self._has_checksum = has_checksum
        self._bytes = _ArchiveReader(chunks)
        self._headers = _HeaderSource(self._bytes)
        self._ignored_size = 0

    def members(self) -> Iterator[Member]:
        """The regular files, in their order; then everything is checked.

        :raises NotAnArchive: the data are no tar archive
        :raises DamagedArchive: the data are cut short or corrupt
        :raises UnsafeMember: a member is no file and named like a VHD, or
                              any member's name leads out of the archive
        :raises LimitExceeded: more members than allowed
        """
        for index, info in enumerate(self._infos()):
            if index >= self._limits.max_members:
                raise exceptions.LimitExceeded(
                    f'the archive has more than {self._limits.max_members} '
                    'members')
            name = text.printable(info.name)
            self._bytes.inside = name
            _check_name(info, name)
            if info.isreg():
                yield self._member(index, info, name)
            else:
                self._count_ignored(
                    self._tar.offset - self._bytes.position, name)
            self._skip_to(self._tar.offset, name)
            self._bytes.inside = None
        self._drain()

    def ignore(self, member: Member) -> None:
        """Leave a member aside; so many bytes of them are allowed.

        :raises LimitExceeded: they are too many
        """
        self._count_ignored(member.size, member.name)

    def _count_ignored(self, size: int, name: str) -> None:
        self._ignored_size += size
        if self._ignored_size > self._limits.max_ignored_size:
            raise exceptions.LimitExceeded(
                'the files in the archive that are no part of the disk have '
                f'more than {self._limits.max_ignored_size} bytes together',
                member=name)

    def _infos(self) -> Iterator[tarfile.TarInfo]:
        """All members' headers, up to the end-of-archive marker."""
        first = True
        while True:
            self._headers.start_member()
            try:
                if first:
                    info = self._open()
                else:
                    info = tarfile.TarInfo.fromtarfile(self._tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                return
            except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
                if self._has_checksum and not first:
                    return
                raise exceptions.DamagedArchive(
                    'the archive is cut short: it has no end-of-archive '
                    'marker') from None
            except (tarfile.TarError, ValueError, OverflowError,
                    IndexError, RecursionError) as error:
                raise exceptions.DamagedArchive(
                    f'a tar header is damaged ({text.printable(str(error))})',
                    offset=self._bytes.position) from None
            if len(self._tar.pax_headers) > _MAX_GLOBAL_RECORDS:
                raise exceptions.DamagedArchive(
                    f'the archive has more than {_MAX_GLOBAL_RECORDS} global '
                    'pax records')
            first = False
            yield info

    def _open(self) -> tarfile.TarInfo:
        start = self._headers.peek()
        if start == bytes(tarfile.BLOCKSIZE):
            raise tarfile.EOFHeaderError  # type: ignore[attr-defined]
        try:
            tarfile.TarInfo.frombuf(start, 'utf-8', 'backslashreplace')
        except tarfile.TarError:
            raise exceptions.NotAnArchive(
                'the data are no tar archive of VHDs but '
                + _describe(start)) from None
        self._tar = tarfile.TarFile(
            fileobj=cast(BinaryIO, self._headers), mode='r',
            encoding='utf-8', errors='backslashreplace')
        info = self._tar.next()
        if info is None:
            raise tarfile.ReadError('the first header has no member')
        return info

    def _member(self, index: int, info: tarfile.TarInfo, name: str,
                ) -> Member:
        stored = self._tar.offset - self._bytes.position
        if not 0 <= info.size <= _MAX_MEMBER_SIZE:
            raise exceptions.LimitExceeded(
                f'a size of {info.size} bytes is more than any VHD has',
                member=name)
        data: forward.Reader
        sparse = getattr(info, 'sparse', None)
        if sparse is None:
            data = forward.Window(self._bytes, info.size)
        else:
            extents = _checked_sparse_map(sparse, info.size, stored, name)
            self._check_holes(
                info.size - sum(size for _, size in extents), name)
            data = SparseReader(self._bytes, info.size, extents)
        return Member(index, info.name, info.size, data)

    def _check_holes(self, size: int, name: str) -> None:
        if size > self._limits.max_ignored_size:
            raise exceptions.LimitExceeded(
                f'tar left out {size} bytes of it as holes, and the limit is '
                f'{self._limits.max_ignored_size}', member=name)

    def _skip_to(self, offset: int, name: str) -> None:
        if not self._bytes.position <= offset:
            raise exceptions.DamagedArchive(
                'its tar header gives it a negative size', member=name)
        self._bytes.skip(offset - self._bytes.position)

    def _drain(self) -> None:
        """Read to the end, for the compressed data's last checksum."""
        end = self._bytes.position + _MAX_TRAILER
        while not self._bytes.at_end():
            if self._bytes.position >= end:
                raise exceptions.DamagedArchive(
                    'the archive does not end where its end-of-archive '
                    'marker is')
            self._bytes.skip(self._bytes.available)


class BareVhd:
    """One VHD without an archive around it, in an archive's place."""

    def __init__(self, name: str, size: int, chunks: Iterable[bytes],
                 ) -> None:
        self._member = Member(0, name, size, _ArchiveReader(chunks))

    def members(self) -> Iterator[Member]:
        """The VHD."""
        yield self._member

    def ignore(self, member: Member) -> None:
        """Nothing is ever left aside."""


@contextlib.contextmanager
def open_archive(source: io.BufferedReader, limits: limits_.Limits,
                 ) -> Iterator[Archive]:
    """Open an archive, with a helper thread that decompresses ahead.

    :param source: the archive, gzipped or not, with a ``peek`` method that
                   returns two bytes if there are so many
    :raises UnreadableSource: reading fails
    """
    with _readable():
        magic = source.peek(len(decompress.MAGIC))
    is_gzip = magic.startswith(decompress.MAGIC)
    read = decompress.Gunzip(source).read if is_gzip else source.read

    with forward.ReadAhead(_guarded(read)) as chunks:
        yield Archive(chunks, limits, has_checksum=is_gzip)


@contextlib.contextmanager
def open_bare_vhd(source: io.BufferedReader, limits: limits_.Limits,
                  ) -> Iterator[BareVhd]:
    """Open a VHD that is in no archive.

    :param source: the VHD, from its start; seekable
    :raises UnreadableSource: reading fails
    """
    with _readable():
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
    with forward.ReadAhead(_guarded(source.read)) as chunks:
        yield BareVhd('image.vhd', size, chunks)


def _guarded(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def guarded(size: int) -> bytes:
        with _readable():
            return read(size)

    return guarded


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'the archive cannot be read: {error.strerror or error}'
        ) from error


class SparseReader:
    """A Reader of a member that tar stored without its holes.

    :param stored: what is stored, one extent after the other
    :param size: of the member with its holes, in bytes
    :param extents: (offset in the member, size), in ascending order
    """

    def __init__(self, stored: forward.Reader, size: int,
                 extents: list[tuple[int, int]]) -> None:
        self.position = 0
        self._stored = stored
        self._extents = iter([*extents, (size, 0)])
        self._start, self._end = 0, 0
        self._next_extent()

    def read(self, size: int) -> bytes:
        return b''.join([buffer[start:end]
                         for buffer, start, end in self.pieces(size)])

    def skip(self, size: int) -> None:
        for reader, part in self._parts(size):
            if reader is not None:
                reader.skip(part)

    def pieces(self, size: int) -> Iterator[forward.Piece]:
        for reader, part in self._parts(size):
            if reader is not None:
                yield from reader.pieces(part)
                continue
            while part:
                length = min(part, len(_ZEROS))
                yield _ZEROS, 0, length
                part -= length

    def _parts(self, size: int) -> Iterator[
            tuple[forward.Reader | None, int]]:
        """Split the next ``size`` bytes into stored parts and holes."""
        while size:
            hole = self._start - self.position
            if hole > 0:
                reader, part = None, min(size, hole)
            else:
                reader = self._stored
                part = min(size, self._end - self.position)
            if part:
                size -= part
                self.position += part
                yield reader, part
            else:
                self._next_extent()

    def _next_extent(self) -> None:
        try:
            start, size = next(self._extents)
        except StopIteration:
            raise forward.EndOfData from None
        self._start, self._end = start, start + size


class _ArchiveReader(forward.ForwardReader):
    """The decompressed bytes; says which member they end in.

    :ivar inside: the member that is being read, or None
    """

    inside: str | None = None

    def end_of_data(self) -> Exception:
        return exceptions.DamagedArchive(
            'the archive is cut short', member=self.inside,
            offset=self.position)


class _HeaderSource:
    """What ``tarfile`` reads headers from: bounded, and never backwards."""

    def __init__(self, reader: _ArchiveReader) -> None:
        self._reader = reader
        self._peeked = b''
        self._left = 0
        self._all_left = _MAX_ALL_HEADERS
        self._kind = b''
        self._expects_header = True

    def start_member(self) -> None:
        self._left = min(_MAX_HEADERS, self._all_left)
        self._expects_header = True

    def peek(self) -> bytes:
        """The first header; fewer bytes where the archive is shorter."""
        self._peeked = self._read(tarfile.BLOCKSIZE)
        return self._peeked

    def tell(self) -> int:
        return self._reader.position - len(self._peeked)

    def seek(self, offset: int) -> None:
        """``tarfile`` gives up a damaged header by going elsewhere."""
        raise exceptions.DamagedArchive('a tar header is damaged',
                                        offset=self._reader.position)

    def read(self, size: int) -> bytes:
        if self._peeked:
            data, self._peeked = self._peeked, b''
        else:
            data = self._read_bounded(size)
        self._follow(data)
        return data

    def _read_bounded(self, size: int) -> bytes:
        if not 0 <= size <= min(_MAX_HEADER_READ, self._left):
            raise exceptions.DamagedArchive(
                f'more than {_MAX_HEADERS // 1024} KiB of tar headers '
                f'precede a member, or {_MAX_ALL_HEADERS // 1024 ** 2} MiB '
                'all members', offset=self._reader.position)
        self._left -= size
        self._all_left -= size
        return self._read(size)

    def _follow(self, data: bytes) -> None:
        """Tell headers from what belongs to them, and check pax records."""
        if self._expects_header:
            self._kind = data[_TYPE]
            self._expects_header = False
        elif self._kind in _PAX_TYPES:
            self._check_pax(data)
            self._expects_header = True
        elif self._kind in _LONG_NAME_TYPES:
            self._expects_header = True

    def _check_pax(self, data: bytes) -> None:
        """The records follow each other, and only zeros follow the last."""
        start = 0
        while start < len(data) and data[start]:
            length = _PAX_LENGTH.match(data, start)
            end = start + int(length[0]) if length else start
            record = data[start:end]
            if len(record) != end - start or not (
                    record.endswith(b'\n') and b'=' in record):
                break
            start = end
        if data[start:].strip(b'\0') or _ENDLESS_NUMBER.search(data):
            raise exceptions.DamagedArchive(
                'the records of an extended tar header are damaged',
                offset=self._reader.position)

    def _read(self, size: int) -> bytes:
        data = b''
        while len(data) < size and not self._reader.at_end():
            data += self._reader.read(
                min(size - len(data), self._reader.available))
        return data


def _check_name(info: tarfile.TarInfo, name: str) -> None:
    if info.name.startswith('/') or '..' in info.name.split('/'):
        raise exceptions.UnsafeMember(
            'the name leads out of the archive', member=name)
    if not (info.isreg() or info.isdir()) and (
            info.name.lower().endswith('.vhd')):
        raise exceptions.UnsafeMember(
            'a VHD must be a regular file, not a link or a device',
            member=name)


def _checked_sparse_map(extents: list[tuple[int, int]], size: int,
                        stored: int, name: str) -> list[tuple[int, int]]:
    end = 0
    for offset, length in extents:
        if (offset, length) == (0, 0):
            continue
        if not end <= offset <= offset + length <= size:
            break
        end = offset + length
    else:
        if 0 <= sum(length for _, length in extents) <= stored:
            return [extent for extent in extents if extent[1]]
    raise exceptions.DamagedArchive(
        'the map of its holes in the tar header is damaged', member=name)


def _describe(start: bytes) -> str:
    if not start:
        return 'empty'
    for magic, what in _KNOWN_MAGIC:
        if start.startswith(magic):
            return what
    return f'something that begins with 0x{start[:8].hex()}'

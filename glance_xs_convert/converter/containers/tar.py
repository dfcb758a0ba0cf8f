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


"""A tar archive, read once from front to back.

The standard library's ``tarfile`` reads the headers. The members' data
bypasses it, straight from the decompressor's buffers.
"""

from collections.abc import Iterator
import contextlib
import tarfile
from typing import BinaryIO
from typing import cast

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import tar_headers
from glance_xs_convert.converter.containers import tar_sparse
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import text
from glance_xs_convert import units

#: ``tarfile`` copies the global pax records for each member.
_MAX_GLOBAL_RECORDS = 100
#: How much may follow the end-of-archive marker: the rest of tar's last
#: record.
_MAX_TRAILER = 16 * units.MIB
#: Twice the size of a layer of the largest disk with its tables. Larger sizes
#: in tar headers are not believed.
_MAX_MEMBER_SIZE = 2 * image_limits.MAX_VIRTUAL_SIZE


#: What members are that are neither files nor directories.
_SPECIAL = {
    tarfile.LNKTYPE: 'a hard link to',
    tarfile.SYMTYPE: 'a symbolic link to',
    tarfile.FIFOTYPE: 'a named pipe',
    b'M': 'the rest of a file that begins in another volume of the archive',
}


class Archive:
    """A tar archive, gzipped or plain, read once from front to back.

    :param data: the decompressed bytes, which begin with a tar header
    :param has_checksum: whether the data can only end after all of the bytes,
                         so that the end-of-archive marker may be missing
    """

    def __init__(self, data: member.ArchiveReader, limits: image_limits.Limits,
                 has_checksum: bool) -> None:
        self._limits = limits
        self._has_checksum = has_checksum
        self._is_export = False
        self._special: str | None = None
        self._counted = 0
        self._files = self._read()
        self._early: list[member.Member] = []
        self._bytes = data
        self._headers = tar_headers.HeaderGuard(self._bytes)
        self._ignored_size = 0

    def first(self) -> str | None:
        """Return the path of the first regular file, or None."""
        while not self._early or self._early[-1].special:
            found = next(self._files, None)
            if found is None:
                return None
            self._early.append(found)
        return self._early[-1].path

    def expect_export(self) -> None:
        """Expect a XenServer export.

        It may have any number of files, which its reader counts. All of them
        must be regular files.

        :raises UnsafeMember: there has been another kind of file already
        """
        self._is_export = True
        self._headers.expect_many()
        if self._special is not None:
            raise _special_file(self._special)

    def members(self) -> Iterator[member.Member]:
        """Yield the files in their order, then check the end.

        Links and devices are among them, except in an export.

        :raises DamagedArchive: the data is cut short or corrupt
        :raises UnsafeMember: a member's name leads out of the archive, or an
                              export holds a link or a device
        :raises LimitExceeded: there are more members than allowed
        """
        yield from self._early
        yield from self._files

    def _read(self) -> Iterator[member.Member]:
        for index, info in enumerate(self._infos()):
            name = text.printable(info.name)
            self._count(info)
            self._bytes.inside = name
            self._check(info, name)
            if _is_file(info):
                yield self._member(index, info, name)
            else:
                self._count_ignored(
                    self._tar.offset - self._bytes.position, name)
                if not info.isdir():
                    yield _special_member(index, info)
            self._skip_to(self._tar.offset, name)
            self._bytes.inside = None
        self._drain()

    def ignore(self, item: member.Member) -> None:
        """Note that a member does not belong to the disk.

        :raises LimitExceeded: such members have too many bytes together
        """
        self._count_ignored(item.size, item.name)

    def _count(self, info: tarfile.TarInfo) -> None:
        if self._is_export and _is_file(info):
            return
        self._counted += 1
        if self._counted > self._limits.max_members:
            raise exceptions.LimitExceeded(
                f'the archive has more than {self._limits.max_members} '
                'members')

    def _check(self, info: tarfile.TarInfo, name: str) -> None:
        """Check that a member may be in the archive at all."""
        if info.name.startswith('/') or '..' in info.name.split('/'):
            raise exceptions.UnsafeMember(
                'its name leads out of the archive', member=name)
        if _is_file(info) or info.isdir():
            return
        self._special = name
        if self._is_export:
            raise _special_file(name)

    def _count_ignored(self, size: int, name: str) -> None:
        self._ignored_size += size
        if self._ignored_size > self._limits.max_ignored_size:
            raise exceptions.LimitExceeded(
                'the files in the archive that do not belong to the disk have '
                f'more than {text.exact_size(self._limits.max_ignored_size)} '
                'together', member=name)

    def _infos(self) -> Iterator[tarfile.TarInfo]:
        """Yield all members' headers up to the end-of-archive marker."""
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
        self._tar = tarfile.TarFile(
            fileobj=cast(BinaryIO, self._headers), mode='r',
            encoding='utf-8', errors='backslashreplace')
        info = self._tar.next()
        if info is None:
            raise tarfile.ReadError('the first header is not of a member')
        return info

    def _member(self, index: int, info: tarfile.TarInfo, name: str,
                ) -> member.Member:
        stored = self._tar.offset - self._bytes.position
        if info.size < 0:
            raise exceptions.DamagedArchive(
                f'its size of {text.exact_size(info.size)} is negative',
                member=name)
        if info.size > _MAX_MEMBER_SIZE:
            raise exceptions.LimitExceeded(
                f'its size of {text.exact_size(info.size)} is larger than any '
                'VHD can be', member=name)
        data: forward.Reader
        sparse = getattr(info, 'sparse', None)
        if sparse is None:
            data = forward.Window(self._bytes, info.size)
        else:
            extents = tar_sparse.checked_map(
                sparse, info.size, stored, name)
            data = tar_sparse.SparseReader(
                self._bytes, info.size, extents, name,
                self._limits.max_ignored_size)
        return member.Member(index, info.name, info.size, data)

    def _skip_to(self, offset: int, name: str) -> None:
        if not self._bytes.position <= offset:
            raise exceptions.DamagedArchive(
                'its tar header gives it a negative size', member=name)
        self._bytes.skip(offset - self._bytes.position)

    def _drain(self) -> None:
        """Read to the end, for the compressed data's last checksum.

        :raises DamagedArchive: another archive follows, or too much data
        """
        end = self._bytes.position + _MAX_TRAILER
        is_zero = True
        while not self._bytes.at_end():
            if self._bytes.position >= end:
                raise exceptions.DamagedArchive(
                    'the archive does not end after its end-of-archive '
                    'marker')
            if not is_zero:
                self._bytes.skip(self._bytes.available)
                continue
            block = self._bytes.peek(tarfile.BLOCKSIZE)
            is_zero = not any(block)
            if not is_zero:
                _check_no_header(block)
            self._bytes.skip(len(block))


def _is_file(info: tarfile.TarInfo) -> bool:
    """Whether a member is a file, as those of unknown types are.

    Source: POSIX.1-2017, ``pax``, "ustar Interchange Format", ``typeflag``.
    """
    return info.isreg() or not (
        info.type in tarfile.SUPPORTED_TYPES or info.type in _SPECIAL)


def _check_no_header(block: bytes) -> None:
    """:raises DamagedArchive: a block is the header of another archive"""
    with contextlib.suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(block, 'utf-8', 'backslashreplace')
        raise exceptions.DamagedArchive(
            'another archive follows the end-of-archive marker: give each by '
            'itself, or unpack them and pack one')


def _special_member(index: int, info: tarfile.TarInfo) -> member.Member:
    """Return a link or a device as a member without data."""
    kind = _SPECIAL.get(info.type, 'a device')
    linked = info.linkname if info.islnk() or info.issym() else ''
    return member.Member(
        index, info.name, 0, forward.ForwardReader(()),
        f'{kind} {text.printable(linked)}' if linked else kind, linked)


def _special_file(name: str) -> exceptions.UnsafeMember:
    return exceptions.UnsafeMember(
        'a XenServer export must not hold links or devices', member=name)

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


"""Telling the format of an image by its first bytes and its first file.

The declared formats do not help: clients declare all of these images alike.
"""

import enum
import re
import tarfile

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import foreign
from glance_xs_convert.converter.ovf import envelope
from glance_xs_convert.converter.streams import bzip2
from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import xz
from glance_xs_convert.converter.streams import zstandard
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import names
from glance_xs_convert.converter.xva import chunks
from glance_xs_convert.converter.xva import export
from glance_xs_convert.converter.xva import ova_xml
from glance_xs_convert import exceptions
from glance_xs_convert import text

#: How many bytes tell an image, and how many what else the data may be; and
#: how many are examined at the end.
HEAD_SIZE = tarfile.BLOCKSIZE
START_SIZE = foreign.START_SIZE
TAIL_SIZE = layout.Footer.SIZE

_NAMES_OF_A_VHD_DIRECTORY = re.compile(
    r'(?:.*/)?(?:chunk-filters\.json|blocks/[0-9]+/[0-9]{1,3})')
_ALIAS = '.alias.vhd'


class Wrapping(enum.Enum):
    """The compression of data."""

    NONE = 'not at all'
    GZIP = 'gzip'
    BZIP2 = 'bzip2'
    XZ = 'xz'
    ZSTANDARD = 'zstandard'


class Content(enum.Enum):
    """The container of the disk."""

    VHDS = 'a chain of VHDs'
    EXPORT = 'a XenServer export'
    PACKAGE = 'an OVF package'


def wrapping(start: bytes) -> Wrapping:
    """Return the compression of data with these first bytes."""
    if start.startswith(decompress.MAGIC):
        return Wrapping.GZIP
    if bzip2.is_bzip2(start):
        return Wrapping.BZIP2
    if start.startswith(xz.MAGIC):
        return Wrapping.XZ
    if zstandard.is_zstandard(start):
        return Wrapping.ZSTANDARD
    return Wrapping.NONE


def is_vhd(start: bytes) -> bool:
    """Whether data with these first bytes is a dynamic or differencing VHD."""
    return start.startswith(layout.Footer.cookie)


def is_tar(start: bytes) -> bool:
    """Whether data with these first bytes is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(
            start[:tarfile.BLOCKSIZE], 'utf-8', 'backslashreplace')
    except tarfile.TarError:
        return False
    return True


def is_vhd_by_its_end(tail: bytes) -> bool:
    """Whether data with these last bytes is a VHD, such as a fixed one."""
    return layout.Footer.at_end_of(tail) is not None


def disk_size(start: bytes) -> int:
    """Return the size of a VHD's disk in bytes, or 0 if it is not known yet.

    :param start: the first bytes of the VHD
    """
    try:
        return layout.Footer.unpack(start[:layout.Footer.SIZE]).current_size
    except layout.LayoutError:
        return 0


def content(first: str | None) -> Content:
    """Return the kind of content of a tar archive.

    :param first: path of its first file, or None if it has none
    """
    if first is not None and _is_of_an_export(first):
        return Content.EXPORT
    if first is not None and envelope.is_descriptor(first):
        return Content.PACKAGE
    return Content.VHDS


def may_be_fixed(start: bytes) -> bool:
    """Whether data that begins like this may be a fixed VHD.

    Only its end would tell.

    :param start: ``START_SIZE`` bytes, decompressed, or all of the data
    """
    found = foreign.identify(start)
    return len(start) >= layout.SECTOR_SIZE + layout.Footer.SIZE and (
        found is None or found.is_content)


def looks_like_a_disk(start: bytes) -> bool:
    """Whether data with these first bytes is a disk that holds something.

    :param start: ``START_SIZE`` bytes, or all of the data
    """
    found = foreign.identify(start)
    return found is not None and found.is_content and (
        found is not foreign.EMPTY_START)


def not_an_archive(start: bytes) -> exceptions.NotAnArchive:
    """Make the error for data in an unknown format.

    :param start: ``START_SIZE`` bytes, decompressed, or all of the data
    """
    found = foreign.identify(start)
    if found is None:
        found = foreign.Foreign(f'data that starts with 0x{start[:8].hex()}')
    advice = f': {found.advice}' if found.advice else ''
    return exceptions.NotAnArchive(
        'the image is neither a VHD, nor a tar archive of VHDs, nor a '
        f'XenServer export, nor an OVA; it is {found.what}{advice}')


def wrapped_twice(outer: Wrapping, inner: Wrapping, name: str | None = None,
                  ) -> exceptions.NotAnArchive:
    """Make the error for compressed data that is compressed once more.

    :param name: name of the member that it is; None for the whole image
    """
    return exceptions.NotAnArchive(
        f'it is {inner.value} data inside {outer.value} data: decompress it '
        'once before you upload it', member=name)


def not_a_vhd(start: bytes, name: str) -> exceptions.ForeignDisk:
    """Make the error for a disk in another format.

    :param start: its first bytes
    :param name: name of its file
    """
    found = foreign.identify(start)
    what = (f'starts with 0x{start[:8].hex()}' if found is None
            else f'is {found.what}')
    return exceptions.ForeignDisk(
        f'the disk {what}, not a VHD', member=name)


def check_name(path: str) -> None:
    """Check that a member does not belong to something else altogether.

    :raises NoVhd: Xen Orchestra has made it for itself
    """
    if path.endswith(_ALIAS):
        raise exceptions.NoVhd(
            'it is an alias of Xen Orchestra, which only names a VHD: give '
            'the VHD that it names, as one file', member=text.printable(path))
    if _NAMES_OF_A_VHD_DIRECTORY.fullmatch(path):
        raise exceptions.NoVhd(
            'the archive holds a VHD directory of Xen Orchestra, which keeps '
            'each block in a file of its own: export the disk as a VHD',
            member=text.printable(path))


def check_ignored(content: Content, ignored: list[member.Skimmed]) -> None:
    """Check that nothing that matters is among what does not belong to a disk.

    :param content: what the archive holds besides
    :raises ForeignDisk: it is a disk in another format, or an archive
    :raises DamagedExport: it is a VHD in an export, or belongs to an export
                           and is among VHDs
    """
    for item in ignored:
        if content is Content.VHDS and _is_of_an_export(item.path):
            raise exceptions.DamagedExport(
                'it belongs to a XenServer export, but the archive holds VHDs '
                'as well', member=item.name)
        if content is Content.EXPORT and (names.has_vhd_start(item.start)
                                          or names.has_vhd_end(item.end)):
            raise exceptions.DamagedExport(
                'it is a VHD, which has no place in a XenServer export',
                member=item.name)
        if _is_archive_of_disks(item.start):
            raise exceptions.ForeignDisk(
                'it is an archive inside the archive, and holds a disk '
                'itself: give each by itself, or unpack it and pack all '
                'files into one archive', member=item.name)
        found = foreign.identify(item.start) if item.size else None
        if found is not None and found.is_disk:
            raise exceptions.ForeignDisk(
                f'it is {found.what}, which does not belong to the disk that '
                'the archive holds besides', member=item.name)


def _is_archive_of_disks(start: bytes) -> bool:
    """Whether data with these first bytes is a tar archive of an image.

    Its first file tells, which a directory may precede.
    """
    for offset in (0, tarfile.BLOCKSIZE):
        header = start[offset:offset + tarfile.BLOCKSIZE]
        try:
            info = tarfile.TarInfo.frombuf(header, 'utf-8', 'backslashreplace')
        except tarfile.TarError:
            return False
        if not info.isdir():
            return (names.parse(info.name).claims
                    or _is_of_an_export(info.name)
                    or envelope.is_descriptor(info.name)
                    or names.has_vhd_start(
                        start[offset + tarfile.BLOCKSIZE:]))
    return False


def no_vhd(ignored: list[member.Skimmed]) -> exceptions.XsConvertError:
    """Make the error for an intact archive without a VHD.

    :param ignored: the files in it
    """
    if any(_is_of_an_export(item.path) for item in ignored):
        return export.not_first()
    first = f'; its first file is {ignored[0].name}' if ignored else ''
    return exceptions.NoVhd(f'the archive holds no VHD{first}')


def _is_of_an_export(path: str) -> bool:
    return ova_xml.is_manifest(path) or chunks.is_like_a_chunk(path)

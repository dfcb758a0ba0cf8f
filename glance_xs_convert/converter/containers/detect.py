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
import tarfile

from glance_xs_convert.converter.containers import ova_xml
from glance_xs_convert.converter.containers import xva_chunks
from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import zstandard
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions

#: How many bytes are examined at the start and at the end.
START_SIZE = tarfile.BLOCKSIZE
TAIL_SIZE = layout.Footer.SIZE

#: The first bytes of data that people mistake for a XenServer image.
_KNOWN_MAGIC = (
    # One that is not compressed is read.
    (layout.Footer.COOKIE, 'a compressed VHD'),
    (b'vhdxfile', 'a VHDX disk'),
    (b'QFI\xfb', 'a qcow2 disk'),
    (b'KDMV', 'a VMDK disk'),
    (b'PK\x03\x04', 'a zip archive'),
    (b'BZh', 'bzip2 data'),
    (b'\xfd7zXZ\x00', 'xz data'),
    (decompress.MAGIC, 'gzip data'),
    (b'<', 'text'),
)


class Wrapping(enum.Enum):
    """The compression of data."""

    NONE = 'not at all'
    GZIP = 'gzip'
    ZSTANDARD = 'zstandard'


class Content(enum.Enum):
    """The container of the disk."""

    VHDS = 'a chain of VHDs'
    EXPORT = 'a XenServer export'


def wrapping(start: bytes) -> Wrapping:
    """Return the compression of data with these first bytes."""
    if start.startswith(decompress.MAGIC):
        return Wrapping.GZIP
    if zstandard.is_zstandard(start):
        return Wrapping.ZSTANDARD
    return Wrapping.NONE


def is_vhd(start: bytes) -> bool:
    """Whether data with these first bytes is a dynamic or differencing VHD."""
    return start.startswith(layout.Footer.COOKIE)


def is_tar(start: bytes) -> bool:
    """Whether data with these first bytes is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(start, 'utf-8', 'backslashreplace')
    except tarfile.TarError:
        return False
    return True


def is_vhd_by_its_end(tail: bytes) -> bool:
    """Whether data with these last bytes is a VHD, such as a fixed one."""
    try:
        layout.Footer.unpack(tail)
    except layout.LayoutError:
        return False
    return True


def content(first: str | None) -> Content:
    """Return the kind of content of a tar archive.

    :param first: path of its first file, or None if it has none
    """
    if first is not None and _is_of_an_export(first):
        return Content.EXPORT
    return Content.VHDS


def not_an_archive(start: bytes, may_be_fixed: bool,
                   ) -> exceptions.NotAnArchive:
    """Make the error for data in an unknown format.

    :param start: the first bytes, decompressed
    :param may_be_fixed: whether the data may be a fixed VHD, because its end
                         could not be read
    """
    hint = ('; if it is a fixed VHD, give it as a file, because only its end '
            'identifies such a VHD' if may_be_fixed else '')
    return exceptions.NotAnArchive(
        'the data is not a tar archive of VHDs, a VHD or a XenServer export; '
        f'{_describe(start)}{hint}')


def no_vhd(names: list[str]) -> exceptions.XsConvertError:
    """Make the error for an intact archive without a VHD.

    :param names: names of the files in it
    """
    if any(_is_of_an_export(name) for name in names):
        return exceptions.DamagedExport(
            'it is not the first file of the archive, as it must be',
            member=ova_xml.NAME)
    first = f'; its first file is {names[0]}' if names else ''
    return exceptions.NoVhd(f'the archive holds no VHD{first}')


def _is_of_an_export(path: str) -> bool:
    return ova_xml.is_manifest(path) or xva_chunks.is_like_a_chunk(path)


def _describe(start: bytes) -> str:
    if not start:
        return 'it is empty'
    for magic, what in _KNOWN_MAGIC:
        if start.startswith(magic):
            return f'it is {what}'
    return f'it starts with 0x{start[:8].hex()}'

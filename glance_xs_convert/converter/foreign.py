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

"""What people give instead of a XenServer image, by its first bytes.

The signatures are those of the formats' specifications and of the magic file
of file(1). Tests compare them with oslo.utils' format inspector, which the
converter must not load.
"""

import re
from typing import NamedTuple

#: How many bytes are examined: the signature of an ISO image lies behind 32
#: KiB, and that of Btrfs behind 64.
START_SIZE = 66 * 1024

_DECLARE = ('upload it with the disk format {} and the container format bare; '
            'it needs no conversion')
_UNPACK = ('unpack it, and give what is in it plain or compressed with gzip, '
           'bzip2, xz or zstandard')
_QEMU = 'convert it to raw or qcow2 with "qemu-img convert"'
_AGAIN = ('perhaps a server sent an error message instead of the image, so '
          'fetch it again')
_RAW = _DECLARE.format('raw')


class Foreign(NamedTuple):
    """Data in another format.

    :ivar what: what it is, with an article
    :ivar advice: what to do about it; may be empty
    :ivar is_content: whether a disk may begin like this, so that the data may
                      be a fixed VHD
    :ivar is_disk: whether it is the format of a disk
    """

    what: str
    advice: str = ''
    is_content: bool = False
    is_disk: bool = False


def _disk(what: str, advice: str) -> Foreign:
    return Foreign(what, advice, is_disk=True)


class _Magic(NamedTuple):
    offset: int
    magic: bytes
    found: Foreign


#: Formats with a signature at a fixed place. None of them is the beginning of
#: a disk that somebody boots, except those that are marked.
_SIGNATURES = (
    _Magic(0, b'QFI\xfb', _disk('a qcow2 disk', _DECLARE.format('qcow2'))),
    _Magic(0, b'KDMV', _disk('a VMDK disk', _DECLARE.format('vmdk'))),
    _Magic(0, b'COWD', _disk('a VMDK disk of VMware ESX', _QEMU)),
    _Magic(0, b'# Disk DescriptorFile', Foreign(
        'the descriptor of a VMDK disk, which names the files with its data',
        'give VMware a single file to write, or ' + _QEMU)),
    _Magic(0, b'vhdxfile', _disk('a VHDX disk', _QEMU)),
    _Magic(0x40, b'\x7f\x10\xda\xbe', _disk(
        'a VDI disk of VirtualBox', _DECLARE.format('vdi'))),
    _Magic(0, b'QED\0', _disk('a QED disk', _QEMU)),
    _Magic(0, b'WithoutFreeSpace', _disk('a disk of Parallels', _QEMU)),
    _Magic(0, b'WithouFreSpacExt', _disk('a disk of Parallels', _QEMU)),
    _Magic(0, b"7z\xbc\xaf'\x1c", Foreign('a 7z archive', _UNPACK)),
    _Magic(0, b'Rar!\x1a\x07', Foreign('a rar archive', _UNPACK)),
    _Magic(0, b'PK\x03\x04', Foreign('a zip archive', _UNPACK)),
    _Magic(0, b'PK\x05\x06', Foreign('an empty zip archive')),
    _Magic(0, b'\x04\x22\x4d\x18', Foreign('lz4 data', _UNPACK)),
    _Magic(0, b'\x02\x21\x4c\x18', Foreign('lz4 data', _UNPACK)),
    _Magic(0, b'LZIP', Foreign('lzip data', _UNPACK)),
    _Magic(0, b'\x89LZO\0\r\n\x1a\n', Foreign('lzop data', _UNPACK)),
    _Magic(0, b'\x1f\x9d', Foreign('data of compress(1)', _UNPACK)),
    _Magic(0, b'070701', Foreign('a cpio archive', _UNPACK)),
    _Magic(0, b'070702', Foreign('a cpio archive', _UNPACK)),
    _Magic(0, b'070707', Foreign('a cpio archive', _UNPACK)),
    _Magic(0, b'!<arch>\n', Foreign('an ar archive', _UNPACK)),
    _Magic(0, b'MSWIM\0\0\0', Foreign('a Windows installation image (WIM)')),
    _Magic(0, b'xar!', Foreign('a xar archive', _UNPACK)),
    _Magic(0, b'hsqs', Foreign('a squashfs file system', _RAW)),
    _Magic(0, b'%PDF', Foreign('a PDF document')),
    _Magic(0, b'\x7fELF', Foreign('a program')),
    _Magic(0x8001, b'CD001', Foreign(
        'an ISO image of a CD or DVD', _DECLARE.format('iso'), True)),
    _Magic(3, b'NTFS    ', Foreign(
        'an NTFS file system, without a VHD around it', _RAW, True)),
    _Magic(3, b'EXFAT   ', Foreign(
        'an exFAT file system, without a VHD around it', _RAW, True)),
    _Magic(512, b'EFI PART', Foreign(
        'a raw disk with a GUID partition table', _RAW, True)),
    _Magic(0x438, b'\x53\xef', Foreign(
        'a raw disk that begins with an ext2, ext3 or ext4 file system',
        _RAW, True)),
    _Magic(0, b'XFSB', Foreign(
        'a raw disk that begins with an XFS file system', _RAW, True)),
    _Magic(0x10040, b'_BHRfS_M', Foreign(
        'a raw disk that begins with a Btrfs file system', _RAW, True)),
    _Magic(512, b'LABELONE', Foreign(
        'a raw disk that is a physical volume of LVM', _RAW, True)),
    _Magic(0, b'LABELONE', Foreign(
        'a raw disk that is a physical volume of LVM', _RAW, True)),
    _Magic(0, b'LUKS\xba\xbe', Foreign(
        'an encrypted raw disk (LUKS)', _RAW, True)),
    _Magic(4086, b'SWAPSPACE2', Foreign('swap space', '', True)),
)

_BOOT_SECTOR = re.compile(rb'.{510}\x55\xaa', re.DOTALL)
_PARTITIONS = slice(446, 510)
_STATUSES = (0x00, 0x80)

#: Nothing tells what this is, if it is anything.
EMPTY_START = Foreign('a raw disk or a file system, whose first sector is '
                      'zero', _RAW, True)

#: An LZMA file has no signature: properties, a dictionary of a size in use,
#: and the size of its content, which is unknown or less than 256 GiB.
_LZMA = re.compile(rb'\x5d\0\0.[\0-\x08](?:\xff{8}|.{5}\0{3})', re.DOTALL)


def _pattern(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


#: What data begins with, once its blanks are skipped.
_PATTERNS = (
    (_pattern(rb'version https://git-lfs\.github\.com/'), Foreign(
        'a pointer of Git LFS, not the file itself',
        'fetch the file with "git lfs pull"')),
    (_pattern(rb'<!doctype html|<html'), Foreign('an HTML page', _AGAIN)),
)
#: What text begins with that is nothing but text.
_TEXT_PATTERNS = (
    (_pattern(rb'(?:\.\./)*\.?/?(?:\.git/)?annex/objects/'), Foreign(
        'a pointer of git-annex, not the file itself',
        'fetch the file with "git annex get"')),
    (_pattern(rb'[^\n]{1,1024}\.vhd\s*\Z'), Foreign(
        'an alias of Xen Orchestra, which only names a VHD',
        'give the VHD that it names, as one file')),
    (_pattern(rb'(?:<\?xml.*?)?<(?:\w+:)?Envelope\b'), Foreign(
        'an OVF descriptor without its disks',
        'put it in front of them into one tar archive, an OVA')),
    (_pattern(rb'(?:<\?xml.*?>\s*)?<value>\s*<struct>'), Foreign(
        'the description of a XenServer export (ova.xml) without the disks',
        'give the whole export')),
    (_pattern(rb'<'), Foreign('an XML document', _AGAIN)),
    (_pattern(rb'[{\[]\s*["\]}{\[]'), Foreign('a JSON document', _AGAIN)),
)
_BLANKS = b'\xef\xbb\xbf \t\r\n'
_TEXT = re.compile(rb'[\t\r\n\x20-\x7e\x80-\xff]+\Z')
_TEXT_SIZE = 2048


def identify(start: bytes) -> Foreign | None:
    """Return what data with these first bytes is, or None if unknown.

    :param start: ``START_SIZE`` bytes, or all of the data
    """
    if not start:
        return Foreign('empty')
    for offset, magic, found in _SIGNATURES:
        if start.startswith(magic, offset):
            return found
    return (_lzma(start) or _text(start) or _raw_disk(start))


def _lzma(start: bytes) -> Foreign | None:
    if _LZMA.match(start):
        return Foreign('LZMA data', 'compress it with xz instead')
    return None


def _text(start: bytes) -> Foreign | None:
    """Return what a text is; None if the data is no text."""
    data = start[:_TEXT_SIZE]
    content = data.lstrip(_BLANKS)
    is_text = _TEXT.match(data) is not None and _is_utf_8(data)
    for patterns, is_needed in ((_PATTERNS, False), (_TEXT_PATTERNS, True)):
        for pattern, found in patterns:
            if (is_text or not is_needed) and pattern.match(content):
                return found
    return Foreign('text', _AGAIN) if is_text else None


def _is_utf_8(data: bytes) -> bool:
    try:
        # The last character may be cut.
        data[:-4].decode()
    except UnicodeDecodeError:
        return False
    return True


def _raw_disk(start: bytes) -> Foreign | None:
    """Return what a disk is; None if the data does not look like one."""
    if _BOOT_SECTOR.match(start):
        entries = start[_PARTITIONS]
        has_partitions = any(entries[4::16]) and all(
            status in _STATUSES for status in entries[::16])
        return Foreign('a raw disk with ' + (
            'a partition table (MBR)' if has_partitions
            else 'a boot sector, but without a partition table'), _RAW, True)
    if not start[:512].strip(b'\0'):
        return EMPTY_START
    return None

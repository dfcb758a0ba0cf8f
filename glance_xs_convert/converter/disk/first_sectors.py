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

"""Finding out from a disk's first sectors whether a machine can boot from it.

XenServer started a paravirtualized guest with a kernel that it read from the
guest's file system, so the disk may have neither boot code nor an EFI system
partition. Source: UEFI Specification 2.10, section 5 (the GUID partition table
and the master boot record).
"""

import struct
from typing import Literal
from typing import NamedTuple

from glance_xs_convert.converter.disk import extents
from glance_xs_convert import results

#: The size up to the end of a partition table of 128 entries, in bytes.
SIZE = 34 * extents.SECTOR_SIZE

_BOOT_CODE = slice(0, 440)
_SIGNATURE = slice(510, 512)
_BOOT_SIGNATURE = b'\x55\xaa'
_MBR_ENTRIES = struct.Struct('<446x' + 4 * 'B3xB3xII' + '2x')
_MBR_ENTRY_FIELDS = 4
_STATUSES = (0x00, 0x80)
_MBR_EFI_SYSTEM = 0xEF
#: The offsets and names by which to recognize the boot sectors of file systems
#: on a disk without a partition table.
_FILE_SYSTEM_NAMES = ((3, b'NTFS    '), (3, b'EXFAT   '), (54, b'FAT'),
                      (82, b'FAT32'))

_GPT_HEADER = struct.Struct('<8s64xQII')
_GPT_COOKIE = b'EFI PART'
_GPT_ENTRY_SIZE = 128
_GPT_EFI_SYSTEM = bytes.fromhex('28732ac11ff8d211ba4b00a0c93ec93b')


def examine(data: bytes | bytearray) -> results.FirstSectors:
    """Examine a disk's first bytes.

    :param data: ``SIZE`` bytes, or fewer if the disk is shorter
    """
    data = bytes(data[:SIZE]).ljust(SIZE, b'\0')
    has_signature = data[_SIGNATURE] == _BOOT_SIGNATURE
    partitions = _mbr_partitions(data) if has_signature else []
    gpt_types = _gpt_types(data)
    table: Literal['GPT', 'MBR'] | None
    if gpt_types is not None:
        table = 'GPT'
        has_efi = _GPT_EFI_SYSTEM in gpt_types
    else:
        table = 'MBR' if partitions else None
        has_efi = any(partition.kind == _MBR_EFI_SYSTEM
                      for partition in partitions)
    return results.FirstSectors(
        table, has_efi, has_signature and any(data[_BOOT_CODE]))


class _Partition(NamedTuple):
    """An entry of a master boot record, in sectors."""

    status: int
    kind: int
    first: int
    length: int


def _mbr_partitions(data: bytes) -> list[_Partition]:
    """Return the partitions; none if this is another kind of boot sector."""
    if any(data.startswith(name, offset)
           for offset, name in _FILE_SYSTEM_NAMES):
        return []
    fields = _MBR_ENTRIES.unpack_from(data)
    entries = [_Partition(*fields[first:first + _MBR_ENTRY_FIELDS])
               for first in range(0, len(fields), _MBR_ENTRY_FIELDS)]
    if any(entry.status not in _STATUSES for entry in entries):
        return []
    return [entry for entry in entries if entry.kind and entry.length]


def _gpt_types(data: bytes) -> set[bytes] | None:
    """Return the partition types of a GUID partition table, or None."""
    cookie, table, count, size = _GPT_HEADER.unpack_from(
        data, extents.SECTOR_SIZE)
    if cookie != _GPT_COOKIE:
        return None
    start = table * extents.SECTOR_SIZE
    if size < _GPT_ENTRY_SIZE:
        return set()
    end = min(start + count * size, len(data))
    return {data[offset:offset + len(_GPT_EFI_SYSTEM)]
            for offset in range(start, end, size)}

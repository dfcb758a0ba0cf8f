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

"""The structures of a VHD file.

Source: "Virtual Hard Disk Image Format Specification", version 1.0
(Microsoft, 2006), which the field names are from; for the hidden byte and the
batmap, which only XenServer writes, ``include/libvhd.h`` and
``vhd/lib/libvhd.c`` of blktap. All integers are big-endian; all offsets are
bytes from the start of the file unless a name says sectors.
"""

import dataclasses
import struct
import uuid

from glance_xs_convert import limits

SECTOR_SIZE = 512

#: The entry in a block allocation table for a block that is not in the file.
BAT_UNUSED = 0xFFFFFFFF
BAT_ENTRY_SIZE = 4

#: The largest block and the largest disk that the format is used with.
MAX_BLOCK_SIZE = 2 * limits.MIB
MAX_DISK_SIZE = 2040 * limits.GIB

DISK_TYPE_FIXED = 2
DISK_TYPE_DYNAMIC = 3
DISK_TYPE_DIFFERENCING = 4

DISK_TYPE_NAMES = {
    DISK_TYPE_FIXED: 'fixed',
    DISK_TYPE_DYNAMIC: 'dynamic',
    DISK_TYPE_DIFFERENCING: 'differencing',
}

#: XenServer's creator application, and versions of it (major << 16 | minor).
_TAP = b'tap'
_TAP_0_1 = 0x00000001
_TAP_1_1 = 0x00010001

_CHECKSUM_SIZE = 4


class LayoutError(ValueError):
    """The bytes are not the expected structure."""


def checksum(structure: bytes | bytearray, field_offset: int) -> int:
    """Compute the one's complement of the sum of a structure's bytes.

    The sum leaves the checksum field itself out.

    :param structure: the whole structure
    :param field_offset: offset of its 4-byte checksum field
    """
    own = structure[field_offset:field_offset + _CHECKSUM_SIZE]
    return ~(sum(structure) - sum(own)) & 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class Footer:
    """The hard disk footer: the last sector, and a copy in the first one.

    Source: specification, "Hard Disk Footer Format".
    """

    features: int
    file_format_version: int
    data_offset: int
    time_stamp: int
    creator_application: bytes
    creator_version: int
    creator_host_os: bytes
    original_size: int
    current_size: int
    disk_geometry: int
    disk_type: int
    checksum: int
    unique_id: uuid.UUID
    saved_state: int
    hidden: int

    COOKIE = b'conectix'
    SIZE = SECTOR_SIZE
    _FORMAT = struct.Struct('>8sIIQI4sI4sQQIII16sBB')
    _CHECKSUM_OFFSET = 64
    _HIDDEN_OFFSET = 85

    @classmethod
    def unpack(cls, sector: bytes) -> 'Footer':
        """Read a footer.

        :param sector: the 512 bytes
        :raises LayoutError: wrong length, cookie, checksum or disk type
        """
        if len(sector) != cls.SIZE:
            raise LayoutError(
                f'the footer has only {len(sector)} of its 512 bytes')
        cookie, *fields = cls._FORMAT.unpack_from(sector)
        if cookie != cls.COOKIE:
            raise LayoutError('the footer has no "conectix" cookie')
        fields[12] = uuid.UUID(bytes=fields[12])
        footer = cls(*fields)
        if not footer._checksum_matches(sector):
            raise LayoutError('the checksum of the footer is wrong')
        if footer.disk_type not in DISK_TYPE_NAMES:
            raise LayoutError(
                f'the disk type is {footer.disk_type}, not fixed (2), dynamic '
                '(3) or differencing (4)')
        return footer

    def pack(self) -> bytes:
        """Return the footer's 512 bytes, with the correct checksum."""
        fields = {**vars(self), 'checksum': 0,
                  'unique_id': self.unique_id.bytes}
        sector = bytearray(self._FORMAT.pack(
            self.COOKIE, *fields.values()).ljust(self.SIZE, b'\0'))
        struct.pack_into('>I', sector, self._CHECKSUM_OFFSET,
                         checksum(sector, self._CHECKSUM_OFFSET))
        return bytes(sector)

    def _checksum_matches(self, sector: bytes) -> bool:
        """Whether the checksum is right, or was before the disk was hidden.

        Early versions of ``tap`` set the hidden byte without updating the
        checksum (blktap, ``vhd_validate_footer``).
        """
        if checksum(sector, self._CHECKSUM_OFFSET) == self.checksum:
            return True
        if (not self.hidden
                or not self.creator_application.startswith(_TAP)
                or self.creator_version not in (_TAP_0_1, _TAP_1_1)):
            return False
        visible = bytearray(sector)
        visible[self._HIDDEN_OFFSET] = 0
        return checksum(visible, self._CHECKSUM_OFFSET) == self.checksum

    @property
    def disk_type_name(self) -> str:
        return DISK_TYPE_NAMES[self.disk_type]

    @property
    def is_differencing(self) -> bool:
        return self.disk_type == DISK_TYPE_DIFFERENCING

    @property
    def is_fixed(self) -> bool:
        return self.disk_type == DISK_TYPE_FIXED

    @property
    def has_lsb_first_bitmaps(self) -> bool:
        """Whether the first version of ``tap`` wrote the VHD.

        Its sector bitmaps begin at the least significant bit of each byte;
        all others begin at the most significant bit (blktap,
        ``vhd_bitmap_test``).
        """
        return (self.creator_application.startswith(_TAP)
                and self.creator_version == _TAP_0_1)

    def agrees_with(self, other: 'Footer') -> bool:
        """Whether both describe the same disk, stored the same way."""
        return ((self.disk_type, self.current_size, self.unique_id)
                == (other.disk_type, other.current_size, other.unique_id)
                and (self.is_fixed or self.data_offset == other.data_offset))


@dataclasses.dataclass(frozen=True)
class DynamicHeader:
    """The header of a dynamic or differencing disk.

    Source: specification, "Dynamic Disk Header Format". Parent locators are
    not read: the members' names decide the order of a chain (see ``chain``).
    """

    data_offset: int
    table_offset: int
    header_version: int
    max_table_entries: int
    block_size: int
    checksum: int
    parent_unique_id: uuid.UUID
    parent_time_stamp: int
    parent_unicode_name: str

    COOKIE = b'cxsparse'
    SIZE = 1024
    _FORMAT = struct.Struct('>8sQQIIII16sI4x512s')
    _CHECKSUM_OFFSET = 36

    @classmethod
    def unpack(cls, data: bytes) -> 'DynamicHeader':
        """Read a dynamic header.

        :param data: the 1024 bytes
        :raises LayoutError: wrong length, cookie, checksum or block size
        """
        if len(data) != cls.SIZE:
            raise LayoutError(
                f'the header has only {len(data)} of its 1024 bytes')
        cookie, *fields = cls._FORMAT.unpack_from(data)
        if cookie != cls.COOKIE:
            raise LayoutError('the header has no "cxsparse" cookie')
        fields[6] = uuid.UUID(bytes=fields[6])
        name = fields[8].decode('utf-16-be', errors='replace')
        fields[8] = name.partition('\0')[0]
        header = cls(*fields)
        if checksum(data, cls._CHECKSUM_OFFSET) != header.checksum:
            raise LayoutError('the checksum of the header is wrong')
        size = header.block_size
        if not SECTOR_SIZE <= size <= MAX_BLOCK_SIZE or size & (size - 1):
            raise LayoutError(
                f'the block size is {size} bytes, not a power of two between '
                '512 bytes and 2 MiB')
        return header

    @property
    def sectors_per_block(self) -> int:
        return self.block_size // SECTOR_SIZE

    @property
    def bitmap_size(self) -> int:
        """The size of each block's sector bitmap, in bytes.

        It is padded to whole sectors.
        """
        return _whole_sectors(-(-self.sectors_per_block // 8))

    @property
    def size_in_file(self) -> int:
        """The size of a block with its sector bitmap, in bytes."""
        return self.bitmap_size + self.block_size

    @property
    def table_size(self) -> int:
        """The size of the block allocation table in bytes, unpadded."""
        return self.max_table_entries * BAT_ENTRY_SIZE

    @property
    def table_end(self) -> int:
        """The end of the table's last sector, where a batmap begins."""
        return self.table_offset + _whole_sectors(self.table_size)


@dataclasses.dataclass(frozen=True)
class BatmapHeader:
    """The header of XenServer's batmap, in the sector after the BAT.

    Source: blktap, ``vhd_batmap_header`` and ``vhd_keyhash``. The batmap
    itself says for each block, in one bit, whether all of its sectors are
    written. It is not needed, because the sector bitmaps say the same.
    """

    key_hash_cookie: int

    COOKIE = b'tdbatmap'
    SIZE = SECTOR_SIZE
    _FORMAT = struct.Struct('>8sQIIIBB')

    @classmethod
    def unpack(cls, sector: bytes) -> 'BatmapHeader':
        """Read a batmap header.

        :param sector: the 512 bytes
        :raises LayoutError: wrong cookie
        """
        cookie, *_, key_hash_cookie = cls._FORMAT.unpack_from(sector)
        if cookie != cls.COOKIE:
            raise LayoutError('the batmap has no "tdbatmap" cookie')
        return cls(key_hash_cookie)

    @property
    def is_encrypted(self) -> bool:
        return self.key_hash_cookie != 0


#: Each byte with its bits in reverse order.
_REVERSED_BITS = bytes(int(f'{byte:08b}'[::-1], 2) for byte in range(256))


def sector_mask(bitmap: bytes, sectors: int, lsb_first: bool) -> int:
    """Return a block's sector bitmap as an integer of ``sectors`` bits.

    The most significant bit stands for the first sector. Bits that pad the
    bitmap to whole sectors are dropped.

    :param lsb_first: whether the first bit of a byte is the least significant
                      one (see ``Footer.has_lsb_first_bitmaps``)
    """
    used = -(-sectors // 8)
    bitmap = bitmap[:used]
    if lsb_first:
        bitmap = bitmap.translate(_REVERSED_BITS)
    return int.from_bytes(bitmap, 'big') >> (used * 8 - sectors)


def _whole_sectors(size: int) -> int:
    return -(-size // SECTOR_SIZE) * SECTOR_SIZE


for _structure, _end in ((Footer, 86), (DynamicHeader, 576),
                         (BatmapHeader, 30)):
    if _structure._FORMAT.size != _end:
        raise ImportError(f'{_structure.__name__} has the wrong size')

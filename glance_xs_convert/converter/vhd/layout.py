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
from typing import ClassVar
from typing import Literal
import uuid

from glance_xs_convert.converter.vhd import record
from glance_xs_convert import text
from glance_xs_convert import units

SECTOR_SIZE = 512

#: The entry in a block allocation table for a block that is not in the file.
BAT_UNUSED = 0xFFFFFFFF
BAT_ENTRY_SIZE = 4

#: The largest block that the format is used with.
MAX_BLOCK_SIZE = 2 * units.MIB

DISK_TYPE_FIXED = 2
DISK_TYPE_DYNAMIC = 3
DISK_TYPE_DIFFERENCING = 4

DISK_TYPE_NAMES: dict[int, Literal['fixed', 'dynamic', 'differencing']] = {
    DISK_TYPE_FIXED: 'fixed',
    DISK_TYPE_DYNAMIC: 'dynamic',
    DISK_TYPE_DIFFERENCING: 'differencing',
}

#: XenServer's creator application, and versions of it (major << 16 | minor).
_TAP = b'tap'
_TAP_0_1 = 0x00000001
_TAP_1_1 = 0x00010001

LayoutError = record.LayoutError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footer(record.Record):
    """The hard disk footer: the last sector, and a copy in the first one.

    Source: specification, "Hard Disk Footer Format". Virtual PC before 2004
    left out the last byte, which is zero.
    """

    cookie: bytes = record.cookie(b'conectix')
    features: int = record.number(4)
    file_format_version: int = record.number(4)
    data_offset: int = record.number(8)
    time_stamp: int = record.number(4)
    creator_application: bytes = record.characters(4)
    creator_version: int = record.number(4)
    creator_host_os: bytes = record.characters(4)
    original_size: int = record.number(8)
    current_size: int = record.number(8)
    disk_geometry: int = record.number(4)
    disk_type: int = record.number(4)
    checksum: int = record.number(4)
    unique_id: uuid.UUID = record.unique_id()
    saved_state: int = record.number(1)
    hidden: int = record.number(1)

    SIZE: ClassVar[int] = SECTOR_SIZE
    SHORT_SIZE: ClassVar[int] = SECTOR_SIZE - 1
    WHAT: ClassVar[str] = 'footer'

    @classmethod
    def may_be_short(cls, file_size: int) -> bool:
        """Whether the footer at the end of a file may lack its last byte.

        :param file_size: size of the file in bytes
        """
        return file_size % SECTOR_SIZE == cls.SHORT_SIZE

    @classmethod
    def at_start_of(cls, data: bytes) -> 'Footer | None':
        """Return the copy of the footer at the start of a file.

        It is None if it is damaged or missing, or that of a fixed disk, which
        has none.

        :param data: the first bytes of the file
        """
        try:
            found = cls.unpack(data[:cls.SIZE])
        except LayoutError:
            return None
        return None if found.is_fixed else found

    @classmethod
    def at_end_of(cls, data: bytes) -> 'Footer | None':
        """Find the footer at the end of a file.

        :param data: the last 512 bytes of the file, or the last 511
        :returns: the footer, or None if it is damaged or missing
        """
        for size in (cls.SIZE, cls.SHORT_SIZE):
            try:
                return cls.unpack(data[-size:])
            except LayoutError:
                continue
        return None

    @classmethod
    def unpack(cls, data: bytes) -> 'Footer':
        """Read a footer.

        :param data: the 512 bytes, or all of them but the last
        :raises LayoutError: wrong length, cookie, checksum or disk type
        """
        if len(data) == cls.SHORT_SIZE:
            data += b'\0'
        footer = super().unpack(data)
        if not footer._checksum_matches(data):
            raise LayoutError('the checksum of the footer is wrong')
        if footer.disk_type not in DISK_TYPE_NAMES:
            raise LayoutError(
                f'the disk type is {footer.disk_type}, not fixed (2), dynamic '
                '(3) or differencing (4)')
        return footer

    def pack(self) -> bytes:
        """Return the footer's 512 bytes, with the correct checksum."""
        right = dataclasses.replace(self, checksum=self._sum(super().pack()))
        return super(Footer, right).pack()

    def _checksum_matches(self, data: bytes) -> bool:
        """Whether the checksum is right, or was before the disk was hidden.

        Early versions of ``tap`` set the hidden byte without updating the
        checksum (blktap, ``vhd_validate_footer``).
        """
        if self._sum(data) == self.checksum:
            return True
        if (not self.hidden
                or not self.creator_application.startswith(_TAP)
                or self.creator_version not in (_TAP_0_1, _TAP_1_1)):
            return False
        visible = bytearray(data)
        visible[self.place_of('hidden')] = b'\0'
        return self._sum(visible) == self.checksum

    @classmethod
    def _sum(cls, data: bytes | bytearray) -> int:
        return record.checksum(data, cls.place_of('checksum'))

    @property
    def disk_type_name(self) -> Literal['fixed', 'dynamic', 'differencing']:
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicHeader(record.Record):
    """The header of a dynamic or differencing disk.

    Source: specification, "Dynamic Disk Header Format". The locators of the
    parent, which follow, are not read: they point to files of the host that
    wrote the VHD.
    """

    cookie: bytes = record.cookie(b'cxsparse')
    data_offset: int = record.number(8)
    table_offset: int = record.number(8)
    header_version: int = record.number(4)
    max_table_entries: int = record.number(4)
    block_size: int = record.number(4)
    checksum: int = record.number(4)
    parent_unique_id: uuid.UUID = record.unique_id()
    parent_time_stamp: int = record.number(4)
    reserved: int = record.number(4)
    parent_unicode_name: str = record.unicode_name(512)

    SIZE: ClassVar[int] = 1024
    WHAT: ClassVar[str] = 'header'

    @classmethod
    def unpack(cls, data: bytes) -> 'DynamicHeader':
        """Read a dynamic header.

        :param data: the 1024 bytes
        :raises LayoutError: wrong length, cookie, checksum or block size
        """
        header = super().unpack(data)
        if record.checksum(data, cls.place_of('checksum')) != header.checksum:
            raise LayoutError('the checksum of the header is wrong')
        size = header.block_size
        if not SECTOR_SIZE <= size <= MAX_BLOCK_SIZE or size & (size - 1):
            raise LayoutError(
                f'the block size is {text.exact_size(size)}, not a power of '
                'two between 512 bytes and 2 MiB')
        return header

    @classmethod
    def at(cls, offset: int, data: bytes) -> 'DynamicHeader | None':
        """Return the header at a place; None if it is damaged or missing."""
        try:
            return cls.unpack(data[offset:offset + cls.SIZE])
        except LayoutError:
            return None

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatmapHeader(record.Record):
    """The header of XenServer's batmap, in the sector after the BAT.

    Source: blktap, ``vhd_batmap_header`` and ``vhd_keyhash``. The batmap
    itself says for each block, in one bit, whether all of its sectors are
    written. It is not needed, because the sector bitmaps say the same.
    """

    cookie: bytes = record.cookie(b'tdbatmap')
    batmap_offset: int = record.number(8)
    batmap_size: int = record.number(4)
    batmap_version: int = record.number(4)
    checksum: int = record.number(4)
    marker: int = record.number(1)
    key_hash_cookie: int = record.number(1)

    SIZE: ClassVar[int] = SECTOR_SIZE
    WHAT: ClassVar[str] = 'batmap'

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

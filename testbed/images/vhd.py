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

"""One VHD file from a declarative description.

Field names and structures are those of the Virtual Hard Disk Image Format
Specification 1.0. What XenServer adds (the hidden byte, the batmap, the key
hash) follows ``include/vhd.h`` of blktap.
"""

from collections import abc
import dataclasses
import functools
import struct
import typing
import uuid

from testbed.images import sparse

SECTOR = 512
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

FIXED = 2
DYNAMIC = 3
DIFFERENCING = 4

UNUSED = 0xFFFFFFFF
NO_OFFSET = 0xFFFFFFFFFFFFFFFF
NIL = uuid.UUID(int=0)
SINGLE = uuid.UUID(int=1)

# States of a footer: intact; with a wrong checksum; overwritten with zeros;
# missing from the file (the tail only); without its last byte, as Virtual PC
# wrote it before 2004 (the tail only).
GOOD = 'good'
DAMAGED = 'damaged'
ZEROED = 'zeroed'
ABSENT = 'absent'
SHORT = 'short'

MSB_FIRST = 'msb first'
LSB_FIRST = 'lsb first'

FOOTER_FIELDS = (
    ('cookie', '8s'),
    ('features', 'I'),
    ('file_format_version', 'I'),
    ('data_offset', 'Q'),
    ('time_stamp', 'I'),
    ('creator_application', '4s'),
    ('creator_version', 'I'),
    ('creator_host_os', '4s'),
    ('original_size', 'Q'),
    ('current_size', 'Q'),
    ('disk_geometry', 'I'),
    ('disk_type', 'I'),
    ('checksum', 'I'),
    ('unique_id', '16s'),
    ('saved_state', 'B'),
    ('hidden', 'B'),
    ('reserved', '426s'),
)

HEADER_FIELDS = (
    ('cookie', '8s'),
    ('data_offset', 'Q'),
    ('table_offset', 'Q'),
    ('header_version', 'I'),
    ('max_table_entries', 'I'),
    ('block_size', 'I'),
    ('checksum', 'I'),
    ('parent_unique_id', '16s'),
    ('parent_time_stamp', 'I'),
    ('reserved', 'I'),
    ('parent_unicode_name', '512s'),
    ('parent_locator_entries', '192s'),
    ('reserved2', '256s'),
)

LAYOUT = ('header', 'bat', 'locators', 'blocks')

Extents = abc.Sequence[tuple[int, bytes]]
Fields = abc.Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Layer:
    """The contents of a VHD file and its layout.

    ``written`` and ``stale`` are ``(first sector, data)`` pairs with whole
    sectors of data; if two overlap, the later one counts. The bit of a written
    sector is set. Stale bytes are in the block although their bit is clear,
    unless the sector is written, too.

    The parts of the file named in ``layout`` follow the copy of the footer in
    the order given. ``padding`` puts sectors of zeros before a part, or before
    the ``tail``; ``gaps`` does the same for single blocks. Overrides of fields
    are applied last, but before the checksum, which they may override as well.
    ``bat_entries`` replaces entries of the BAT.
    """

    current_size: int
    written: Extents = ()
    stale: Extents = ()
    disk_type: int = DYNAMIC
    block_size: int = 2 * MIB
    allocated: abc.Sequence[int] = ()

    unique_id: uuid.UUID = SINGLE
    parent_unique_id: uuid.UUID = NIL
    parent_unicode_name: str = ''
    locators: abc.Sequence[tuple[bytes, bytes]] = ()
    time_stamp: int = 848695837
    original_size: int | None = None
    creator_application: bytes = b'tap\0'
    creator_version: int = 0x00010003
    creator_host_os: bytes = b'\0\0\0\0'
    saved_state: int = 0
    hidden: int = 0
    hidden_unsummed: bool = False

    layout: abc.Sequence[str] = LAYOUT
    padding: abc.Mapping[str, int] = dataclasses.field(default_factory=dict)
    block_order: abc.Sequence[int] | None = None
    gaps: abc.Mapping[int, int] = dataclasses.field(default_factory=dict)
    data_alignment: int = SECTOR
    bit_order: str = MSB_FIRST
    batmap: bool = False
    encrypted: bool = False
    extra_table_entries: int = 0

    front: str = GOOD
    tail: str = GOOD
    footer_fields: Fields = dataclasses.field(default_factory=dict)
    front_fields: Fields = dataclasses.field(default_factory=dict)
    tail_fields: Fields = dataclasses.field(default_factory=dict)
    header_fields: Fields = dataclasses.field(default_factory=dict)
    bat_entries: abc.Mapping[int, int] = dataclasses.field(
        default_factory=dict)

    @functools.cached_property
    def sectors(self) -> dict[int, bytes]:
        """Return the data of every sector whose bit is set."""
        return by_sector(self.written)

    def image(self) -> sparse.Sparse:
        """Return the VHD file."""
        if self.disk_type == FIXED:
            return _fixed_image(self)
        return _Dynamic(self).image()

    def tobytes(self) -> bytes:
        """Return the VHD file as bytes; for small files."""
        return self.image().tobytes()


def by_sector(extents: Extents) -> dict[int, bytes]:
    """Cut ``(first sector, data)`` pairs into single sectors."""
    sectors = {}
    for first, data in extents:
        if len(data) % SECTOR:
            raise ValueError(f'{len(data)} bytes are not whole sectors')
        for start in range(0, len(data), SECTOR):
            sectors[first + start // SECTOR] = data[start:start + SECTOR]
    return sectors


def round_up(value: int, unit: int) -> int:
    """Return the first multiple of ``unit`` that is at least ``value``."""
    return -(-value // unit) * unit


def checksum(structure: bytes) -> int:
    """Return the one's complement of the sum of all bytes."""
    return ~sum(structure) & 0xFFFFFFFF


def geometry(size: int) -> int:
    """Return the CHS geometry as in the specification's appendix."""
    total = min(size // SECTOR, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        heads, per_track = 16, 255
    else:
        per_track = 17
        heads = max(4, -(-(total // per_track) // 1024))
        for longer in (31, 63):
            if heads <= 16 and total // per_track < heads * 1024:
                break
            per_track, heads = longer, 16
    cylinders = min(total // per_track // heads, 0xFFFF)
    return cylinders << 16 | heads << 8 | per_track


def _pack(fields: abc.Iterable[tuple[str, str]],
          values: abc.Mapping[str, typing.Any], overrides: Fields,
          unsummed: abc.Sequence[str] = ()) -> bytes:
    """Pack a structure; fields in ``unsummed`` count as 0 in the sum."""
    def packed(values: Fields) -> bytes:
        return b''.join(
            struct.pack('>' + code, values[name]) for name, code in fields)

    values = {**values, **overrides}
    if 'checksum' not in overrides:
        cleared = dict.fromkeys(('checksum', *unsummed), 0)
        values['checksum'] = checksum(packed({**values, **cleared}))
    return packed(values)


def footer(layer: Layer, data_offset: int, state: str,
           overrides: Fields) -> bytes:
    """Pack the footer of ``layer`` in one of the footer states."""
    if state == ABSENT:
        return b''
    if state == ZEROED:
        return bytes(SECTOR)
    original_size = layer.original_size
    if original_size is None:
        original_size = layer.current_size
    packed = _pack(FOOTER_FIELDS, {
        'cookie': b'conectix',
        'features': 2,
        'file_format_version': 0x00010000,
        'data_offset': data_offset,
        'time_stamp': layer.time_stamp,
        'creator_application': layer.creator_application,
        'creator_version': layer.creator_version,
        'creator_host_os': layer.creator_host_os,
        'original_size': original_size,
        'current_size': layer.current_size,
        'disk_geometry': geometry(layer.current_size),
        'disk_type': layer.disk_type,
        'unique_id': layer.unique_id.bytes,
        'saved_state': layer.saved_state,
        'hidden': layer.hidden,
        'reserved': b'',
    }, {**layer.footer_fields, **overrides},
        unsummed=('hidden',) if layer.hidden_unsummed else ())
    if state == DAMAGED:
        return packed[:72] + bytes(b ^ 0xA5 for b in packed[72:80]) + (
            packed[80:])
    return packed[:-1] if state == SHORT else packed


def _fixed_image(layer: Layer) -> sparse.Sparse:
    """Make a fixed disk: all bytes of the disk, then the footer."""
    image = sparse.Sparse()
    for sector, data in layer.sectors.items():
        image.put(sector * SECTOR, data)
    image.truncate(layer.current_size)
    position = layer.current_size + layer.padding.get('tail', 0) * SECTOR
    image.put(position,
              footer(layer, NO_OFFSET, layer.tail, layer.tail_fields))
    return image


class _Dynamic:
    """The parts of a dynamic or differencing disk, as they are placed."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.out = sparse.Sparse()
        self.end = SECTOR
        self.header_offset = 0
        self.table_offset = 0
        self.table_entries = layer.extra_table_entries + (
            -(-layer.current_size // layer.block_size))
        self.bat: dict[int, int] = {}
        self.locator_entries = b''
        self.blocks: dict[int, dict[int, bytes]] = {
            block: {} for block in layer.allocated}
        stored = {**by_sector(layer.stale), **layer.sectors}
        for sector, data in stored.items():
            block, index = divmod(sector, layer.block_size // SECTOR)
            self.blocks.setdefault(block, {})[index] = data

    def image(self) -> sparse.Sparse:
        layer = self.layer
        place = {'header': self._reserve_header, 'bat': self._reserve_bat,
                 'locators': self._put_locators, 'blocks': self._put_blocks}
        for part in layer.layout:
            self._take(layer.padding.get(part, 0) * SECTOR)
            place[part]()
        self.out.put(0, footer(layer, self.header_offset, layer.front,
                               layer.front_fields))
        self._put_header()
        self._put_bat()
        if layer.batmap:
            self._put_batmap()
        self._take(layer.padding.get('tail', 0) * SECTOR)
        self.out.truncate(self.end)
        self.out.put(self.end, footer(layer, self.header_offset, layer.tail,
                                      layer.tail_fields))
        return self.out

    def _take(self, length: int) -> int:
        """Reserve ``length`` bytes, in whole sectors, at the end."""
        offset = self.end
        self.end += round_up(length, SECTOR)
        return offset

    def _reserve_header(self) -> None:
        self.header_offset = self._take(1024)

    def _reserve_bat(self) -> None:
        self.table_offset = self._take(4 * self.table_entries)
        if self.layer.batmap:
            self.batmap_offset = self._take(SECTOR)
            self._take(self._batmap_size())

    def _batmap_size(self) -> int:
        return round_up(-(-self.table_entries // 8), SECTOR)

    def _put_locators(self) -> None:
        for code, data in self.layer.locators:
            space = round_up(len(data), SECTOR)
            offset = self._take(space)
            self.out.put(offset, data)
            self.locator_entries += struct.pack(
                '>4sIIIQ', code, space, len(data), 0, offset)

    def _put_blocks(self) -> None:
        layer = self.layer
        order = layer.block_order
        if order is None:
            order = sorted(self.blocks)
        if sorted(order) != sorted(self.blocks):
            raise ValueError('block_order does not name the blocks in use')
        bitmap_size = round_up(-(-layer.block_size // SECTOR // 8), SECTOR)
        for block in order:
            self._take(layer.gaps.get(block, 0) * SECTOR)
            self._take(-(self.end + bitmap_size) % layer.data_alignment)
            self.bat[block] = self.end // SECTOR
            self.out.put(self._take(bitmap_size), self._bitmap(block))
            self._put_data(self._take(layer.block_size), self.blocks[block])

    def _bitmap(self, block: int) -> bytes:
        per_block = self.layer.block_size // SECTOR
        bitmap = bytearray(-(-per_block // 8))
        for index in self.blocks[block]:
            if block * per_block + index in self.layer.sectors:
                bit = index % 8
                if self.layer.bit_order == MSB_FIRST:
                    bit = 7 - bit
                bitmap[index // 8] |= 1 << bit
        return bytes(bitmap)

    def _put_data(self, offset: int, sectors: dict[int, bytes]) -> None:
        """Put the sectors of a block, neighbors as one extent."""
        run: list[bytes] = []
        start = 0
        for index in sorted(sectors):
            if index != start + len(run):
                self.out.put(offset + start * SECTOR, b''.join(run))
                run, start = [], index
            run.append(sectors[index])
        self.out.put(offset + start * SECTOR, b''.join(run))

    def _put_header(self) -> None:
        layer = self.layer
        self.out.put(self.header_offset, _pack(HEADER_FIELDS, {
            'cookie': b'cxsparse',
            'data_offset': NO_OFFSET,
            'table_offset': self.table_offset,
            'header_version': 0x00010000,
            'max_table_entries': self.table_entries,
            'block_size': layer.block_size,
            'parent_unique_id': layer.parent_unique_id.bytes,
            'parent_time_stamp': (
                layer.time_stamp if layer.disk_type == DIFFERENCING else 0),
            'reserved': 0,
            'parent_unicode_name': layer.parent_unicode_name.encode(
                'utf-16-be'),
            'parent_locator_entries': self.locator_entries,
            'reserved2': b'',
        }, layer.header_fields))

    def _put_bat(self) -> None:
        entries = {**self.bat, **self.layer.bat_entries}
        table = bytearray(b'\xff' * (4 * self.table_entries))
        for block, entry in entries.items():
            struct.pack_into('>I', table, 4 * block, entry)
        self.out.put(self.table_offset, bytes(table))

    def _put_batmap(self) -> None:
        """Put the batmap: a bit per block, set if all sectors are written."""
        per_block = self.layer.block_size // SECTOR
        batmap = bytearray(self._batmap_size())
        for block in self.blocks:
            if all(block * per_block + index in self.layer.sectors
                   for index in range(per_block)):
                batmap[block // 8] |= 0x80 >> block % 8
        key_hash = b''
        if self.layer.encrypted:
            key_hash = struct.pack('>B32s32s', 1, b'n' * 32, b'h' * 32)
        self.out.put(self.batmap_offset, struct.pack(
            '>8sQIIIB483s', b'tdbatmap', self.batmap_offset + SECTOR,
            len(batmap) // SECTOR, 0x00010002, checksum(bytes(batmap)), 0,
            key_hash))
        self.out.put(self.batmap_offset + SECTOR, bytes(batmap))

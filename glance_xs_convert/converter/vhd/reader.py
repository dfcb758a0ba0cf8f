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

"""Reading one VHD from front to back.

A VHD that XenServer wrote has all that is needed to place its blocks at the
front: a copy of the footer, the dynamic header, the block allocation table.
Where a piece is missing there, lies behind the blocks or contradicts the
footer at the end, a single pass can not do: ``NotInOrder`` is raised, and a
pass that only collects the pieces (see ``survey``) makes the next one
possible.
"""

import array
import bisect
from collections.abc import Iterator
import dataclasses
import itertools
import sys
from typing import TypeAlias

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import limits as limits_

#: Tables are decoded in pieces of this many bytes.
_TABLE_PIECE = 16 * 1024
#: As many as the largest disk has with blocks of 512 KiB, the smallest size
#: that is in use.
MAX_BLOCKS = 4 * 1024 ** 2
_UNUSED_PIECE = b'\xff' * _TABLE_PIECE

#: A place in the file and the block that lies there, in one integer that
#: sorts by place: sector << 32 | block.
_BLOCK_BITS = 32
_BLOCK_MASK = (1 << _BLOCK_BITS) - 1
Places: TypeAlias = 'array.array[int]'


class NotInOrder(Exception):
    """A piece of the VHD is needed before it comes."""


@dataclasses.dataclass
class Structures:
    """What is known of a VHD before its data are read.

    :ivar footer: the footer that counts: the one at the end if it is good,
                  else the copy at the front
    :ivar header: the dynamic header; None for a fixed disk
    :ivar places: where the blocks are, ascending (see ``_split``)
    """

    footer: layout.Footer | None = None
    header: layout.DynamicHeader | None = None
    places: 'Places | None' = None

    @property
    def complete(self) -> bool:
        return self.footer is not None and (
            self.footer.is_fixed or self.places is not None)


class VhdStream:
    """One VHD, read forward only.

    :param name: the name to use in errors
    :param size: of the file, in bytes
    :param data: its bytes
    :param known: what an earlier pass has found out
    :ivar data: where the bytes of an extent are to be read from
    """

    #: A fixed disk is handed on in extents of this size.
    FIXED_EXTENT = layout.MAX_BLOCK_SIZE

    def __init__(self, name: str, size: int, data: forward.Reader,
                 limits: limits_.Limits, known: Structures | None = None,
                 ) -> None:
        self.name = name
        self.size = size
        self.data = data
        self._limits = limits
        self.known = Structures() if known is None else known

    @property
    def current_size(self) -> int:
        """Of the disk, in bytes.

        A fixed disk has its only footer at the end: until then it is taken
        to be as large as the file says.
        """
        if self.known.footer is None:
            return self._data_end
        return self.known.footer.current_size

    @property
    def is_differencing(self) -> bool:
        return (self.known.footer is not None
                and self.known.footer.is_differencing)

    def read_structures(self) -> None:
        """Read what comes before the data.

        :raises DamagedVhd: a structure is damaged or contradicts another
        :raises EncryptedVhd: the blocks are encrypted
        :raises LimitExceeded: the disk is larger than allowed
        :raises NotInOrder: a structure does not come before the data
        """
        known = self.known
        if known.footer is not None:
            self._check_size(known.footer)
        if known.complete:
            return
        if self.size < layout.Footer.SIZE:
            raise self._damaged(
                f'the file has {self.size} bytes, less than a VHD footer')
        if known.footer is None:
            known.footer = self._front_footer()
        if known.footer is None:
            self._check_limit(self._data_end)
            return
        self._check_size(known.footer)
        if known.footer.is_fixed:
            return
        if known.header is None:
            known.header = self._header(known.footer)
        if known.places is None:
            known.places = self._places(known.footer, known.header)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The blocks in the file: (offset on the disk, size) in bytes.

        None for a fixed disk, which does not say what is in it.
        """
        if self.known.header is not None:
            size = self.known.header.block_size
            for place in self.known.places or ():
                offset = _split(place)[1] * size
                if offset < self.current_size:
                    yield offset, size

    def _fixed_extents(self) -> Iterator[extents.Extent]:
        for offset in range(0, self.current_size, self.FIXED_EXTENT):
            size = min(self.FIXED_EXTENT, self.current_size - offset)
            yield extents.Extent(offset, size, extents.all_written(size))

    def _block_extents(self, header: layout.DynamicHeader,
                       ) -> Iterator[extents.Extent]:
        sectors = header.sectors_per_block
        lsb_first = (self.known.footer is not None
                     and self.known.footer.has_lsb_first_bitmaps)
        for place in self.known.places or ():
            offset, block = _split(place)
            if block * header.block_size >= self.current_size:
                continue
            self._go_to(offset)
            bitmap = self.data.read(header.bitmap_size)
            yield extents.Extent(
                block * header.block_size, header.block_size,
                layout.sector_mask(bitmap, sectors, lsb_first))

    def extents(self) -> Iterator[extents.Extent]:
        """The disk's data, in the order of the file.

        Blocks that lie beyond the end of the disk are passed over.

        Between two extents the caller reads exactly the extent's size from
        the data.

        :raises NotInOrder: a block lies before the structures
        """
        if self.known.header is None:
            yield from self._fixed_extents()
        else:
            yield from self._block_extents(self.known.header)

    def read_end(self) -> None:
        """Read what comes after the data: the footer.

        :raises DamagedVhd: neither footer is good
        :raises NotInOrder: the footer contradicts what went before
        """
        tail = self._tail_footer()
        known = self.known.footer
        if known is None:
            if tail is None:
                raise self._no_footer()
            if not tail.is_fixed or tail.current_size < self._data_end:
                raise NotInOrder
            self.known.footer = tail
            self._check_size(tail)
        elif tail is not None and not tail.agrees_with(known):
            raise NotInOrder

    def collect(self) -> None:
        """Read all there is, so that the structures get known.

        More than one pass may be needed; see ``Structures.complete``. The
        footer at the end has the last word, as in blktap's
        ``vhd_read_footer``.

        :raises DamagedVhd: as ``read_structures``, and: neither footer is
                            good
        """
        known = self.known
        damage: exceptions.DamagedVhd | None = None
        try:
            self.read_structures()
        except NotInOrder:
            pass
        except exceptions.DamagedVhd as error:
            damage = error
        tail = self._tail_footer()
        if known.footer is None and tail is None:
            raise damage or self._no_footer()
        if tail is not None and (known.footer is None
                                 or not tail.agrees_with(known.footer)):
            known.footer, known.header, known.places = tail, None, None
            self._check_size(tail)
        elif damage is not None:
            raise damage

    @property
    def _data_end(self) -> int:
        return self.size - layout.Footer.SIZE

    def _front_footer(self) -> layout.Footer | None:
        """The copy of the footer; None if there are a fixed disk's data.

        :raises NotInOrder: the copy is damaged, for the header follows
        """
        front = self.data.read(layout.Footer.SIZE)
        try:
            footer = layout.Footer.unpack(front)
        except layout.LayoutError:
            pass
        else:
            if not footer.is_fixed:
                return footer
        if self._data_end >= self.data.position + layout.Footer.SIZE:
            front += self.data.read(layout.Footer.SIZE)
        if front.startswith(layout.DynamicHeader.COOKIE,
                            layout.Footer.SIZE):
            raise NotInOrder
        self.data = forward.Rewound(self.data, front)
        return None

    def _check_size(self, footer: layout.Footer) -> None:
        size = footer.current_size
        if not size:
            raise self._damaged('the disk has a size of 0 bytes')
        self._check_limit(size)
        if footer.is_fixed and size > self._data_end:
            raise self._damaged(
                f'the fixed disk has {size} bytes, but the file holds only '
                f'{self._data_end} of them')

    def _check_limit(self, size: int) -> None:
        if size > self._limits.max_virtual_size:
            raise exceptions.LimitExceeded(
                f'the disk has {size} bytes, and the limit is '
                f'{self._limits.max_virtual_size}', member=self.name)

    def _header(self, footer: layout.Footer,
                ) -> layout.DynamicHeader:
        offset = footer.data_offset
        if offset + layout.DynamicHeader.SIZE > self.size:
            raise self._damaged(
                f'its header is to lie at {offset}, outside the file of '
                f'{self.size} bytes')
        self._go_to(offset)
        try:
            header = layout.DynamicHeader.unpack(
                self.data.read(layout.DynamicHeader.SIZE))
        except layout.LayoutError as error:
            raise self._damaged(str(error), offset=offset) from None
        if header.table_offset + header.table_size > self.size:
            raise self._damaged(
                f'its table of {header.max_table_entries} blocks is to lie '
                f'at {header.table_offset}, outside the file of {self.size} '
                'bytes')
        if header.max_table_entries * header.block_size < footer.current_size:
            raise self._damaged(
                f'its table has {header.max_table_entries} blocks of '
                f'{header.block_size} bytes, too few for a disk of '
                f'{footer.current_size} bytes')
        return header

    def _places(self, footer: layout.Footer,
                header: layout.DynamicHeader) -> Places:
        """Decode the table and check where it says that the blocks are."""
        self._go_to(header.table_offset)
        places = array.array('Q')
        size_in_file = header.size_in_file
        most = min(self.size // size_in_file, MAX_BLOCKS)
        first = 0
        left = header.table_size
        while left:
            size = min(left, _TABLE_PIECE)
            piece = self.data.read(size)
            if not _UNUSED_PIECE.startswith(piece):
                found = _decode_places(piece, first)
                places.extend(found)
                self._check_inside(min(found), max(found), size_in_file)
            if len(places) > most:
                raise self._damaged(
                    f'its table places over {most} blocks in the file of '
                    f'{self.size} bytes, which has no room for them')
            first += size // layout.BAT_ENTRY_SIZE
            left -= size
        places = _ascending(places)
        self._check_places(places, footer, header)
        self._check_slack(places, header)
        self._check_batmap(places, header)
        return places

    def _check_inside(self, first: int, last: int, size: int) -> None:
        """Blocks lie in the file, behind the copy of the footer.

        :param first: the place nearest to the start of the file
        :param last: the one nearest to its end
        :param size: of a block with its bitmap
        """
        offset, block = _split(last)
        if offset + size > self.size:
            raise self._damaged(
                f'the block {block} is to lie at {offset}, outside the file '
                f'of {self.size} bytes')
        offset, block = _split(first)
        if offset < layout.Footer.SIZE:
            raise self._damaged(
                f'the block {block} overlaps the copy of the footer')

    def _check_places(self, places: Places, footer: layout.Footer,
                      header: layout.DynamicHeader) -> None:
        """Blocks and structures do not lie on each other."""
        size = header.size_in_file
        end, before = 0, 0
        for place in places:
            offset, block = _split(place)
            if offset < end:
                raise self._damaged(
                    f'the blocks {before} and {block} overlap',
                    offset=offset)
            end, before = offset + size, block
        structures = sorted((
            (0, layout.Footer.SIZE, 'the copy of the footer'),
            (footer.data_offset,
             footer.data_offset + layout.DynamicHeader.SIZE,
             'the header'),
            (header.table_offset,
             header.table_offset + header.table_size,
             'the block allocation table')))
        for (_, end, one), (start, _, other) in itertools.pairwise(
                structures):
            if start < end:
                raise self._damaged(f'{one} and {other} overlap',
                                    offset=start)
        for start, end, what in structures:
            overlapping = _place_at(places, size, start, end)
            if overlapping is not None:
                offset, block = _split(overlapping)
                raise self._damaged(f'the block {block} overlaps {what}',
                                    offset=offset)

    def _check_slack(self, places: Places,
                     header: layout.DynamicHeader) -> None:
        slack = (self.size - header.table_size
                 - len(places) * header.size_in_file)
        if slack > self._limits.max_ignored_size:
            raise exceptions.LimitExceeded(
                f'{slack} bytes of the file belong to no block, and the '
                f'limit is {self._limits.max_ignored_size}',
                member=self.name)

    def _check_batmap(self, places: Places,
                      header: layout.DynamicHeader) -> None:
        start = header.table_end
        end = start + layout.BatmapHeader.SIZE
        if (end > self._data_end or _place_at(
                places, header.size_in_file, start, end) is not None):
            return
        self._go_to(start)
        try:
            batmap = layout.BatmapHeader.unpack(
                self.data.read(layout.BatmapHeader.SIZE))
        except layout.LayoutError:
            return
        if batmap.is_encrypted:
            raise exceptions.EncryptedVhd(
                'the disk is encrypted, and cannot be read without its key',
                member=self.name)

    def _tail_footer(self) -> layout.Footer | None:
        """The footer at the end; None if it is damaged or missing.

        It is missing where a block reaches to the end of the file.
        """
        if (self.data.position > self._data_end
                or self._has_block(self._data_end, self.size)):
            return None
        self._go_to(self._data_end)
        try:
            return layout.Footer.unpack(
                self.data.read(layout.Footer.SIZE))
        except layout.LayoutError:
            return None

    def _has_block(self, start: int, end: int) -> bool:
        """Whether a block lies somewhere in this part of the file."""
        header, places = self.known.header, self.known.places
        return (header is not None and places is not None
                and _place_at(places, header.size_in_file, start, end)
                is not None)

    def _go_to(self, offset: int) -> None:
        if offset < self.data.position:
            raise NotInOrder
        self.data.skip(offset - self.data.position)

    def _no_footer(self) -> exceptions.DamagedVhd:
        return self._damaged(
            'neither at its start nor at its end is a valid VHD footer')

    def _damaged(self, reason: str, offset: int | None = None,
                 ) -> exceptions.DamagedVhd:
        return exceptions.DamagedVhd(reason, member=self.name, offset=offset)


def _decode_places(piece: bytes, first: int) -> list[int]:
    """The places in a piece of the table, which begins with a block."""
    entries = array.array('I', piece)
    if sys.byteorder == 'little':
        entries.byteswap()
    unused = layout.BAT_UNUSED
    return [sector << _BLOCK_BITS | block
            for block, sector in enumerate(entries, first)
            if sector != unused]


def _ascending(places: Places) -> Places:
    if all(a < b for a, b in itertools.pairwise(places)):
        return places
    return array.array('Q', sorted(places))


def _place_at(places: Places, size: int, start: int, end: int) -> int | None:
    """The last place that has bytes from ``start`` up to ``end``, if any.

    :param places: ascending, none on top of another
    :param size: of a block with its bitmap
    """
    sector = -(-end // layout.SECTOR_SIZE)
    index = bisect.bisect_left(places, sector << _BLOCK_BITS) - 1
    if index >= 0 and _split(places[index])[0] + size > start:
        return places[index]
    return None


def _split(place: int) -> tuple[int, int]:
    """A place's offset in the file in bytes, and its block."""
    return ((place >> _BLOCK_BITS) * layout.SECTOR_SIZE,
            place & _BLOCK_MASK)

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


"""The block allocation table: where the blocks lie in the file.

Source: specification, "Block Allocation Table and Data Blocks".
"""

import array
import bisect
from collections.abc import Iterator
import itertools
import sys
from typing import TypeAlias

from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert import exceptions
from glance_xs_convert import text

#: Tables are decoded in pieces of this many bytes.
_PIECE = 16 * 1024
_UNUSED_PIECE = b'\xff' * _PIECE
#: The number of blocks of the largest disk if they have 512 KiB, the smallest
#: size in use.
MAX_BLOCKS = 4 * 1024 ** 2

#: A place in the file and the block at that place in one integer, which sorts
#: by place: sector << 32 | block.
_BLOCK_BITS = 32
_BLOCK_MASK = (1 << _BLOCK_BITS) - 1
_Places: TypeAlias = 'array.array[int]'


class BlockTable:
    """The blocks of a VHD by their places in the file.

    :param places: sector << 32 | block, ascending
    """

    def __init__(self, places: _Places, header: layout.DynamicHeader,
                 ) -> None:
        self._places = places
        self._size_in_file = header.size_in_file

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the blocks in file order: (offset in bytes, number)."""
        return map(_split, self._places)

    @property
    def end(self) -> int:
        """Where the last block ends in the file, in bytes."""
        if not self._places:
            return 0
        return _split(self._places[-1])[0] + self._size_in_file

    def block_in(self, start: int, end: int) -> tuple[int, int] | None:
        """Find a block that has bytes in a part of the file.

        The blocks must not overlap.

        :param start: start of the part, in bytes
        :param end: end of the part, in bytes
        :returns: (offset in bytes, number) of the last such block, or None
        """
        sector = -(-end // layout.SECTOR_SIZE)
        index = bisect.bisect_left(self._places, sector << _BLOCK_BITS) - 1
        if index < 0:
            return None
        offset, block = _split(self._places[index])
        return (offset, block) if offset + self._size_in_file > start else None


def read(file: stream.VhdStream, footer: layout.Footer,
         header: layout.DynamicHeader) -> BlockTable:
    """Decode the table and check the places of the blocks.

    :raises DamagedVhd: blocks lie outside the file, or overlap each other or
                        a structure
    :raises NotInOrder: the data has been read past the table already
    """
    file.go_to(header.table_offset)
    places = array.array('Q')
    limit = min(file.size // header.size_in_file, MAX_BLOCKS)
    first = 0
    left = header.table_size
    while left:
        size = min(left, _PIECE)
        piece = file.data.read(size)
        if not _UNUSED_PIECE.startswith(piece):
            found = _decode(piece, first)
            places.extend(found)
            _check_inside(file, min(found), max(found), header.size_in_file)
        if len(places) > limit:
            raise file.damaged(
                f'its table lists more than {limit} blocks, which do not '
                f"fit into the file's {text.exact_size(file.size)}")
        first += size // layout.BAT_ENTRY_SIZE
        left -= size
    table = BlockTable(_ascending(places), header)
    _check_blocks(file, table, header)
    _check_structures(file, table, footer, header)
    _check_slack(file, header)
    return table


def _decode(piece: bytes, first: int) -> list[int]:
    """Return the places in a piece of the table.

    :param first: number of its first block
    """
    entries = array.array('I', piece)
    if sys.byteorder == 'little':
        entries.byteswap()
    unused = layout.BAT_UNUSED
    return [sector << _BLOCK_BITS | block
            for block, sector in enumerate(entries, first)
            if sector != unused]


def _ascending(places: _Places) -> _Places:
    if all(a < b for a, b in itertools.pairwise(places)):
        return places
    return array.array('Q', sorted(places))


def _split(place: int) -> tuple[int, int]:
    """Split a place into an offset in the file, in bytes, and a block."""
    return ((place >> _BLOCK_BITS) * layout.SECTOR_SIZE,
            place & _BLOCK_MASK)


def _check_inside(file: stream.VhdStream, first: int, last: int, size: int,
                  ) -> None:
    """Check that blocks lie in the file, after the copy of the footer.

    :param first: the place nearest to the start of the file
    :param last: the place nearest to its end
    :param size: size of a block with its bitmap, in bytes
    """
    offset, block = _split(last)
    if offset + size > file.size:
        raise file.damaged(
            f'the table places block {block} at byte {offset}, but the file '
            f'has only {text.exact_size(file.size)}')
    offset, block = _split(first)
    if offset < layout.Footer.SIZE:
        raise file.damaged(
            f'block {block} overlaps the copy of the footer')


def _check_blocks(file: stream.VhdStream, table: BlockTable,
                  header: layout.DynamicHeader) -> None:
    """Check that no two blocks overlap."""
    end, before = 0, 0
    for offset, block in table:
        if offset < end:
            raise file.damaged(
                f'blocks {before} and {block} overlap', offset=offset)
        end, before = offset + header.size_in_file, block


def _check_structures(file: stream.VhdStream, table: BlockTable,
                      footer: layout.Footer, header: layout.DynamicHeader,
                      ) -> None:
    """Check that structures overlap neither each other nor a block."""
    structures = sorted((
        (0, layout.Footer.SIZE, 'the copy of the footer'),
        (footer.data_offset,
         footer.data_offset + layout.DynamicHeader.SIZE,
         'the header'),
        (header.table_offset,
         header.table_offset + header.table_size,
         'the block allocation table')))
    for (_, end, one), (start, _, other) in itertools.pairwise(structures):
        if start < end:
            raise file.damaged(f'{one} and {other} overlap', offset=start)
    for start, end, what in structures:
        overlapping = table.block_in(start, end)
        if overlapping is not None:
            offset, block = overlapping
            raise file.damaged(f'block {block} overlaps {what}',
                               offset=offset)


def _check_slack(file: stream.VhdStream, header: layout.DynamicHeader,
                 ) -> None:
    """Check that the file is not much larger than its blocks make it.

    A logical volume is as large as if all blocks were there, and a copy of it
    is as well.

    :raises LimitExceeded: it is
    """
    room = header.table_size + header.max_table_entries * header.size_in_file
    slack = file.size - room
    limit = file.limits.max_ignored_size
    if slack > limit:
        raise exceptions.LimitExceeded(
            f'the file is {text.exact_size(slack)} larger than all blocks of '
            'the disk together, more than the limit of '
            f'{text.exact_size(limit)}', member=file.name)

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


"""A VHD as a layer of a disk (see ``converter.layers``)."""

from collections.abc import Iterator
import uuid

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import block_table
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures

#: The size of a fixed disk's extents, in bytes.
FIXED_EXTENT = layout.MAX_BLOCK_SIZE


class VhdLayer:
    """A VHD whose structures at the front have been read.

    :param file: the file, read up to its data
    :param known: its structures
    """

    def __init__(self, file: stream.VhdStream,
                 known: structures.Structures) -> None:
        self._file = file
        self._known = known

    @property
    def name(self) -> str:
        return self._file.name

    @property
    def data(self) -> forward.Reader:
        return self._file.data

    @property
    def size(self) -> int:
        """The size of the disk, in bytes.

        A fixed disk has its only footer at the end. Until that is read, the
        size is taken from the size of the file.
        """
        if self._known.footer is None:
            return self._file.data_end
        return self._known.footer.current_size

    @property
    def unique_id(self) -> uuid.UUID | None:
        """The UUID; None if it follows at the end of the file."""
        footer = self._known.footer
        return None if footer is None else footer.unique_id

    @property
    def parent_unique_id(self) -> uuid.UUID | None:
        """The UUID of the parent; None if the disk has none."""
        header = self._known.header
        return (header.parent_unique_id
                if header is not None and self.has_parent else None)

    @property
    def has_parent(self) -> bool:
        return (self._known.footer is not None
                and self._known.footer.is_differencing)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the blocks in the file: (offset on the disk, size) in bytes.

        A fixed disk does not say which of its blocks hold data, and yields
        nothing.
        """
        header, table = self._known.header, self._known.table
        if header is None or table is None:
            return
        size, end = header.block_size, self.size
        for _, block in table:
            if block * size < end:
                yield block * size, size

    def extents(self) -> Iterator[extents.Extent]:
        """Yield the extents of the disk's data, in file order.

        Blocks beyond the end of the disk are skipped.

        :raises NotInOrder: a block lies before the structures
        """
        known = self._known
        if (known.footer is None or known.header is None
                or known.table is None):
            return _fixed_extents(self.size)
        return _block_extents(
            self._file, known.footer, known.header, known.table)

    def finish(self) -> structures.Structures:
        """Read the footer, which follows the data.

        :returns: the final structures of the VHD
        :raises DamagedVhd: neither footer is valid
        :raises NotInOrder: the footer contradicts its copy at the front, or
                            begins one byte earlier than expected
        """
        tail = structures.read_tail(self._file, self._known)
        known = self._known.footer
        if known is None:
            if tail is None and self._file.may_have_short_footer:
                raise layers.NotInOrder(self.name)
            if tail is None:
                raise structures.no_footer(self.name)
            if not tail.is_fixed or tail.current_size < self._file.data_end:
                raise layers.NotInOrder(self.name)
            structures.check_size(self._file, tail)
            return structures.Structures(tail)
        if tail is not None and not tail.agrees_with(known):
            raise layers.NotInOrder(self.name)
        return self._known


def begin(file: stream.VhdStream, known: structures.Structures | None = None,
          ) -> VhdLayer:
    """Read a VHD up to its data.

    :param known: structures that an earlier pass has found
    :raises XsConvertError, NotInOrder: see ``structures.read_front``
    """
    found = known or structures.Structures()
    for grown in structures.read_front(file, found):
        found = grown
    return VhdLayer(file, found)


def _fixed_extents(disk_size: int) -> Iterator[extents.Extent]:
    for offset in range(0, disk_size, FIXED_EXTENT):
        size = min(FIXED_EXTENT, disk_size - offset)
        yield extents.Extent(offset, size, extents.all_written(size))


def _block_extents(file: stream.VhdStream, footer: layout.Footer,
                   header: layout.DynamicHeader,
                   table: block_table.BlockTable,
                   ) -> Iterator[extents.Extent]:
    lsb_first = footer.has_lsb_first_bitmaps
    for offset, block in table:
        start = block * header.block_size
        if start >= footer.current_size:
            continue
        bitmap = file.read_at(offset, header.bitmap_size)
        yield extents.Extent(
            start, header.block_size, layout.sector_mask(
                bitmap, header.sectors_per_block, lsb_first))

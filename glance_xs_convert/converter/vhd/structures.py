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


"""The structures of one VHD: footer, dynamic header, block table.

A VHD written by XenServer has everything that is needed to place its blocks
at the front: a copy of the footer, the dynamic header, and the block
allocation table. If one of them is missing there, lies after the blocks or
contradicts the footer at the end, a single pass is not enough, and an earlier
pass has to collect the structures.
"""

from collections.abc import Iterator
import dataclasses

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.vhd import block_table
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import leftover
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert import exceptions
from glance_xs_convert import text


@dataclasses.dataclass(frozen=True)
class Structures:
    """The known structures of a VHD; None for those that are not known.

    :ivar footer: the footer that counts: the one at the end if it is valid,
                  otherwise the copy at the front
    :ivar header: the dynamic header, which a fixed disk does not have
    :ivar table: the block table, which a fixed disk does not have
    """

    footer: layout.Footer | None = None
    header: layout.DynamicHeader | None = None
    table: block_table.BlockTable | None = None

    @property
    def complete(self) -> bool:
        return self.footer is not None and (
            self.footer.is_fixed or self.table is not None)


def read_front(file: stream.VhdStream, known: Structures = Structures(),
               ) -> Iterator[Structures]:
    """Read the structures that precede the data.

    A fixed disk has none, except perhaps a copy of the footer, which is not
    trusted.

    :param known: structures that an earlier pass has found
    :returns: the known structures, each time with one more
    :raises DamagedVhd: a structure is damaged or contradicts another
    :raises EncryptedVhd: the blocks are encrypted
    :raises LimitExceeded: the disk is larger than allowed
    :raises NotInOrder: a structure does not come before the data
    """
    if known.footer is None:
        footer = _front_footer(file)
        if footer is None:
            file.check_limit(file.data_end)
            return
        known = Structures(footer)
        yield known
    else:
        footer = known.footer
    check_size(file, footer)
    if known.complete:
        return
    header = known.header
    if header is None:
        header = _read_header(file, footer)
        yield dataclasses.replace(known, header=header)
    table = block_table.read(file, footer, header)
    _check_batmap(file, table, header)
    yield Structures(footer, header, table)


def read_tail(file: stream.VhdStream, known: Structures,
              ) -> layout.Footer | None:
    """Return the footer at the end, or None if it is damaged or missing.

    It is missing if a block reaches to the end of the file. What lies before
    it is noted in ``file.leftover``.
    """
    if file.data.position > file.data_end or (
            known.table is not None
            and known.table.block_in(file.data_end, file.size) is not None):
        return None
    start = max(file.size - layout.Footer.SIZE, file.data.position)
    _pass_over(file, start, known)
    return layout.Footer.at_end_of(file.read_at(start, file.size - start))


def _pass_over(file: stream.VhdStream, end: int, known: Structures) -> None:
    """Skip what lies between the data and the footer, and note what it is.

    :param end: where the footer begins, in bytes
    """
    footer, table = known.footer, known.table
    if footer is not None and footer.is_fixed:
        gap = file.data_end - footer.current_size
        if gap > 0:
            file.leftover = leftover.note_of_gap(file.name, gap)
    elif footer is not None and table is not None:
        file.go_to(max(file.data.position, min(table.end, end)))
        rest = leftover.Leftover(footer)
        size = end - file.data.position
        for position, piece in file.data.stored_pieces(size):
            rest.look_through(position, piece)
        if rest.found is not None:
            file.leftover = leftover.note_of_footer(file.name, rest.found)


def collect(file: stream.VhdStream, known: Structures) -> Structures:
    """Read the whole file to collect its structures.

    More than one pass may be needed; see ``Structures.complete``. The footer
    at the end takes precedence, as in blktap's ``vhd_read_footer``.

    :param known: structures that earlier passes have found
    :returns: the structures known now
    :raises DamagedVhd: see ``read_front``; or neither footer is valid
    """
    damage: exceptions.DamagedVhd | None = None
    try:
        for grown in read_front(file, known):
            known = grown
    except layers.NotInOrder:
        pass
    except exceptions.DamagedVhd as error:
        damage = error
    tail = read_tail(file, known)
    if known.footer is None and tail is None:
        raise damage or no_footer(file.name)
    if tail is not None and (known.footer is None
                             or not tail.agrees_with(known.footer)):
        check_size(file, tail)
        _check_alone(file, known, tail)
        return Structures(tail)
    if damage is not None:
        raise damage
    return known


def _check_alone(file: stream.VhdStream, known: Structures,
                 tail: layout.Footer) -> None:
    """Check that a file does not hold a sparse VHD and then a fixed one.

    A fixed disk may begin with what looks like a VHD, but then it reaches up
    to its footer.

    :param known: the structures at the front
    :raises DamagedVhd: it seems to hold both
    """
    if (known.footer is not None and known.header is not None
            and tail.is_fixed and tail.current_size < file.data_end):
        raise file.damaged(
            f'at its start is a {known.footer.disk_type_name} disk of '
            f'{text.exact_size(known.footer.current_size)}, at its end the '
            'footer of a fixed disk of '
            f'{text.exact_size(tail.current_size)}: it seems to hold two VHDs')


def check_size(file: stream.VhdStream, footer: layout.Footer) -> None:
    """Check the size of the disk.

    :raises DamagedVhd: the size is 0, or the file is too short for it
    :raises LimitExceeded: the disk is larger than allowed
    """
    size = footer.current_size
    if not size:
        raise file.damaged('the disk has a size of 0 bytes')
    file.check_limit(size)
    if footer.is_fixed and size > file.data_end:
        raise file.damaged(
            f'the fixed disk has {text.exact_size(size)}, but the file holds '
            f'only {text.exact_size(file.data_end)} of them')


def of_ends(start: bytes, end: bytes) -> Structures:
    """Return the structures among the first and the last bytes of a VHD.

    :param start: the first bytes of the file
    :param end: its last 512 bytes, or all of them
    """
    footer = layout.Footer.at_start_of(start) or layout.Footer.at_end_of(end)
    if footer is None or footer.is_fixed:
        return Structures(footer)
    return Structures(footer, layout.DynamicHeader.at(
        footer.data_offset, start))


def no_footer(name: str) -> exceptions.DamagedVhd:
    """Make the error for a file without a valid footer."""
    return exceptions.DamagedVhd(
        'there is no valid VHD footer, neither at the start nor at the end',
        member=name)


def _front_footer(file: stream.VhdStream) -> layout.Footer | None:
    """Return the copy of the footer, or None if a fixed disk's data begins.

    :raises NotInOrder: the copy is damaged, but a header follows it
    """
    if file.size < layout.Footer.SHORT_SIZE:
        raise file.damaged(
            f'the file has only {text.exact_size(file.size)}, too few for a '
            'VHD footer')
    front = file.data.read(min(file.size, layout.Footer.SIZE))
    try:
        footer = layout.Footer.unpack(front)
    except layout.LayoutError:
        pass
    else:
        if not footer.is_fixed:
            return footer
    if file.data_end >= file.data.position + layout.Footer.SIZE:
        front += file.data.read(layout.Footer.SIZE)
    if front.startswith(layout.DynamicHeader.cookie, layout.Footer.SIZE):
        raise layers.NotInOrder(file.name)
    file.put_back(front)
    return None


def _read_header(file: stream.VhdStream, footer: layout.Footer,
                 ) -> layout.DynamicHeader:
    offset = footer.data_offset
    if offset + layout.DynamicHeader.SIZE > file.size:
        raise file.damaged(
            f'the footer places the header at byte {offset}, beyond the '
            f"file's {text.exact_size(file.size)}")
    try:
        header = layout.DynamicHeader.unpack(
            file.read_at(offset, layout.DynamicHeader.SIZE))
    except layout.LayoutError as error:
        raise file.damaged(str(error), offset=offset) from None
    if header.table_offset + header.table_size > file.size:
        raise file.damaged(
            f'the header places a table of {header.max_table_entries} blocks '
            f"at byte {header.table_offset}, beyond the file's "
            f'{text.exact_size(file.size)}')
    if header.max_table_entries * header.block_size < footer.current_size:
        raise file.damaged(
            f'its table has {header.max_table_entries} blocks of '
            f'{text.exact_size(header.block_size)}, too few for a disk of '
            f'{text.exact_size(footer.current_size)}')
    return header


def _check_batmap(file: stream.VhdStream, table: block_table.BlockTable,
                  header: layout.DynamicHeader) -> None:
    """Refuse an encrypted disk, which only the batmap reveals."""
    start = header.table_end
    size = layout.BatmapHeader.SIZE
    if table.block_in(start, start + size) is not None or (
            not file.has_bytes(start, size)):
        return
    try:
        batmap = layout.BatmapHeader.unpack(file.read_at(start, size))
    except layout.LayoutError:
        return
    if batmap.is_encrypted:
        raise exceptions.EncryptedVhd(
            'the disk is encrypted and cannot be read without its key',
            member=file.name)

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

"""The chunks of one disk in a XenServer export, read from front to back.

Chunks are named ``REF/NUMBER``, and a checksum follows each. The offset of a
chunk depends on those before it: it is where the previous one ends, plus the
length of the first chunk for each number left out, which stands for zeros. An
empty chunk takes a number but no space: XenServer writes one every few seconds
while it finds only zeros.

Source: xen-api, ``stream_vdi.ml`` (``send_one`` and ``recv_one``).
"""

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator
import contextlib
import re
from typing import NamedTuple

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.xva import checksums
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import text

#: XenServer cuts disks into chunks of 1 MiB. Smaller chunks are accepted, but
#: their number is limited.
_MAX_CHUNKS = 250_000
_LEAST_AVERAGE = 512 * 1024
#: XenServer writes an empty chunk at most every five seconds, so this is for
#: an export that takes three days. Other short chunks are the last of a disk.
_MAX_SHORT_CHUNKS = 50_000

_ZEROS = bytes(64 * 1024)

_CHUNK = re.compile(r'(.+)/([0-9]+)', re.DOTALL)
_CHECKSUM = re.compile(r'.*Ref:.*/[0-9]+\.(?:xxhash|checksum)', re.DOTALL)
#: XenServer calls its disks like this; others may call them anything.
_XENSERVER_NAME = re.compile(r'(?:.*/)?(?:Opaque)?Ref:.*', re.DOTALL)
#: More digits, besides leading zeros, are no number of a chunk.
_MAX_DIGITS = 19
_OLD_CHUNK = re.compile(r'(?:.*/)?chunk-[0-9]+\.gz')


#: What to do about files in another order.
REPACK = ('the export seems to have been packed again in another order: '
          'unpack it, and in the directory of ova.xml run "tar --sort=name '
          '-cf ../NEW.xva ova.xml */"')


#: How many files are searched for the rest of a disk that seems to be cut.
_MOST_SEARCHED = 10_000


class Name(NamedTuple):
    """The name of a chunk.

    :ivar ref: reference of the disk
    :ivar digits: number of the chunk, as it is written
    """

    ref: str
    digits: str

    @property
    def number(self) -> int:
        return int(self.digits)


def is_like_a_chunk(path: str) -> bool:
    """Whether a file of this name belongs to a disk of an export."""
    return any(form.fullmatch(path)
               for form in (_OLD_CHUNK, _XENSERVER_NAME))


def name_of(item: member.Member, folder: str, refs: Container[str],
            ) -> Name | None:
    """Return the name of a chunk, or None for other files.

    :param folder: the folder that the export is in, as far as there is one
    :param refs: the references of the disks
    :raises OldExport: XenServer 3 named its chunks like this
    :raises DamagedExport: the file is like a chunk or a checksum, but must
                           not come here
    """
    path = item.path.removeprefix('./').removeprefix(folder)
    found = _CHUNK.fullmatch(path)
    if found and (found[1] in refs or _XENSERVER_NAME.fullmatch(found[1])):
        if len(found[2].lstrip('0')) > _MAX_DIGITS:
            raise exceptions.DamagedExport(
                'the number of the chunk has too many digits',
                member=item.name)
        return Name(found[1], found[2])
    if _OLD_CHUNK.fullmatch(item.path):
        raise exceptions.OldExport(
            'the export is in the format of XenServer 3, which cuts disks '
            'into chunk-….gz files: import it into XenServer and export it '
            'again', member=item.name)
    if _CHECKSUM.fullmatch(path):
        raise exceptions.DamagedExport(
            f'the checksum does not follow its chunk; {REPACK}',
            member=item.name)
    if _XENSERVER_NAME.fullmatch(path):
        raise exceptions.DamagedExport(
            'a chunk should come here, but the name is not a number',
            member=item.name)
    return None


def interleaved(name: str) -> exceptions.DamagedExport:
    """Make the error for a disk whose chunks do not follow one another.

    :param name: name of the first chunk that comes late
    """
    return exceptions.DamagedExport(
        'chunks of another disk come between this chunk and the others of its '
        f'disk, so the disks are interleaved; {REPACK}', member=name)


class Upcoming:
    """The members of an export, with a look at the next one."""

    def __init__(self, members: Iterator[member.Member]) -> None:
        self._members = members
        self._next: member.Member | None = None

    def peek(self) -> member.Member | None:
        """Return the next member, once the previous one has been read."""
        if self._next is None:
            self._next = next(self._members, None)
        return self._next

    def take(self) -> member.Member | None:
        """Return the next member, whose data can then be read."""
        item, self._next = self.peek(), None
        return item


class DiskReader(forward.PieceReader):
    """A Reader of a disk, zeros included, that verifies each chunk.

    :param ref: reference of the disk
    :param size: size of the disk, in bytes
    :param name_of: returns the name of a chunk, or None for other files
    :param sums: computes the chunks' checksums
    :param length: size of the first chunk in the export, of another disk; None
                   if this is the first disk
    :ivar position: position on the disk, in bytes
    :ivar stored: number of the disk's bytes that came in chunks so far
    :ivar missing: size of the missing first chunks, which stand for zeros, in
                   bytes
    """

    def __init__(self, ref: str, size: int, upcoming: Upcoming,
                 name_of: Callable[[member.Member], Name | None],
                 sums: checksums.Checksums, length: int | None = None,
                 ) -> None:
        self.ref = ref
        self.size = size
        self.position = 0
        self.stored = 0
        self.missing = 0
        self._upcoming = upcoming
        self._chunk: member.Member | None = None
        #: The chunk's place on the disk.
        self._start, self._end = 0, 0
        self._digits = '-1'
        self._name_of = name_of
        self._common_length = length
        self._first_length: int | None = None
        #: The checksums to compute: both kinds for the first chunk, because
        #: it is not known yet which one follows.
        self._kinds = list(checksums.KINDS)
        self._sums = sums
        self._chunks_left = _MAX_CHUNKS + (
            min(size, image_limits.MAX_VIRTUAL_SIZE) // _LEAST_AVERAGE)
        self._short_chunks_left = _MAX_SHORT_CHUNKS

    @property
    def chunk_length(self) -> int | None:
        """The size of the first chunk; None before it has come."""
        return self._first_length

    @property
    def start(self) -> int:
        """The start of the current or next chunk on the disk."""
        return self._start

    @property
    def end(self) -> int:
        """The end of this chunk on the disk."""
        return self._end

    def next_chunk(self) -> bool:
        """Begin the next chunk that is not empty, unless one is being read.

        :returns: whether there is one
        :raises DamagedExport: the chunks contradict each other
        """
        while max(self.position, self._start) == self._end:
            self._finish_chunk()
            if not self._begin_chunk():
                return False
        return True

    def jump(self, position: int) -> None:
        """Skip zeros.

        :param position: new position, at most the start of the chunk
        """
        self.position = position

    def skip_all(self) -> None:
        """Skip the rest of the disk, verifying it."""
        while self.next_chunk():
            self.jump(max(self.position, self._start))
            self.skip(self._end - self.position)

    def finish(self) -> None:
        """Check that the disk is complete.

        :raises IncompleteDisk: it does not end with the last chunk
        """
        if self.next_chunk() or self._end != self.size:
            raise self._incomplete()

    def pieces(self, size: int) -> Iterator[forward.Piece]:
        while size:
            if not self.next_chunk():
                raise self._incomplete()
            zeros = min(size, self._start - self.position, len(_ZEROS))
            if zeros > 0:
                self.position += zeros
                size -= zeros
                yield _ZEROS, 0, zeros
            else:
                part = min(size, self._end - self.position)
                size -= part
                yield from self._chunk_pieces(part)

    def _chunk_pieces(self, size: int) -> Iterator[forward.Piece]:
        if self._chunk is None:
            raise self._incomplete()
        for buffer, start, end in self._chunk.data.pieces(size):
            self._sums.update(memoryview(buffer)[start:end])
            self.position += end - start
            yield buffer, start, end

    def _begin_chunk(self) -> bool:
        """Begin the next chunk; return False if the disk has no more."""
        item = self._upcoming.peek()
        name = self._name_of(item) if item is not None else None
        if item is None or name is None or name.ref != self.ref:
            return False
        self._chunk = self._upcoming.take()
        self._place(item, name)
        self._count(item)
        self._digits = name.digits
        self.stored += item.size
        self._sums.begin(self._kinds)
        return True

    def _place(self, item: member.Member, name: Name) -> None:
        """Compute a chunk's place on the disk.

        XenServer compares the numbers as text.
        """
        number, last = name.number, int(self._digits)
        if number <= last:
            raise exceptions.DamagedExport(
                f'the chunk comes after number {self._digits}, but numbers '
                f'must increase; {REPACK}', member=item.name)
        if name.digits <= self._digits:
            raise exceptions.DamagedExport(
                f'the chunk comes after number {self._digits}, but numbers '
                'must increase as text, so that those with fewer digits need '
                'zeros in front', member=item.name)
        if self._first_length is None:
            if not item.size:
                raise exceptions.IncompleteDisk(
                    'the first chunk of the disk is empty', member=item.name)
            # Zeros in front of it are counted in chunks of the first disk.
            self._first_length = (self._common_length or item.size
                                  if number else item.size)
        if item.size > self._first_length:
            raise exceptions.DamagedExport(
                f'the chunk has {text.exact_size(item.size)}, more than the '
                f'{text.exact_size(self._first_length)} of the first one',
                member=item.name)
        skipped = (number - last - 1) * self._first_length
        if last < 0:
            self.missing = skipped
        self._start = self._end + skipped
        self._end = self._start + item.size
        if self._end > self.size:
            raise exceptions.IncompleteDisk(
                f'the chunk ends at byte {self._end}, but the disk has only '
                f'{text.exact_size(self.size)}', member=item.name)

    def _count(self, item: member.Member) -> None:
        """Limit the number of chunks, and of those shorter than the first."""
        self._chunks_left -= 1
        if item.size != self._first_length:
            self._short_chunks_left -= 1
        if self._chunks_left < 0 or self._short_chunks_left < 0:
            raise exceptions.LimitExceeded(
                'the disk is cut into too many chunks', member=item.name)

    def _finish_chunk(self) -> None:
        """Compare the chunk with the checksum that follows it."""
        if self._chunk is None:
            return
        chunk, self._chunk = self._chunk, None
        item = self._upcoming.take()
        path, _, kind = item.path.rpartition('.') if item else ('', '', '')
        if item is None or path != chunk.path:
            raise exceptions.DamagedExport(
                f'no checksum follows the chunk; {REPACK}', member=chunk.name)
        if kind not in self._kinds:
            raise exceptions.DamagedExport(
                'the name of the checksum must end in '
                + ' or '.join(f'.{kind}' for kind in self._kinds),
                member=item.name)
        self._kinds = [kind]
        size = checksums.KINDS[kind].size
        found = item.data.read(min(item.size, size + 1))
        if not checksums.KINDS[kind].form.fullmatch(found):
            raise exceptions.DamagedExport(
                f'the checksum is not {size} hexadecimal digits',
                member=item.name)
        wanted = self._sums.hexdigest(kind)
        if found.decode().lower() != wanted:
            raise exceptions.WrongChecksum(
                f'the chunk has the checksum {wanted}, but should have '
                f'{found.decode().lower()}', member=chunk.name)

    def _incomplete(self) -> exceptions.DamagedExport:
        """Make the error for a disk that ends early.

        The rest of it may come later.
        """
        for _ in range(_MOST_SEARCHED):
            item = self._upcoming.take()
            if item is None:
                break
            # Checksums are out of place here, and other files do not matter.
            with contextlib.suppress(exceptions.XsConvertError):
                name = self._name_of(item)
                if name is not None and name.ref == self.ref:
                    return interleaved(item.name)
        return exceptions.IncompleteDisk(
            f'the last chunk of the disk is missing: the chunks end at byte '
            f'{self._end}, but the disk has {text.exact_size(self.size)}',
            member=text.printable(self.ref))

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

Chunks are named ``REF/NUMBER``, and each is followed by its checksum. Where a
chunk lies is told by what came before it: the offset runs on, and each number
that is left out stands for as many zeros as the first chunk has bytes. A
chunk of no length takes a number and no room: XenServer writes one every few
seconds while it finds only zeros.

Source: xen-api, ``stream_vdi.ml`` (``send_one`` and ``recv_one``).
"""

from collections.abc import Iterator
import hashlib
import re
from typing import Any
from typing import NamedTuple

import xxhash

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import text

#: XenServer cuts disks into chunks of 1 MiB. Others may cut them smaller,
#: but not into any number of chunks.
_MAX_CHUNKS = 250_000
_LEAST_AVERAGE = 512 * 1024

_ZEROS = bytes(64 * 1024)

_CHUNK = re.compile(r'(?:\./)?((?:Opaque)?Ref:[^/]+)/([0-9]{8,19})')
_DAMAGED_NAME = re.compile(r'(?:\./)?(?:Opaque)?Ref:.*', re.DOTALL)
_OLD_CHUNK = re.compile(r'(?:.*/)?chunk-[0-9]+\.gz')


class _Kind(NamedTuple):
    """A kind of checksum."""

    start: Any
    form: re.Pattern[bytes]
    size: int


def _sha1() -> Any:
    return hashlib.sha1(usedforsecurity=False)


#: By the extension of the checksum's name.
_KINDS = {
    'xxhash': _Kind(xxhash.xxh64, re.compile(rb'[0-9A-F]{16}'), 16),
    'checksum': _Kind(_sha1, re.compile(rb'[0-9A-Fa-f]{40}'), 40),
}


class Name(NamedTuple):
    """What the name of a chunk says.

    :ivar ref: of the disk
    :ivar number: of the chunk
    """

    ref: str
    number: int


def is_like_a_chunk(path: str) -> bool:
    """Whether a file of this name is a part of an export's disk."""
    return any(form.fullmatch(path)
               for form in (_CHUNK, _OLD_CHUNK, _DAMAGED_NAME))


def name_of(item: member.Member) -> Name | None:
    """The name of a chunk; None for files that are nothing of the kind.

    :raises OldExport: XenServer 3 named its chunks like this
    :raises DamagedExport: the file seems to be a chunk or a checksum, but
                           not one that may come here
    """
    found = _CHUNK.fullmatch(item.path)
    if found:
        return Name(found[1], int(found[2]))
    if _OLD_CHUNK.fullmatch(item.path):
        raise exceptions.OldExport(
            'the export is in the format of XenServer 3, whose disks are '
            'cut into chunk-….gz files: import it into XenServer and export '
            'it again', member=item.name)
    if _DAMAGED_NAME.fullmatch(item.path):
        raise exceptions.DamagedExport(
            'a chunk was expected here, and its name is no number',
            member=item.name)
    return None


class Upcoming:
    """The members of an export, of which the next can be looked at."""

    def __init__(self, members: Iterator[member.Member]) -> None:
        self._members = members
        self._next: member.Member | None = None

    def peek(self) -> member.Member | None:
        """The next member; what came before it has been read."""
        if self._next is None:
            self._next = next(self._members, None)
        return self._next

    def take(self) -> member.Member | None:
        """The next member, whose data can be read now."""
        item, self._next = self.peek(), None
        return item


class DiskReader:
    """A Reader of a disk, zeros included, that verifies each chunk.

    :param ref: of the disk
    :param size: of the disk, in bytes
    :ivar position: on the disk, in bytes
    :ivar stored: bytes of the disk that came in chunks so far
    """

    def __init__(self, ref: str, size: int, upcoming: Upcoming) -> None:
        self.ref = ref
        self.size = size
        self.position = 0
        self.stored = 0
        self._upcoming = upcoming
        self._chunk: member.Member | None = None
        #: Where the chunk lies on the disk.
        self._start, self._end = 0, 0
        self._number = -1
        self._first_length: int | None = None
        #: The checksums that are being computed: both kinds for the first
        #: chunk, for it is not known yet which one comes.
        self._hashes: dict[str, Any] = {}
        self._kinds = list(_KINDS)
        self._chunks_left = _MAX_CHUNKS + (
            min(size, limits.MAX_VIRTUAL_SIZE) // _LEAST_AVERAGE)

    @property
    def start(self) -> int:
        """Where the chunk begins that is read next or being read."""
        return self._start

    @property
    def end(self) -> int:
        """Where this chunk ends."""
        return self._end

    def next_chunk(self) -> bool:
        """Go on to the next chunk that has bytes, unless one is being read.

        :returns: whether there is one
        :raises DamagedExport: the chunks contradict each other
        """
        while max(self.position, self._start) == self._end:
            self._finish_chunk()
            if not self._begin_chunk():
                return False
        return True

    def jump(self, position: int) -> None:
        """Pass over zeros.

        :param position: not beyond the start of the chunk
        """
        self.position = position

    def skip_all(self) -> None:
        """Pass over the rest of the disk, and verify it."""
        while self.next_chunk():
            self.jump(max(self.position, self._start))
            self.skip(self._end - self.position)

    def finish(self) -> None:
        """The last chunk has been read.

        :raises IncompleteDisk: the disk does not end there
        """
        if self.next_chunk() or self._end != self.size:
            raise self._incomplete()

    def read(self, size: int) -> bytes:
        return b''.join([buffer[start:end]
                         for buffer, start, end in self.pieces(size)])

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

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
            view = memoryview(buffer)[start:end]
            for hashed in self._hashes.values():
                hashed.update(view)
            self.position += end - start
            yield buffer, start, end

    def _begin_chunk(self) -> bool:
        """Whether the next member is a chunk of this disk."""
        item = self._upcoming.peek()
        name = name_of(item) if item is not None else None
        if item is None or name is None or name.ref != self.ref:
            return False
        self._chunk = self._upcoming.take()
        self._chunks_left -= 1
        if self._chunks_left < 0:
            raise exceptions.LimitExceeded(
                'the disk is cut into too many chunks', member=item.name)
        self._place(item, name.number)
        self._number = name.number
        self.stored += item.size
        self._hashes = {kind: _KINDS[kind].start() for kind in self._kinds}
        return True

    def _place(self, item: member.Member, number: int) -> None:
        """Find out where a chunk lies."""
        if number <= self._number:
            raise exceptions.DamagedExport(
                f'the chunk comes after number {self._number}, and numbers '
                'have to increase', member=item.name)
        if self._first_length is None:
            if number or not item.size:
                raise exceptions.IncompleteDisk(
                    'the first chunk of the disk is missing or empty',
                    member=item.name)
            self._first_length = item.size
        if item.size > self._first_length:
            raise exceptions.DamagedExport(
                f'the chunk has {item.size} bytes, more than the first one '
                f'with {self._first_length}', member=item.name)
        skipped = (number - self._number - 1) * self._first_length
        self._start = self._end + skipped
        self._end = self._start + item.size
        if self._end > self.size:
            raise exceptions.IncompleteDisk(
                f'the chunk ends at byte {self._end} of a disk that has '
                f'{self.size} bytes', member=item.name)

    def _finish_chunk(self) -> None:
        """Compare the checksum that follows a chunk."""
        if self._chunk is None:
            return
        chunk, self._chunk = self._chunk, None
        item = self._upcoming.take()
        path, _, kind = item.path.rpartition('.') if item else ('', '', '')
        if item is None or path != chunk.path:
            raise exceptions.DamagedExport(
                'no checksum follows the chunk', member=chunk.name)
        if kind not in self._hashes:
            raise exceptions.DamagedExport(
                'the checksum is of another kind than '
                + ' or '.join(f'.{kind}' for kind in self._hashes),
                member=item.name)
        self._kinds = [kind]
        found = item.data.read(min(item.size, _KINDS[kind].size + 1))
        if not _KINDS[kind].form.fullmatch(found):
            raise exceptions.DamagedExport(
                f'the checksum is not {_KINDS[kind].size} hexadecimal '
                'digits', member=item.name)
        wanted = self._hashes[kind].hexdigest()
        if found.decode().lower() != wanted:
            raise exceptions.WrongChecksum(
                f'the chunk does not match its checksum: it gives {wanted}, '
                f'not {found.decode().lower()}', member=chunk.name)

    def _incomplete(self) -> exceptions.IncompleteDisk:
        return exceptions.IncompleteDisk(
            f'the last chunk of the disk is missing: the chunks end at byte '
            f'{self._end} of {self.size}', member=text.printable(self.ref))

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

"""What the targets have in common: rules that hold for every input.

Nothing here touches a file system or starts a thread: a conversion reads from
memory and writes to a file in memory.
"""

from collections import abc
import contextlib
import dataclasses
import hashlib
import io
import os
import re
import time
import typing
from unittest import mock
import zlib

from glance_xs_convert.converter import convert
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import passes
from glance_xs_convert.converter.streams import read_ahead
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

LIMITS = image_limits.Limits(
    max_virtual_size=8 * 1024 ** 2, max_chain_length=8, max_members=40,
    max_ignored_size=8 * 1024 ** 2)

#: Processor seconds that one conversion of a small input may take.
MOST_TIME = 5

_SECTOR = 512
_PAGE = 4096
_ZERO_SECTOR = bytes(_SECTOR)
#: In what pieces an archive may come, in bytes.
_CHUNKS = (511, 512, 1000, 4096, 5000)
_WHOLE = 64 * 1024
#: What begins so may be found to be damaged before or after its first piece.
_COMPRESSED = re.compile(
    rb'\x1f\x8b|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18|BZh|'
    rb'\xfd7zXZ\0')


class Broken(Exception):
    """A rule does not hold."""


class Choices:
    """The bytes of an input, one after the other; zeros at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._used = 0

    def byte(self) -> int:
        self._used += 1
        if self._used > len(self._data):
            return 0
        return self._data[self._used - 1]

    def below(self, count: int) -> int:
        """A number below ``count``; bytes are taken as needed."""
        number, most = self.byte(), 256
        while most < count:
            number, most = number << 8 | self.byte(), most << 8
        return number % count

    def one_in(self, count: int) -> bool:
        return self.below(count) == count - 1

    def pick(self, values: typing.Sequence[typing.Any]) -> typing.Any:
        return values[self.below(len(values))]

    def permutation(self, count: int) -> list[int]:
        left = list(range(count))
        return [left.pop(self.below(len(left))) for _ in range(count)]


class Disk(typing.NamedTuple):
    """A raw disk that came out, without its zeros."""

    size: int
    sectors: dict[int, bytes]


Outcome = Disk | exceptions.XsConvertError


class ReadNow:
    """Stands in for ``ReadAhead``: chunks are read when they are asked for.

    Nothing but the thread is missing. The size of the chunks is set by
    ``outcome``, whatever the converter would like.
    """

    chunk_size = _WHOLE

    def __init__(self, read: abc.Callable[[int], bytes],
                 interrupt: abc.Callable[[], None]) -> None:
        self._read = read

    def __enter__(self) -> abc.Iterator[bytes]:
        return iter(lambda: self._read(self.chunk_size), b'')

    def __exit__(self, *exc_info: object) -> None:
        """There is no thread to be ended."""


def without_threads() -> typing.Any:
    """A patch that makes the converter do without its helper thread."""
    return mock.patch.object(read_ahead, 'ReadAhead', ReadNow)


class Stream(io.BytesIO):
    """An input that comes through a pipe."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


class _Target:
    """The file in memory that all conversions are written to."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create('disk')

    def empty(self) -> int:
        os.ftruncate(self.descriptor, 0)
        return self.descriptor

    def disk(self) -> Disk:
        size = os.fstat(self.descriptor).st_size
        sectors = {}
        position = 0
        while position < size:
            try:
                start = os.lseek(self.descriptor, position, os.SEEK_DATA)
            except OSError:
                break
            position = os.lseek(self.descriptor, start, os.SEEK_HOLE)
            data = os.pread(self.descriptor, position - start, start)
            for offset in range(0, len(data), _SECTOR):
                sector = data[offset:offset + _SECTOR]
                if not _ZERO_SECTOR.startswith(sector):
                    sectors[(start + offset) // _SECTOR] = sector
        return Disk(size, sectors)

    def occupied(self) -> int:
        return os.fstat(self.descriptor).st_blocks * _SECTOR


_target = _Target()


@contextlib.contextmanager
def _lost_at_first() -> abc.Iterator[None]:
    """Let the pass without a survey find nothing in order."""
    go_on = passes.Passes._read_vhds

    def lost(image: typing.Any, opened: typing.Any, raw: typing.Any,
             surveyed: typing.Any = None) -> typing.Any:
        if surveyed is None:
            raise layers.NotInOrder('any')
        return go_on(image, opened, raw, surveyed)

    with mock.patch.object(passes.Passes, '_read_vhds', lost):
        yield


def outcome(data: bytes, *, chunk_size: int = _WHOLE, piped: bool = False,
            by_survey: bool = False, **options: typing.Any) -> Outcome:
    """Convert an archive, and check what holds in any case.

    :param chunk_size: in what pieces it is handed on
    :param piped: whether it cannot be read again
    :param by_survey: whether to begin with a survey
    :raises Broken: one of the rules does not hold
    """
    ReadNow.chunk_size = chunk_size
    limits = options.setdefault('limits', LIMITS)
    source = Stream(data) if piped else io.BytesIO(data)
    road = _lost_at_first() if by_survey else contextlib.nullcontext()
    with bounded_time(), road:
        try:
            result = convert.convert(source, _target.empty(), **options)
        except exceptions.XsConvertError as error:
            return refusal(error)
    disk = _target.disk()
    sizes = {disk.size, result.virtual_size,
             *(layer.current_size for layer in result.layers[:1])}
    if len(sizes) > 1 or not disk.size:
        raise Broken(f'a disk of {disk.size} bytes is said to have '
                     f'{result.virtual_size}')
    if disk.size > limits.max_virtual_size:
        raise Broken('a disk larger than the limit')
    if result.source_size != len(data):
        raise Broken(f'{result.source_size} of {len(data)} bytes were read')
    if result.source_sha256 and (
            result.source_sha256 != hashlib.sha256(data).hexdigest()):
        raise Broken('the SHA-256 is of other bytes')
    return disk


def refusal(error: exceptions.XsConvertError) -> exceptions.XsConvertError:
    """An error, which has to be one sentence that can be printed."""
    if not str(error).isprintable() or len(str(error)) > 1000:
        raise Broken('a message that nobody can read') from error
    return error


@contextlib.contextmanager
def bounded_time() -> abc.Iterator[None]:
    start = time.process_time()
    yield
    taken = time.process_time() - start
    if taken > MOST_TIME:
        raise Broken(f'it took {taken:.1f} seconds of processor time')


def same(one: Outcome, other: Outcome, what: str) -> None:
    """Both are the same disk, or both are refused.

    :raises Broken: they are not
    """
    if isinstance(one, Disk) and isinstance(other, Disk):
        if one != other:
            raise Broken(f'{what}: another disk')
    elif isinstance(one, Disk):
        raise Broken(f'{what}: refused') from other
    elif isinstance(other, Disk):
        raise Broken(f'{what}: not refused') from one


def same_refusal(one: Outcome, other: Outcome, what: str) -> None:
    """Both are the same disk, or refused in the same words.

    :raises Broken: they are not
    """
    same(one, other, what)
    if isinstance(one, Exception) and isinstance(other, Exception) and (
            (type(one), str(one)) != (type(other), str(other))):
        raise Broken(f'{what}: refused in other words: {other}') from one


def converted(data: bytes) -> Outcome:
    """Convert an archive, and often on a further road, as the data choose."""
    found = outcome(data)
    choice = zlib.crc32(data)
    road = choice % 6
    if road == 0:
        same_checked(found, data)
    elif road == 1:
        chunk_size = _CHUNKS[(choice >> 8) % len(_CHUNKS)]
        rule = same if _COMPRESSED.match(data) else same_refusal
        rule(found, outcome(data, chunk_size=chunk_size),
             f'in pieces of {chunk_size} bytes')
    elif road == 5:
        same_refusal(found, outcome(data, digest=True), 'with its SHA-256')
    elif road == 2:
        piped = outcome(data, piped=True)
        if isinstance(piped, Disk):
            same(found, piped, 'through a pipe')
    elif road == 3 and isinstance(found, Disk) and found.size > 1:
        less = dataclasses.replace(LIMITS, max_virtual_size=found.size - 1)
        if not isinstance(outcome(data, limits=less),
                          exceptions.LimitExceeded):
            raise Broken('the limit of the size is none')
    elif road == 4:
        same_inspected(found, data)
    return found


def same_inspected(found: Outcome, data: bytes) -> None:
    """Who can be converted can be inspected, and the other way round.

    :raises Broken: it is not so
    """
    try:
        result = convert.inspect(io.BytesIO(data), limits=LIMITS)
    except exceptions.XsConvertError as error:
        # A conversion needs a disk, or the choice of one, before it reads on.
        if not isinstance(found, exceptions.DiskNotChosen
                          | exceptions.NoSuchDisk):
            same_refusal(found, refusal(error), 'inspected')
        return
    sizes = [disk.virtual_size for disk in result.disks]
    if isinstance(found, Disk):
        if found.size not in sizes:
            raise Broken('inspected: another size')
    elif len(sizes) == 1:
        raise Broken('inspected: not refused') from found


def same_checked(found: Outcome, data: bytes) -> None:
    """What a check says is what a conversion does.

    :param found: what the last conversion has left
    :raises Broken: it is not
    """
    occupied = _target.occupied()
    try:
        result = convert.check(io.BytesIO(data), limits=LIMITS,
                               with_map=True)
    except exceptions.XsConvertError as error:
        same_refusal(found, refusal(error), 'checked')
        return
    if not isinstance(found, Disk):
        raise Broken('checked: not refused') from found
    if result.virtual_size != found.size or (
            result.source_size != len(data)):
        raise Broken('checked: another size')
    if not occupied <= result.allocated <= min(
            occupied + _PAGE, result.room):
        raise Broken(f'checked: {result.allocated} bytes are to be '
                     f'occupied, with room for {result.room}, but '
                     f'{occupied} are')
    mapped = {offset // _SECTOR
              for start, size, _ in result.disk_map or ()
              for offset in range(start, start + size, _SECTOR)}
    if not mapped.issuperset(found.sectors):
        raise Broken('checked: the map lacks a sector')

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

"""What the targets have in common: rules that hold for every input."""

import contextlib
import io
import os
import pathlib
import tempfile
import time
import typing

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import limits

from testbed.images import model

LIMITS = limits.Limits(max_virtual_size=8 * 1024 ** 2, max_chain_length=8,
                       max_members=40, max_ignored_size=64 * 1024 ** 2)

#: Processor seconds that one conversion of a small input may take.
MOST_TIME = 5

_MEMORY = '/dev/shm'  # nosec B108: a directory of our own is made there


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


@contextlib.contextmanager
def directory() -> typing.Iterator[pathlib.Path]:
    """An empty directory, in memory where there is such a thing."""
    where = _MEMORY if os.path.isdir(_MEMORY) else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield pathlib.Path(name)


def outcome(data: bytes, **options: typing.Any) -> Outcome:
    """Convert an archive, and check what holds in any case.

    :raises Broken: one of the rules does not hold
    """
    with directory() as output, bounded_time():
        target = output / 'disk.raw'
        try:
            result = api.convert(
                io.BytesIO(data), target,
                **{'limits': LIMITS, **options})
        except exceptions.XsConvertError as error:
            if os.listdir(output):
                raise Broken('a file is left after an error') from error
            if not str(error).isprintable():
                raise Broken('a message with control characters') from error
            return error
        if os.listdir(output) != [target.name]:
            raise Broken('a file is left beside the target')
        disk = Disk(target.stat().st_size,
                    {sector: found for sector, found
                     in model.stored_sectors(target) if any(found)})
    if disk.size != result.virtual_size or not (
            0 < disk.size == result.layers[0].current_size):
        raise Broken(f'a disk of {disk.size} bytes is said to have '
                     f'{result.virtual_size}')
    if disk.size > options.get('limits', LIMITS).max_virtual_size:
        raise Broken('a disk larger than the limit')
    return disk


@contextlib.contextmanager
def bounded_time() -> typing.Iterator[None]:
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

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

"""Structures of big-endian fields, each declared once.

A structure is a frozen dataclass whose fields are declared with the functions
of this module, in the order in which they lie in the file. The same
declaration reads and writes it.
"""

from collections.abc import Callable
import dataclasses
import struct
from typing import Any
from typing import ClassVar
from typing import TypeVar
import uuid

_Own = TypeVar('_Own', bound='Record')
_CODES = {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}
_TEXT = 'utf-16-be'


class LayoutError(ValueError):
    """The bytes are not the expected structure."""


def cookie(value: bytes) -> Any:
    """Declare bytes that are always the same, which tell the structure."""
    return dataclasses.field(
        default=value, metadata=_metadata(f'{len(value)}s'))


def number(size: int) -> Any:
    """Declare an unsigned integer of ``size`` bytes."""
    return _field(_CODES[size])


def characters(size: int) -> Any:
    """Declare ``size`` bytes that are kept as they are."""
    return _field(f'{size}s')


def unique_id() -> Any:
    """Declare a UUID."""
    return _field('16s', lambda data: uuid.UUID(bytes=data),
                  lambda value: value.bytes)


def unicode_name(size: int) -> Any:
    """Declare a name in UTF-16, padded to ``size`` bytes."""
    return _field(
        f'{size}s',
        lambda data: data.decode(_TEXT, errors='replace').partition('\0')[0],
        lambda value: value.encode(_TEXT, errors='replace'))


def _field(code: str, read: Callable[[bytes], Any] | None = None,
           write: Callable[[Any], Any] | None = None) -> Any:
    return dataclasses.field(metadata=_metadata(code, read, write))


def _metadata(code: str, read: Callable[[bytes], Any] | None = None,
              write: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    return {'code': code, 'read': read, 'write': write}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """The base class of structures.

    :cvar SIZE: size in bytes; what follows the declared fields is not looked
                at, and written as zeros
    :cvar WHAT: its name for errors
    """

    SIZE: ClassVar[int]
    WHAT: ClassVar[str]

    @classmethod
    def unpack(cls: type[_Own], data: bytes) -> _Own:
        """Read the structure.

        :param data: its bytes, all of them
        :raises LayoutError: wrong length or cookie
        """
        if len(data) != cls.SIZE:
            raise LayoutError(f'the {cls.WHAT} has only {len(data)} of its '
                              f'{cls.SIZE} bytes')
        values = {}
        found = _packer(cls).unpack_from(data)
        for field, value in zip(dataclasses.fields(cls), found, strict=True):
            read = field.metadata['read']
            values[field.name] = read(value) if read else value
            if field.default not in (dataclasses.MISSING, value):
                raise LayoutError(f'the {cls.WHAT} has no '
                                  f'"{field.default.decode()}" cookie')
        return cls(**values)

    def pack(self) -> bytes:
        """Return the bytes of the structure."""
        values = []
        for field in dataclasses.fields(self):
            value, write = getattr(self, field.name), field.metadata['write']
            values.append(write(value) if write else value)
        return _packer(type(self)).pack(*values).ljust(self.SIZE, b'\0')

    @classmethod
    def place_of(cls, name: str) -> slice:
        """Return the place of a field in the structure's bytes."""
        end = 0
        for field in dataclasses.fields(cls):
            start, end = end, end + struct.calcsize(
                '>' + field.metadata['code'])
            if field.name == name:
                return slice(start, end)
        raise KeyError(name)


def _packer(record: type[Record]) -> struct.Struct:
    return struct.Struct('>' + ''.join(
        field.metadata['code'] for field in dataclasses.fields(record)))


def checksum(data: bytes | bytearray, own: slice) -> int:
    """Compute the one's complement of the sum of a structure's bytes.

    :param data: the whole structure
    :param own: the place of the checksum, which the sum leaves out
    """
    return ~(sum(data) - sum(data[own])) & 0xFFFFFFFF

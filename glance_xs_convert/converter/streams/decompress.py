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

"""Decompression with the fastest gzip library available."""

import gzip
import io
from typing import Any
from typing import BinaryIO
from typing import cast
from typing import TYPE_CHECKING
import zlib

from glance_xs_convert.converter.streams import frames
from glance_xs_convert import exceptions

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GzipFile: type[gzip.GzipFile]
_error: Any
try:
    from isal import igzip
    from isal import isal_zlib
except ImportError:
    _GzipFile, _error = gzip.GzipFile, zlib.error
else:
    _GzipFile, _error = igzip.IGzipFile, isal_zlib.error

MAGIC = b'\x1f\x8b'


class Gunzip:
    """The decompressed bytes of a gzip file of one or more members.

    :param source: the compressed bytes
    """

    def __init__(self, source: frames.Source) -> None:
        self._file = _GzipFile(
            fileobj=cast(BinaryIO, _Prompt(source)), mode='rb')

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none once the last checksum is right.

        :raises DamagedArchive: the data ends early, or a checksum is wrong
        """
        try:
            return self._file.read1(size)
        except EOFError:
            raise exceptions.DamagedArchive(
                'the gzip data ends early: the archive is cut short') from None
        except (gzip.BadGzipFile, ArithmeticError, ValueError,
                _error) as error:
            raise exceptions.DamagedArchive(
                f'the gzip data is damaged ({error})') from None


class _Prompt(io.RawIOBase):
    """A file whose reads return the data at hand and wait for no more."""

    def __init__(self, source: frames.Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: 'WriteableBuffer') -> int:
        view = memoryview(buffer).cast('B')
        data = self._source.read1(len(view))
        view[:len(data)] = data
        return len(data)

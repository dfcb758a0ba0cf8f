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

"""Decompression of zstandard data with the standard library.

Source for the magic numbers: RFC 8878.
"""

import io
import sys

from glance_xs_convert import exceptions
from glance_xs_convert import limits

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC_SIZE = 4
#: The largest piece of compressed data to read at a time, in bytes.
_SOURCE_SIZE = 256 * 1024
_FRAME = b'\x28\xb5\x2f\xfd'
#: A skippable frame; the low half of its first byte has any value.
_SKIPPABLE = b'\x2a\x4d\x18'
_SKIPPABLE_FIRST = range(0x50, 0x60)

#: A window of 128 MiB, the most that zstd decompresses without an option.
#: XenServer uses 8 MiB at most.
_MAX_WINDOW_LOG = 27
#: Gzip cannot compress better than this, and zstandard does so only if the
#: data is nearly all zeros. The first _FREE bytes do not count, because a
#: small archive may be mostly holes.
_MAX_RATIO = 1032
_FREE = limits.GIB


def is_zstandard(start: bytes) -> bool:
    """Whether data with these first bytes is zstandard data.

    :param start: ``MAGIC_SIZE`` bytes or more
    """
    return start.startswith(_FRAME) or (
        start[1:MAGIC_SIZE] == _SKIPPABLE and start[0] in _SKIPPABLE_FIRST)


class Decompressor:
    """The decompressed bytes of one or more zstandard frames.

    :param source: the compressed bytes
    """

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._frame = _frame()
        self._size_read = 0
        self._size = 0

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none after the last frame.

        :raises DamagedArchive: the data is cut short or damaged
        :raises LimitExceeded: the data expands too much, or needs too much
                               memory to decompress
        """
        data = b''
        while not data:
            more = self._frame.unused_data if self._frame.eof else b''
            if not more and (self._frame.eof or self._frame.needs_input):
                more = self._read_source()
            if self._frame.eof:
                if not more:
                    return b''
                self._frame = _frame()
            try:
                data = self._frame.decompress(more, size)
            except zstd.ZstdError as error:
                raise _refusal(str(error)) from None
        self._size += len(data)
        if self._size > _FREE + _MAX_RATIO * self._size_read:
            raise exceptions.LimitExceeded(
                f'the first {self._size_read} bytes of zstandard data '
                f'expand to {self._size} bytes or more, which is out of '
                'proportion')
        return data

    def _read_source(self) -> bytes:
        """Read the data at hand, without waiting for more."""
        data = self._source.read1(_SOURCE_SIZE)
        if not data and not self._frame.eof:
            raise exceptions.DamagedArchive(
                'the zstandard data ends early: the archive is cut short')
        self._size_read += len(data)
        return data


def _frame() -> zstd.ZstdDecompressor:
    frame: zstd.ZstdDecompressor = zstd.ZstdDecompressor(options={
        zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
    return frame


def _refusal(reason: str) -> exceptions.XsConvertError:
    """Turn an error of the zstandard library into one of this package."""
    if 'memory' in reason:
        return exceptions.LimitExceeded(
            'the zstandard data needs a window of more than '
            f'{1 << _MAX_WINDOW_LOG - 20} MiB')
    return exceptions.DamagedArchive(
        f'the zstandard data is damaged ({reason})')

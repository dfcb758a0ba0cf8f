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

import sys

from glance_xs_convert.converter.streams import frames
from glance_xs_convert import exceptions
from glance_xs_convert import text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC_SIZE = 4
_NAME = 'zstandard'
_FRAME = b'\x28\xb5\x2f\xfd'
#: A skippable frame; the low half of its first byte has any value.
_SKIPPABLE = b'\x2a\x4d\x18'
_SKIPPABLE_FIRST = range(0x50, 0x60)

#: A window of 128 MiB, the most that zstd decompresses without an option.
#: XenServer uses 8 MiB at most.
_MAX_WINDOW_LOG = 27


def is_zstandard(start: bytes) -> bool:
    """Whether data with these first bytes is zstandard data.

    :param start: ``MAGIC_SIZE`` bytes or more
    """
    return start.startswith(_FRAME) or (
        start[1:MAGIC_SIZE] == _SKIPPABLE and start[0] in _SKIPPABLE_FIRST)


def decompressor(source: frames.Source) -> frames.Decompressor:
    """Return the decompressed bytes of zstandard frames."""
    return frames.Decompressor(source, frames.Format(
        _NAME, _frame, (zstd.ZstdError,), _refusal, may_be_padded=False))


def _frame() -> frames.Frame:
    frame: frames.Frame = zstd.ZstdDecompressor(options={
        zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
    return frame


def _refusal(reason: str) -> exceptions.XsConvertError:
    if 'memory' in reason:
        return exceptions.LimitExceeded(
            'the zstandard data needs a window of more than '
            f'{text.size(1 << _MAX_WINDOW_LOG)}')
    return frames.damaged(_NAME, reason)

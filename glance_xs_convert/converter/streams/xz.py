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

"""Decompression of xz data with the standard library.

Source for the magic number: "The .xz File Format", version 1.2.0.
"""

import lzma

from glance_xs_convert.converter.streams import frames
from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

MAGIC = b'\xfd7zXZ\0'
_NAME = 'xz'
#: The largest dictionary, in bytes. The highest level of compression uses one
#: of 64 MiB.
_MAX_DICTIONARY = 128 * units.MIB
#: What a decompressor needs besides its dictionary, in bytes.
_OVERHEAD = units.MIB


def decompressor(source: frames.Source) -> frames.Decompressor:
    """Return the decompressed bytes of xz streams."""
    return frames.Decompressor(source, frames.Format(
        _NAME, _stream, (lzma.LZMAError,), _refusal, may_be_padded=True))


def _stream() -> frames.Frame:
    return lzma.LZMADecompressor(
        lzma.FORMAT_XZ, memlimit=_MAX_DICTIONARY + _OVERHEAD)


def _refusal(reason: str) -> exceptions.XsConvertError:
    if 'Memory' in reason:
        return exceptions.LimitExceeded(
            'the xz data needs a dictionary of more than '
            f'{text.size(_MAX_DICTIONARY)}')
    return frames.damaged(_NAME, reason)

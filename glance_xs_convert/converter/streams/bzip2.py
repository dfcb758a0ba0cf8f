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

"""Decompression of bzip2 data with the standard library."""

import bz2
import re

from glance_xs_convert.converter.streams import frames
from glance_xs_convert import exceptions

_NAME = 'bzip2'
#: The size of the blocks follows the magic number, in units of 100 kB, and
#: then a block or the end of the stream.
_START = re.compile(rb'BZh[1-9](?:\x31\x41\x59\x26\x53\x59|'
                    rb'\x17\x72\x45\x38\x50\x90)')


def is_bzip2(start: bytes) -> bool:
    """Whether data with these first bytes is bzip2 data."""
    return _START.match(start) is not None


def decompressor(source: frames.Source) -> frames.Decompressor:
    """Return the decompressed bytes of bzip2 streams.

    A block takes 4 MB of memory at most.
    """
    return frames.Decompressor(source, frames.Format(
        _NAME, bz2.BZ2Decompressor, (OSError, ValueError), _refusal,
        may_be_padded=True))


def _refusal(reason: str) -> exceptions.XsConvertError:
    return frames.damaged(_NAME, reason)

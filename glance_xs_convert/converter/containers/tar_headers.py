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


"""A guard between ``tarfile`` and the headers that it reads.

The standard library reads tar headers well, but trusts the lengths that they
give. The guard bounds and checks them first. Source for the format:
POSIX.1-2017, "pax Interchange Format", and the GNU tar manual, "Basic Tar
Format".
"""

import re
import sys
import tarfile

from glance_xs_convert.converter.containers import member
from glance_xs_convert import exceptions
from glance_xs_convert import text
from glance_xs_convert import units

#: The largest size of one member's headers (long names, pax records), of all
#: members' headers together, and of a single read.
_MAX_HEADERS = 64 * 1024
_MAX_ALL_HEADERS = 2 * units.MIB
_MAX_HEADER_READ = 16 * 1024
#: The standard library's pax parser is quadratic in the length of a number.
_ENDLESS_NUMBER = re.compile(rb'[0-9]{64}')
_PAX_LENGTH = re.compile(rb'[1-9][0-9]{0,4} ')
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_TYPE = slice(156, 157)
_CHECKSUM = slice(148, 156)
_MAGIC = slice(257, 265)
_GNU_MAGIC = b'ustar  \0'
#: Where GNU tar has times, and POSIX the beginning of a prefix of the name.
_TIMES = slice(345, 369)


class HeaderGuard:
    """A file for ``tarfile``: bounded, and never read backwards."""

    def __init__(self, reader: member.ArchiveReader) -> None:
        self._reader = reader
        self._left = 0
        self._all_left = _MAX_ALL_HEADERS
        self._kind = b''
        self._expects_header = True

    def expect_many(self) -> None:
        """Bound the headers of single members only."""
        self._all_left = sys.maxsize

    def start_member(self) -> None:
        """Expect the headers of the next member."""
        self._left = min(_MAX_HEADERS, self._all_left)
        self._expects_header = True

    def tell(self) -> int:
        return self._reader.position

    def seek(self, offset: int) -> None:
        """Report damage: ``tarfile`` seeks to give up a damaged header."""
        raise exceptions.DamagedArchive('a tar header is damaged',
                                        offset=self._reader.position)

    def read(self, size: int) -> bytes:
        data = self._read_bounded(size)
        if self._expects_header:
            data = _without_times(data)
        self._follow(data)
        return data

    def _read_bounded(self, size: int) -> bytes:
        if not 0 <= size <= min(_MAX_HEADER_READ, self._left):
            raise exceptions.DamagedArchive(
                'the tar headers are too long: one member may have '
                f'{text.size(_MAX_HEADERS)} of them, and all members '
                f'{text.size(_MAX_ALL_HEADERS)}',
                offset=self._reader.position)
        self._left -= size
        self._all_left -= size
        return self._read(size)

    def _follow(self, data: bytes) -> None:
        """Tell headers from the data that follows, and check pax records."""
        if self._expects_header:
            self._kind = data[_TYPE]
            self._expects_header = False
        elif self._kind in _PAX_TYPES:
            self._check_pax(data)
            self._expects_header = True
        elif self._kind in _LONG_NAME_TYPES:
            self._expects_header = True

    def _check_pax(self, data: bytes) -> None:
        """Check that records are contiguous, and only zeros follow."""
        start = 0
        while start < len(data) and data[start]:
            length = _PAX_LENGTH.match(data, start)
            end = start + int(length[0]) if length else start
            record = data[start:end]
            if len(record) != end - start or not (
                    record.endswith(b'\n') and b'=' in record):
                break
            start = end
        if data[start:].strip(b'\0') or _ENDLESS_NUMBER.search(data):
            raise exceptions.DamagedArchive(
                'the records of an extended tar header are damaged',
                offset=self._reader.position)

    def _read(self, size: int) -> bytes:
        data = b''
        while len(data) < size and not self._reader.at_end():
            data += self._reader.read(
                min(size - len(data), self._reader.available))
        return data


def _without_times(header: bytes) -> bytes:
    """Remove the times that incremental archives of GNU tar have.

    ``tarfile`` takes them for a part of the name.
    """
    times = header[_TIMES]
    if header[_MAGIC] != _GNU_MAGIC or not any(times):
        return header
    try:
        checksum = int(header[_CHECKSUM].strip(b' \0'), 8)
    except ValueError:
        return header
    changed = bytearray(header)
    changed[_TIMES] = bytes(len(times))
    changed[_CHECKSUM] = b'%06o\0 ' % max(0, checksum - sum(times))
    return bytes(changed)

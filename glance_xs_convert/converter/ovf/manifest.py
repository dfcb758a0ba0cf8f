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

"""The manifest of an OVF package (.mf): the checksums of its files.

Each line gives one: ``SHA1(disk.vhd)= 0123…``. Source: DMTF DSP0243, "Open
Virtualization Format Specification", version 2.1, 5.1 "OVF package structure".
"""

import codecs
import re
from typing import NamedTuple

from glance_xs_convert import text
from glance_xs_convert import units

#: The largest manifest, in bytes, and the most lines.
MAX_SIZE = units.MIB
_MAX_LINES = 10_000

#: A name may itself hold parentheses.
_LINE = re.compile(r'\s*([A-Za-z0-9-]+)\s*\((.*)\)\s*=\s*([0-9A-Fa-f]*)\s*')

#: The algorithms of the specification, in the names of the standard library,
#: and the number of hexadecimal digits of a sum.
ALGORITHMS = {'sha1': 40, 'sha256': 64, 'sha512': 128}
#: Those to compute while it is not known which one the manifest uses.
LIKELY = ('sha1', 'sha256')


class Sum(NamedTuple):
    """The checksum that a file must have.

    :ivar algorithm: a key of ``ALGORITHMS``
    :ivar digits: the sum in lower-case hexadecimal digits
    """

    algorithm: str
    digits: str


class Manifest(NamedTuple):
    """The checksums of a package's files.

    :ivar sums: by the names of the files
    :ivar notes: sentences on the lines that say nothing
    """

    sums: dict[str, Sum]
    notes: list[str]

    def sum_of(self, name: str) -> Sum | None:
        """Return the checksum of a file, whose name may differ in case."""
        if name in self.sums:
            return self.sums[name]
        for other, found in self.sums.items():
            if other.lower() == name.lower():
                return found
        return None


def parse(document: bytes, name: str) -> Manifest:
    """Read a manifest.

    :param document: at most ``MAX_SIZE`` bytes
    :param name: its name, for notes
    """
    sums: dict[str, Sum] = {}
    unread = []
    lines = document.removeprefix(codecs.BOM_UTF8).decode(
        errors='backslashreplace').splitlines()
    for line in filter(str.strip, lines[:_MAX_LINES]):
        found = _LINE.fullmatch(line)
        if found:
            algorithm = found[1].lower().replace('-', '')
            digits = found[3].lower()
            if ALGORITHMS.get(algorithm) == len(digits):
                sums[found[2]] = Sum(algorithm, digits)
                continue
        unread.append(line)
    notes = []
    if unread:
        notes.append(
            f'{name} holds {text.count(len(unread), "line")} without a '
            'checksum that can be verified, such as '
            f'{text.printable(unread[0], 80)!r}')
    return Manifest(sums, notes)

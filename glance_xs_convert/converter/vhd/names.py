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

"""What the names and the first and last bytes of members tell.

Nova numbered the VHDs of an archive when it made it: ``0.vhd`` is the leaf
(dom0 plugin, ``utils.prepare_staging_area``). Its first version called them
``snap.vhd``, ``image.vhd`` and ``base.vhd``, and put a disk for swapping
beside them, ``swap.vhd`` (``import_vhds``).
"""

from collections.abc import Sequence
import re
from typing import NamedTuple

from glance_xs_convert.converter.vhd import layout

#: The endings of names that say that a file is a VHD.
_ENDINGS = ('.vhd', '.avhd')
#: A longer number, such as a date, is no place in a chain.
_NUMBER = re.compile(r'0*([0-9]{1,3})')
_OLD = ('snap', 'image', 'base')
_SWAP = 'swap'
#: Files with attributes that tar on macOS puts beside the real ones.
_APPLE_DOUBLE = '._'

#: How many of a file's first and last bytes show whether it is a VHD.
START_SIZE = layout.Footer.SIZE + len(layout.DynamicHeader.cookie)
END_SIZE = layout.Footer.SIZE


class Name(NamedTuple):
    """The path of a member in its parts; stem and ending in lower case.

    :ivar directory: its directory, without ``./`` in front
    :ivar stem: its name without the ending
    :ivar ending: the ending with its dot, or ''
    """

    directory: str
    stem: str
    ending: str

    @property
    def claims(self) -> bool:
        """Whether the name says that the file is a VHD."""
        return self.ending in _ENDINGS and not self.stem.startswith(
            _APPLE_DOUBLE)

    @property
    def is_swap(self) -> bool:
        """Whether Nova gave this name to a disk for swapping."""
        return (self.stem, self.ending) == (_SWAP, '.vhd')

    @property
    def number(self) -> int | None:
        """The number that is the whole name but the ending, or None."""
        found = _NUMBER.fullmatch(self.stem)
        return int(found[1]) if found else None

    @property
    def group(self) -> tuple[str, str]:
        """The directory and ending, which names of one naming share."""
        return self.directory, self.ending


def parse(path: str) -> Name:
    """Split the path of a regular file into its parts."""
    directory, _, base = normalized(path).rpartition('/')
    stem, dot, ending = base.lower().rpartition('.')
    return Name(directory, *((stem, dot + ending) if dot else (ending, '')))


def normalized(path: str) -> str:
    """Return a path without what does not change the file that it names."""
    return '/'.join(part for part in path.split('/')
                    if part not in ('', '.'))


def ranks(names: Sequence[Name]) -> list[int] | None:
    """Return the places that the names give to VHDs: 0 for the leaf.

    It is None unless all of the names are numbers, or all of them are the old
    names, in one directory and with one ending. A VHD alone has a number only
    if Nova may have given it.
    """
    if len({name.group for name in names}) != 1:
        return None
    if len(names) == 1 and names[0].ending != _ENDINGS[0]:
        return None
    numbers = [name.number for name in names]
    if None not in numbers:
        return [number for number in numbers if number is not None]
    if all(name.stem in _OLD and name.ending == '.vhd' for name in names):
        return [_OLD.index(name.stem) for name in names]
    return None


def has_vhd_start(start: bytes) -> bool:
    """Whether a file is a VHD, perhaps a damaged one, by its first bytes.

    :param start: ``START_SIZE`` of them, or as many as it has
    """
    return (start.startswith(layout.Footer.cookie)
            or start.startswith(layout.DynamicHeader.cookie,
                                layout.Footer.SIZE))


def has_vhd_end(end: bytes) -> bool:
    """Whether a file is a VHD, perhaps a damaged one, by its last bytes.

    :param end: ``END_SIZE`` of them, or as many as it has
    """
    return any(end[-size:].startswith(layout.Footer.cookie)
               for size in (layout.Footer.SIZE, layout.Footer.SHORT_SIZE))

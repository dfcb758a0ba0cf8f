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


"""The members that a container yields, one after the other."""

from collections.abc import Iterator
import dataclasses
from typing import Protocol

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import text


#: How many of a member's first and last bytes are kept when it is skipped.
START_SIZE = 2048
END_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Skimmed:
    """A member of which only the first and the last bytes have been read.

    :ivar path: its name in the archive
    :ivar name: the same in a form that is safe to show
    :ivar size: size in bytes
    :ivar start: its first bytes, at most ``START_SIZE``
    :ivar end: its last bytes, at most ``END_SIZE``
    """

    path: str
    name: str
    size: int
    start: bytes
    end: bytes


class Member:
    """A file in the archive.

    :ivar index: its number among all members of the archive, from 0
    :ivar path: its name in the archive
    :ivar name: the same in a form that is safe to show
    :ivar size: size in bytes
    :ivar data: a Reader of its bytes, valid until the next member is taken
    :ivar special: what it is if it is no regular file, for example "a hard
                   link to 0.vhd"; otherwise empty
    :ivar linked: path of the file that it is a link to; otherwise empty
    """

    def __init__(self, index: int, path: str, size: int,
                 data: forward.Reader, special: str = '', linked: str = '',
                 ) -> None:
        self.index = index
        self.path = path
        self.name = text.printable(path)
        self.size = size
        self.data = data
        self.special = special
        self.linked = linked

    def peek(self, size: int) -> bytes:
        """Return the first ``size`` bytes, or all, without using them up.

        Nothing of the member must have been read.
        """
        start = self.data.read(min(size, self.size))
        self.data = forward.Rewound(self.data, start)
        return start

    def skim(self) -> Skimmed:
        """Read the first and the last bytes, and skip those between them.

        Nothing of the member must have been read.
        """
        size = min(self.size, START_SIZE)
        start = self.data.read(size)
        rest = self.size - size
        self.data.skip(max(0, rest - END_SIZE))
        end = start + self.data.read(min(rest, END_SIZE))
        return Skimmed(self.path, self.name, self.size, start,
                       end[-END_SIZE:])


class Unmeasured(layers.NotInOrder):
    """The size of a member is known only once it has been read."""


class Members(Protocol):
    """A container that holds the VHDs of one disk."""

    def members(self) -> Iterator[Member]:
        """Yield the files in their order."""

    def ignore(self, item: Member) -> None:
        """Note that a member does not belong to the disk."""


class ArchiveReader(forward.ForwardReader):
    """A reader of the decompressed bytes.

    If they end too early, its error names the member.

    :ivar inside: name of the member that is being read, or None
    """

    inside: str | None = None

    def read_rest(self) -> int:
        """Read everything to the end, and return the position there."""
        while not self.at_end():
            self.skip(self.available)
        return self.position

    def end_of_data(self) -> Exception:
        return exceptions.DamagedArchive(
            'the archive is cut short', member=self.inside,
            offset=self.position)

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
from typing import Protocol

from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import text


class Member:
    """A regular file in the archive.

    :ivar index: its number among all members of the archive, from 0
    :ivar path: its name in the archive
    :ivar name: the same in a form that is safe to show
    :ivar size: size in bytes
    :ivar data: a Reader of its bytes, valid until the next member is taken
    """

    def __init__(self, index: int, path: str, size: int,
                 data: forward.Reader) -> None:
        self.index = index
        self.path = path
        self.name = text.printable(path)
        self.size = size
        self.data = data


class Members(Protocol):
    """A container that holds the VHDs of one disk."""

    def members(self) -> Iterator[Member]:
        """Yield the regular files in their order."""

    def ignore(self, member: Member) -> None:
        """Note that a member does not belong to the disk."""


class ArchiveReader(forward.ForwardReader):
    """A reader of the decompressed bytes.

    If they end too early, its error names the member.

    :ivar inside: name of the member that is being read, or None
    """

    inside: str | None = None

    def end_of_data(self) -> Exception:
        return exceptions.DamagedArchive(
            'the archive is cut short', member=self.inside,
            offset=self.position)

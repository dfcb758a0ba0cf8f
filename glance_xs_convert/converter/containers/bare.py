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


"""One VHD without an archive around it."""

from collections.abc import Iterator

from glance_xs_convert.converter.containers import member

#: The key of the VHD's size where members of archives have their indexes.
INDEX = -1


class BareVhd:
    """A VHD without an archive around it, which takes an archive's place.

    :ivar name: name for the VHD, which has none
    :ivar size: size in bytes; None if only its end tells
    :ivar data: its bytes
    """

    def __init__(self, name: str, size: int | None,
                 data: member.ArchiveReader) -> None:
        self.name = name
        self.size = size
        self.data = data

    def members(self) -> Iterator[member.Member]:
        """Yield the VHD, then read it to its end.

        :raises Unmeasured: its size is not known
        """
        if self.size is None:
            raise member.Unmeasured(self.name)
        yield member.Member(0, self.name, self.size, self.data)
        self.read_rest()

    def ignore(self, item: member.Member) -> None:
        """Do nothing: the only member belongs to the chain."""

    def read_rest(self) -> int:
        """Read the VHD to its end, and return its size."""
        return self.data.read_rest()

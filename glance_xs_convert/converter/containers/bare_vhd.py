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

from collections.abc import Iterable
from collections.abc import Iterator

from glance_xs_convert.converter.containers import member


class BareVhd:
    """A VHD without an archive around it, which takes an archive's place."""

    def __init__(self, name: str, size: int, chunks: Iterable[bytes],
                 ) -> None:
        self._data = member.ArchiveReader(chunks)
        self._member = member.Member(0, name, size, self._data)

    def members(self) -> Iterator[member.Member]:
        """Yield the VHD, then read it to its end."""
        yield self._member
        while not self._data.at_end():
            self._data.skip(self._data.available)

    def ignore(self, member: member.Member) -> None:
        """Do nothing: the only member belongs to the chain."""

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

"""How much an image may ask for."""

import dataclasses

from glance_xs_convert import units

#: The largest disk that a VHD can hold, in bytes.
MAX_VIRTUAL_SIZE = 2040 * units.GIB
#: The longest chain that XenServer makes, in layers.
MAX_CHAIN_LENGTH = 30


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that are checked before anything is allocated or written.

    :ivar max_virtual_size: size of the disk and of each of its layers, in
                            bytes
    :ivar max_chain_length: number of layers from the leaf to the base
    :ivar max_members: number of the archive's members of any kind
    :ivar max_ignored_size: total size in bytes of the members that do not
                            belong to the chain; also by how much one VHD may
                            be larger than all blocks of its disk, and of the
                            holes in a fixed one
    :ivar max_disk_size: size of the disk alone, in bytes; its layers may be
                         larger. None for no other limit
    :ivar disk_limit: where ``max_disk_size`` comes from, for errors
    :ivar size_limit: the option that ``max_virtual_size`` comes from, for
                      errors; empty without a name
    """

    max_virtual_size: int = MAX_VIRTUAL_SIZE
    max_chain_length: int = MAX_CHAIN_LENGTH
    max_members: int = 1000
    max_ignored_size: int = 4 * units.GIB
    size_limit: str = ''
    max_disk_size: int | None = None
    disk_limit: str = ''

    @property
    def largest_disk(self) -> int:
        """The size of the largest disk that may be written, in bytes."""
        if self.max_disk_size is None:
            return self.max_virtual_size
        return min(self.max_virtual_size, self.max_disk_size)


#: The import plugin's defaults.
DEFAULT = Limits()

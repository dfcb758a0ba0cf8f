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
"""Extents: stretches of bytes that a layer hands to the disk.

They separate the formats from the disk: the reader of a VHD or of any other
format yields extents, and the disk does not know where they come from.
"""

import dataclasses

from glance_xs_convert import units


#: The unit in which layers record what they have written, in bytes.
SECTOR_SIZE = 512
#: The size of a region, in bytes: that of the largest block of a VHD. No
#: extent crosses the border between two regions.
REGION_SIZE = 2 * units.MIB


@dataclasses.dataclass(frozen=True)
class Extent:
    """A stretch of the disk whose bytes come next in the layer's data.

    :ivar offset: offset on the disk, in bytes
    :ivar size: size in bytes
    :ivar written: the sectors that the layer has written, one bit each: an
                   integer of as many bits as the extent has sectors (a last,
                   shorter one included). The most significant bit stands for
                   the first sector, as in a VHD's sector bitmap. The bytes
                   of a sector whose bit is clear are meaningless.
    """

    offset: int
    size: int
    written: int

    @property
    def sectors(self) -> int:
        """The number of sectors, the last of which may be shorter."""
        return -(-self.size // SECTOR_SIZE)


def all_written(size: int) -> int:
    """Return the mask of an extent whose sectors have all been written.

    :param size: size of the extent, in bytes
    """
    return (1 << -(-size // SECTOR_SIZE)) - 1


def end_of_region(offset: int) -> int:
    """Return the end of the region that a byte of the disk is in."""
    return offset - offset % REGION_SIZE + REGION_SIZE

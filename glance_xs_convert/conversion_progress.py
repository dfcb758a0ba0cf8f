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

"""The progress of a conversion."""

import dataclasses

from glance_xs_convert import bounds


@dataclasses.dataclass
class Progress:
    """The progress of a conversion, which other threads may read at any time.

    :ivar source_size: size of the archive in bytes, or None if unknown
    :ivar source_read: number of these bytes that have been read
    :ivar layers: number of layers begun so far
    :ivar layer: name of the layer that is being written, or None
    :ivar disk_size: size of the raw disk in bytes, or None before the leaf has
                     been found; a fixed VHD may turn out to be smaller
    :ivar bytes_written: bytes written so far; what replaces other data counts
                         as well
    """

    source_size: bounds.Size | None = None
    source_read: bounds.Size = 0
    layers: bounds.Size = 0
    layer: bounds.Name | None = None
    disk_size: bounds.Size | None = None
    bytes_written: bounds.Size = 0

    @property
    def fraction(self) -> float | None:
        """The fraction read, from 0 to 1, or None if unknown."""
        if not self.source_size:
            return None
        return min(1.0, self.source_read / self.source_size)

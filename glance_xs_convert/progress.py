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

"""How far a conversion is."""

import dataclasses


@dataclasses.dataclass
class Progress:
    """How far a conversion is; another thread may look at it at any time.

    :ivar source_size: bytes of the archive, or None if that is not known
    :ivar source_read: how many of them have been read
    :ivar layers: how many layers have been begun
    :ivar layer: the name of the layer being written, or None
    :ivar bytes_written: to the raw disk
    """

    source_size: int | None = None
    source_read: int = 0
    layers: int = 0
    layer: str | None = None
    bytes_written: int = 0

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, or None if that is not known."""
        if not self.source_size:
            return None
        return min(1.0, self.source_read / self.source_size)

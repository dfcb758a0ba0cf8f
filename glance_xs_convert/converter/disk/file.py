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


"""What a raw disk is written to, or pretends to be."""

from typing import Protocol

from glance_xs_convert.converter.streams import forward


class DiskFile(Protocol):
    """A file that takes the disk's bytes in any order.

    :ivar end: where the last byte that was written ends
    :ivar bytes_written: without the zeros that are left out
    """

    end: int
    bytes_written: int

    def restart(self) -> None:
        """Forget all that was written."""

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        """What is written from now on belongs to one layer.

        :param rank: its place in the chain, 0 for the leaf
        :param overwrites: there may be data where is written
        """

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        """Write the next ``size`` bytes of ``data``."""

    def clear(self, offset: int, size: int) -> None:
        """Make a stretch zeros, and take no room for it."""

    def set_size(self, size: int) -> None:
        """Give the file its final size, in bytes."""

    def check_room(self, size: int) -> None:
        """Whether so many bytes can be written to the layer that was begun.

        :raises OutOfSpace: they cannot
        """

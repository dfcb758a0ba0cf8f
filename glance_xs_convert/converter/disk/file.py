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


"""The interface of the file that a raw disk is written to."""

from typing import Protocol

from glance_xs_convert.converter.streams import forward


class DiskFile(Protocol):
    """A file that takes the disk's bytes in any order.

    :ivar end: the end of the last byte written, as an offset
    :ivar bytes_written: bytes written so far, without the zeros that are left
                         out; what replaces other data counts as well
    """

    end: int
    bytes_written: int

    def restart(self) -> None:
        """Discard everything written so far."""

    def begin_layer(self, rank: int, overwrites: bool) -> None:
        """Begin a layer, to which everything written from now on belongs.

        :param rank: its place in the chain, 0 for the leaf
        :param overwrites: whether it may overwrite data of other layers
        """

    def write(self, offset: int, size: int, data: forward.Reader) -> None:
        """Write the next ``size`` bytes of ``data``."""

    def write_sectors(self, offset: int, size: int, wanted: int,
                      data: forward.Reader) -> None:
        """Write some sectors of the next ``size`` bytes of ``data``.

        It does the same as writing them run by run, but takes less time if
        they are scattered.

        :param offset: a multiple of the page size
        :param wanted: mask of the sectors to write; the others stay as they
                       are
        """

    def clear(self, offset: int, size: int) -> None:
        """Turn a stretch into zeros that take no space."""

    def set_size(self, size: int) -> None:
        """Give the file its final size, in bytes."""

    def check_room(self, size: int) -> None:
        """Check that there is space for the current layer.

        :param size: size of the layer's undecided sectors, in bytes
        :raises OutOfSpace: there is not enough
        """

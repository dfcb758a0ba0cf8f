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


"""The seam between the formats and the disk.

Whoever reads a format yields layers; the pass that writes the disk knows
nothing else of them.
"""

from collections.abc import Iterator
from typing import Protocol

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.streams import forward


class NotInOrder(Exception):
    """A layer needs a piece before it comes: the pass cannot go on.

    :ivar member: the name of the layer
    """

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member


class Layer(Protocol):
    """A disk, or what has changed of one since its parent."""

    @property
    def name(self) -> str:
        """For errors and progress, fit to be shown."""

    @property
    def size(self) -> int:
        """Of the disk, in bytes."""

    @property
    def has_parent(self) -> bool:
        """Whether older layers show where this one has written nothing."""

    @property
    def data(self) -> forward.Reader:
        """Where the bytes of an extent are read from."""

    def blocks(self) -> Iterator[tuple[int, int]]:
        """What can be written: (offset on the disk, size), in bytes.

        Each lies in one region of the disk (see ``disk.sectors``). None where
        the layer does not say in advance.
        """

    def extents(self) -> Iterator[extents.Extent]:
        """What has been written, in the order in which it comes.

        Each lies in one region of the disk. Between two extents the caller
        reads exactly the extent's size from the data.

        :raises NotInOrder: more has to be known
        """


class Image(Protocol):
    """What one pass reads: the layers of one disk."""

    @property
    def size(self) -> int:
        """Of the disk, in bytes; known when all layers have come."""

    def layers(self) -> Iterator[tuple[int, Layer]]:
        """The layers and their ranks, in the order in which they come.

        The rank is the place in the chain: 0 for the leaf, more for what
        lies below. A layer has to be read to its end before the next one is
        taken; behind the last one everything is checked.

        :raises NotInOrder: more has to be known
        :raises XsConvertError: the image is refused
        """

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

The readers of the formats yield layers, and the pass that writes the disk
knows nothing else about the formats.
"""

from collections.abc import Iterator
from typing import Protocol

from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import text


class NotInOrder(Exception):
    """A layer needs a structure before it arrives; the pass cannot go on.

    :ivar member: the name of the layer
    """

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member


def check_size(size: int, name: str, limits: image_limits.Limits) -> None:
    """Check that a disk or one of its layers may have this size.

    :param size: size of the disk, in bytes
    :raises LimitExceeded: it may not
    """
    if size > limits.max_virtual_size:
        raise exceptions.LimitExceeded(
            f'the disk has {text.exact_size(size)}, more than '
            f'{limits.size_limit or "the limit"}, which is '
            f'{text.exact_size(limits.max_virtual_size)}', member=name)


def check_disk(size: int, name: str, limits: image_limits.Limits) -> None:
    """Check that a disk may have this size.

    :param size: size of the disk, in bytes
    :param name: name of the leaf
    :raises DiskTooLarge: it may not
    """
    if limits.max_disk_size is not None and size > limits.max_disk_size:
        raise exceptions.DiskTooLarge(
            f'the disk has {text.exact_size(size)}, more than '
            f'{limits.disk_limit}, which is '
            f'{text.exact_size(limits.max_disk_size)}', member=name)


class Layer(Protocol):
    """A disk, or the changes to a disk since its parent."""

    @property
    def name(self) -> str:
        """The name for errors and progress, safe to show."""

    @property
    def size(self) -> int:
        """The size of the disk, in bytes."""

    @property
    def has_parent(self) -> bool:
        """Whether older layers show where this one has written nothing."""

    @property
    def data(self) -> forward.Reader:
        """The reader of the bytes of each extent."""

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the layer's blocks: (offset on the disk, size) in bytes.

        Each lies in one region of the disk (see ``disk.sectors``). A layer
        that does not know its blocks in advance yields nothing.
        """

    def extents(self) -> Iterator[extents.Extent]:
        """Yield what the layer has written, in the order in which it arrives.

        Each extent lies in one region of the disk. Before the caller takes the
        next extent, it reads exactly the extent's size from ``data``.

        :raises NotInOrder: a survey is needed first
        """


class Image(Protocol):
    """The layers of one disk, which a pass reads."""

    @property
    def size(self) -> int:
        """The size of the disk in bytes; known after all layers."""

    def layers(self) -> Iterator[tuple[int, Layer]]:
        """Yield each rank and layer, in the order in which they arrive.

        The rank is the place in the chain: 0 for the leaf, and higher for
        older layers. The caller must read a layer to its end before it takes
        the next one. Everything is checked after the last one.

        :raises NotInOrder: a survey is needed first
        :raises XsConvertError: the image is refused
        """

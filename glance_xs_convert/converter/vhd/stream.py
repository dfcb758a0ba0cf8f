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


"""The file of one VHD, which can only be read forward."""

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits


class VhdStream:
    """The bytes of one VHD, and the position up to which they are read.

    :param name: name of the VHD for errors
    :param size: size of the file, in bytes
    :param data: reader of its bytes
    :param limits: bounds on the disk
    :ivar leftover: a note on what lies before the footer at the end and was
                    not read; None if there is nothing to say
    """

    leftover: str | None = None

    def __init__(self, name: str, size: int, data: forward.Reader,
                 limits: image_limits.Limits) -> None:
        self.name = name
        self.size = size
        self.data = data
        self.limits = limits

    @property
    def data_end(self) -> int:
        """The offset of the footer at the end, as far as the size tells."""
        return self.size - (
            layout.Footer.SHORT_SIZE if self.may_have_short_footer
            else layout.Footer.SIZE)

    @property
    def may_have_short_footer(self) -> bool:
        """Whether the footer at the end may have 511 bytes.

        It has 512 if the size of a fixed disk is no multiple of a sector.
        """
        return layout.Footer.may_be_short(self.size)

    def has_bytes(self, offset: int, size: int) -> bool:
        """Whether a piece of the file lies before the footer at its end."""
        return offset + size <= self.data_end

    def go_to(self, offset: int) -> None:
        """Skip everything before an offset.

        :raises NotInOrder: the data has been read past it already
        """
        if offset < self.data.position:
            raise layers.NotInOrder(self.name)
        self.data.skip(offset - self.data.position)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a piece of the file.

        :raises NotInOrder: the data has been read past its start already
        """
        self.go_to(offset)
        return self.data.read(size)

    def put_back(self, data: bytes) -> None:
        """Put bytes back, to be read again.

        :param data: the bytes that were read last
        """
        self.data = forward.Rewound(self.data, data)

    def check_limit(self, size: int) -> None:
        """Check that a disk may have this size.

        :raises LimitExceeded: it may not
        """
        layers.check_size(size, self.name, self.limits)

    def damaged(self, reason: str, offset: int | None = None,
                ) -> exceptions.DamagedVhd:
        """Make the error for damage in this VHD."""
        return exceptions.DamagedVhd(reason, member=self.name, offset=offset)

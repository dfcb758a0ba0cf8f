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


"""One VHD's file, read forward only."""

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import limits


class VhdStream:
    """The bytes of one VHD, and where reading them has got to.

    :param name: the name to use in errors
    :param size: of the file, in bytes
    :param data: its bytes
    :param limits: what the disk may ask for
    """

    def __init__(self, name: str, size: int, data: forward.Reader,
                 limits: limits.Limits) -> None:
        self.name = name
        self.size = size
        self.data = data
        self.limits = limits

    @property
    def data_end(self) -> int:
        """Where the footer at the end begins."""
        return self.size - layout.Footer.SIZE

    def go_to(self, offset: int) -> None:
        """Pass over everything before an offset.

        :raises NotInOrder: that was passed already
        """
        if offset < self.data.position:
            raise layers.NotInOrder(self.name)
        self.data.skip(offset - self.data.position)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a piece of the file.

        :raises NotInOrder: its start was passed already
        """
        self.go_to(offset)
        return self.data.read(size)

    def put_back(self, data: bytes) -> None:
        """Let what was just read be read again.

        :param data: the bytes that were read last
        """
        self.data = forward.Rewound(self.data, data)

    def check_limit(self, size: int) -> None:
        """Whether a disk may be as large as this.

        :raises LimitExceeded: it may not
        """
        if size > self.limits.max_virtual_size:
            raise exceptions.LimitExceeded(
                f'the disk has {size} bytes, and the limit is '
                f'{self.limits.max_virtual_size}', member=self.name)

    def damaged(self, reason: str, offset: int | None = None,
                ) -> exceptions.DamagedVhd:
        """An error in this VHD."""
        return exceptions.DamagedVhd(reason, member=self.name, offset=offset)

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

"""The members of an archive as the reader of a chain gets them.

VHDs that are compressed by themselves are decompressed on the way. A VHD is
read by its size, so these take a pass that measures them.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import re

from glance_xs_convert.converter.containers import bare
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import detect
from glance_xs_convert.converter import opening
from glance_xs_convert.converter.streams import frames
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import image
from glance_xs_convert.converter.vhd import names
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import text
from glance_xs_convert import units

#: The sizes in bytes of what had to be measured, by the members' indexes.
Sizes = Mapping[int, int]

_ENDING = re.compile(r'\.(?:gz|bz2|xz|zstd?)$', re.IGNORECASE)
#: How much of a compressed member has to show what it begins with: bzip2
#: decompresses blocks of 900 kB only as a whole.
_START_SIZE = units.MIB


class ChainMembers:
    """The members of an archive of VHDs.

    :param members: the members as they are
    :param sizes: the decompressed sizes of the compressed VHDs, if they have
                  been measured
    :param proportion: how much the compressed VHDs may expand
    """

    def __init__(self, members: member.Members, limits: image_limits.Limits,
                 sizes: Sizes, proportion: frames.Proportion) -> None:
        self._members = members
        self._limits = limits
        self._sizes = sizes
        self._proportion = proportion
        self._ignorable = limits.max_ignored_size

    def members(self) -> Iterator[member.Member]:
        """Yield the files in their order.

        :raises Unmeasured: the size of a compressed VHD is not known
        :raises LimitExceeded: a file is too large to be ignored
        """
        for item, data in self._unpacked():
            if data is None:
                yield item
                continue
            if item.index not in self._sizes:
                raise member.Unmeasured(item.name)
            plain = member.Member(
                item.index, _ENDING.sub('', item.path),
                self._sizes[item.index], data)
            plain.name = item.name
            yield plain
            data.read_rest()

    def ignore(self, item: member.Member) -> None:
        self._ignorable -= item.size
        self._members.ignore(item)

    def measure(self) -> dict[int, int]:
        """Read the archive, and return the sizes of the compressed VHDs.

        :raises LimitExceeded: there are too many, or they expand too much
        """
        sizes: dict[int, int] = {}
        for item, data in self._unpacked():
            if data is not None:
                chain.check_length(len(sizes), self._limits, item.name)
                sizes[item.index] = data.read_rest()
            elif not (image.is_vhd_by_start(item)
                      or names.has_vhd_end(item.skim().end)):
                self.ignore(item)
        return sizes

    def _unpacked(self) -> Iterator[
            tuple[member.Member, member.ArchiveReader | None]]:
        """Yield each file, and its decompressed data if it is a VHD."""
        for item in self._members.members():
            wrapping = detect.wrapping(item.peek(detect.HEAD_SIZE))
            if wrapping is not detect.Wrapping.NONE and (
                    is_compressed_vhd(item, wrapping)):
                yield item, opening.unpack(item, wrapping, self._proportion)
                continue
            if item.size > self._ignorable:
                self._check_size(item)
            yield item, None

    def _check_size(self, item: member.Member) -> None:
        """Check that a file that cannot be ignored may be a disk.

        Only its end tells a fixed VHD, so it is read to its end.

        :raises LimitExceeded: it does not begin like one
        """
        if image.is_vhd_by_start(item):
            return
        size = item.size - detect.TAIL_SIZE
        if size > self._limits.largest_disk or not detect.looks_like_a_disk(
                item.peek(detect.START_SIZE)):
            raise exceptions.LimitExceeded(
                'it is no VHD by its name or its first bytes, and larger '
                f'than what may be ignored, which is '
                f'{text.exact_size(self._limits.max_ignored_size)}: if it is '
                'a fixed VHD, give it a name that ends in .vhd',
                member=item.name)


@contextlib.contextmanager
def opened(source: intake.Source, limits: image_limits.Limits, sizes: Sizes,
           ) -> Iterator[opening.Opened]:
    """Open an image that is one VHD or an archive of VHDs.

    :param sizes: what has been measured; empty at first
    :raises XsConvertError: see ``opening.opened``
    """
    with opening.opened(source, limits, sizes.get(bare.INDEX)) as found:
        yield prepare(found, limits, sizes)


def prepare(opened: opening.Opened, limits: image_limits.Limits, sizes: Sizes,
            ) -> opening.Opened:
    """Let the members of an image be those that the reader of a chain gets."""
    if isinstance(opened.members, bare.BareVhd):
        return opened
    return opened._replace(members=ChainMembers(
        opened.members, limits, sizes, opened.proportion))


def measure(opened: opening.Opened) -> dict[int, int]:
    """Read an image whose members have to be measured, and do so."""
    if isinstance(opened.members, bare.BareVhd):
        return {bare.INDEX: opened.members.read_rest()}
    if isinstance(opened.members, ChainMembers):
        return opened.members.measure()
    return {}


def is_compressed_vhd(item: member.Member, wrapping: detect.Wrapping) -> bool:
    """Whether a compressed member is a VHD by its name or its first bytes."""
    inner = _ENDING.sub('', item.path)
    if inner != item.path and names.parse(inner).claims:
        return True
    return names.has_vhd_start(opening.first_bytes(
        item.peek(_START_SIZE), wrapping, names.START_SIZE))

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

"""Finding out what an archive holds, without its data.

One pass is enough for archives as XenServer made them; a VHD whose pieces
come in another order than they are needed takes up to two more.
"""

import dataclasses
import io

from glance_xs_convert.converter.containers import tar
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import chain as chain_
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import reader
from glance_xs_convert import exceptions
from glance_xs_convert import limits as limits_

#: The footer at the end; the header that it points to and its table; a table
#: that lies before its header.
_MAX_PASSES = 3


@dataclasses.dataclass
class Surveyed:
    """A VHD of the chain that an archive holds.

    :ivar place: its place in the chain
    :ivar name: of the member
    :ivar size: of the member, in bytes
    :ivar structures: complete once the survey is over
    :ivar damage: why they can not be read, if so
    """

    place: chain_.Place
    name: str
    size: int
    structures: reader.Structures
    damage: exceptions.XsConvertError | None = None

    def layer(self) -> chain_.Layer:
        return layer(self.name, self.size, self.structures)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What an archive holds.

    :ivar vhds: the VHDs of the chain, by their index among all members
    :ivar ignored: names of the regular files that are no part of the chain
    """

    vhds: dict[int, Surveyed]
    ignored: list[str]

    def layers(self, limits: limits_.Limits) -> list[chain_.Layer]:
        """The chain from the leaf to the base, if it is sound.

        :raises NoVhd, BrokenChain, LimitExceeded: see ``chain.Chain``
        """
        chain = chain_.Chain(limits)
        for vhd in self.vhds.values():
            chain.claim(vhd.place, vhd.name)
        for vhd in self.vhds.values():
            if vhd.damage is not None:
                raise vhd.damage
            layer = vhd.layer()
            chain.add(vhd.place.rank, layer)
            if not layer.footer.is_differencing:
                chain.set_base(vhd.place.rank)
        return chain.layers()


def survey(source: io.BufferedReader, limits: limits_.Limits,
           opener: tar.Opener = tar.open_archive) -> Survey:
    """Read an archive as often as it takes to know all its structures.

    :param source: seekable if more than one pass is needed
    :param opener: what opens it
    :raises XsConvertError: the archive or a VHD in it is damaged
    :raises UnreadableSource: it has to be read again, and cannot be
    """
    start = source.tell() if source.seekable() else None
    with opener(source, limits) as opened:
        found, ignored = _first_pass(opened, limits)
    for _ in range(_MAX_PASSES - 1):
        if not _unfinished(found):
            break
        if start is None:
            raise not_seekable()
        source.seek(start)
        with opener(source, limits) as opened:
            _next_pass(opened, limits, found)
    for vhd in _unfinished(found):
        vhd.damage = exceptions.DamagedVhd(
            'its structures contradict each other', member=vhd.name)
    return Survey(found, ignored)


def not_seekable() -> exceptions.UnreadableSource:
    return exceptions.UnreadableSource(
        'a VHD in the archive is not in the usual order, so the archive has '
        'to be read more than once: give it as a file')


def layer(name: str, size: int, structures: reader.Structures,
          ) -> chain_.Layer:
    """A VHD that has been read, as a layer of the chain.

    :param structures: with the footer, and the header if there is one
    """
    footer, header = structures.footer, structures.header
    if footer is None:
        raise exceptions.DamagedVhd('it has no valid footer', member=name)
    allocated = (footer.current_size if header is None
                 else len(structures.places or ()) * header.block_size)
    return chain_.Layer(name, size, allocated, footer, header)


def _first_pass(opened: tar.Members, limits: limits_.Limits,
                ) -> tuple[dict[int, Surveyed], list[str]]:
    found = {}
    names = {}
    for member in opened.members():
        names[member.index] = member.name
        vhd = _examine(member, opened, limits)
        if vhd is not None:
            found[member.index] = vhd
    if any(vhd.place.naming is not chain_.Naming.SINGLE
           for vhd in found.values()):
        found = {index: vhd for index, vhd in found.items()
                 if vhd.place.naming is not chain_.Naming.SINGLE}
    return found, [name for index, name in names.items()
                   if index not in found]


def _next_pass(opened: tar.Members, limits: limits_.Limits,
               found: dict[int, Surveyed]) -> None:
    for member in opened.members():
        vhd = found.get(member.index)
        if vhd is None:
            opened.ignore(member)
        elif vhd.damage is None and not vhd.structures.complete:
            _read(vhd, member.data, limits)


def _examine(member: tar.Member, opened: tar.Members,
             limits: limits_.Limits) -> Surveyed | None:
    """Read a member; None if it is no VHD that may be part of the chain."""
    place = chain_.place_of(member.path)
    structures = reader.Structures()
    data: forward.Reader = member.data
    if place is None:
        opened.ignore(member)
        place = chain_.place_by_content(member.path)
        if place is None or member.size < layout.Footer.SIZE:
            return None
        start = data.read(len(layout.Footer.COOKIE))
        if start == layout.Footer.COOKIE:
            data = forward.Rewound(data, start)
        else:
            structures.footer = _footer_at_end(member)
            if structures.footer is None:
                return None
    vhd = Surveyed(place, member.name, member.size, structures)
    _read(vhd, data, limits)
    return vhd


def _read(vhd: Surveyed, data: forward.Reader, limits: limits_.Limits,
          ) -> None:
    """Learn what there is to learn in this pass."""
    stream = reader.VhdStream(vhd.name, vhd.size, data, limits,
                              vhd.structures)
    try:
        stream.collect()
    except (exceptions.DamagedVhd, exceptions.EncryptedVhd,
            exceptions.LimitExceeded) as damage:
        vhd.damage = damage


def _footer_at_end(member: tar.Member) -> layout.Footer | None:
    end = member.size - layout.Footer.SIZE
    if member.data.position > end:
        return None
    member.data.skip(end - member.data.position)
    try:
        return layout.Footer.unpack(
            member.data.read(layout.Footer.SIZE))
    except layout.LayoutError:
        return None


def _unfinished(found: dict[int, Surveyed]) -> list[Surveyed]:
    return [vhd for vhd in found.values()
            if vhd.damage is None and not vhd.structures.complete]

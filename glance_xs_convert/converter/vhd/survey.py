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

"""Finding out which VHDs an archive holds, without their data.

One pass is enough for an archive as XenServer makes it. A VHD whose structures
come in a different order than they are needed takes up to two more.
"""

import dataclasses

from glance_xs_convert.converter.containers import detect
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import opening
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import limits

#: The footer at the end; the header that it points to and its table; a table
#: that lies before its header.
_MAX_PASSES = 3


@dataclasses.dataclass
class Surveyed:
    """A VHD in an archive.

    :ivar place: its place in the chain
    :ivar name: name of the member
    :ivar size: size of the member, in bytes
    :ivar structures: its structures, complete at the end of the survey
    :ivar damage: the error if they cannot be read, or None
    """

    place: chain.Place
    name: str
    size: int
    structures: structures.Structures
    damage: exceptions.XsConvertError | None = None

    def vhd(self) -> chain.Vhd:
        """Return it as part of the chain.

        :raises DamagedVhd: it has no footer
        """
        return describe(self.name, self.size, self.structures)


@dataclasses.dataclass(frozen=True)
class Survey:
    """The contents of an archive.

    :ivar vhds: the VHDs of the chain, by their index among all members
    :ivar ignored: names of the regular files that do not belong to the chain
    """

    vhds: dict[int, Surveyed]
    ignored: list[str]

    def layers(self, limits: limits.Limits) -> list[chain.Vhd]:
        """Check the chain and return it, from the leaf to the base.

        :raises XsConvertError: a VHD is damaged, or they do not form a chain
        """
        if not self.vhds:
            raise detect.no_vhd(self.ignored)
        built = chain.Chain(limits)
        for surveyed in self.vhds.values():
            built.claim(surveyed.place, surveyed.name)
        for surveyed in self.vhds.values():
            if surveyed.damage is not None:
                raise surveyed.damage
            vhd = surveyed.vhd()
            built.add(surveyed.place.rank, vhd)
            if not vhd.footer.is_differencing:
                built.set_base(surveyed.place.rank)
        return built.layers()


def survey(source: intake.Source, limits: limits.Limits) -> Survey:
    """Read an archive until all structures of its VHDs are known.

    :param source: the archive, which must be seekable if more than one pass is
                   needed
    :raises XsConvertError: the archive or a VHD in it is damaged
    :raises UnreadableSource: it must be read again, but is not seekable
    """
    start = source.tell() if source.seekable() else None
    with opening.opened(source, limits) as opened:
        found, ignored = _first_pass(opened.members, limits)
    for _ in range(_MAX_PASSES - 1):
        if not _unfinished(found):
            break
        if start is None:
            raise not_seekable()
        source.seek(start)
        with opening.opened(source, limits) as opened:
            _next_pass(opened.members, limits, found)
    for surveyed in _unfinished(found):
        surveyed.damage = exceptions.DamagedVhd(
            'its structures contradict each other', member=surveyed.name)
    return Survey(found, ignored)


def not_seekable() -> exceptions.UnreadableSource:
    return exceptions.UnreadableSource(
        'a VHD in the archive is not in the usual order, so the archive must '
        'be read more than once: give it as a file')


def describe(name: str, size: int, known: structures.Structures,
             ) -> chain.Vhd:
    """Describe a VHD that has been read, as part of the chain.

    :param size: size of its file, in bytes
    :param known: its structures
    :raises DamagedVhd: it has no footer
    """
    footer, header = known.footer, known.header
    if footer is None:
        raise exceptions.DamagedVhd('it has no valid footer', member=name)
    allocated = (footer.current_size if header is None
                 else len(known.table or ()) * header.block_size)
    return chain.Vhd(name, size, allocated, footer, header)


def _first_pass(opened: member.Members, limits: limits.Limits,
                ) -> tuple[dict[int, Surveyed], list[str]]:
    found = {}
    names = {}
    for item in opened.members():
        names[item.index] = item.name
        surveyed = _examine(item, opened, limits)
        if surveyed is not None:
            found[item.index] = surveyed
    if any(surveyed.place.naming is not chain.Naming.SINGLE
           for surveyed in found.values()):
        found = {index: surveyed for index, surveyed in found.items()
                 if surveyed.place.naming is not chain.Naming.SINGLE}
    return found, [name for index, name in names.items()
                   if index not in found]


def _next_pass(opened: member.Members, limits: limits.Limits,
               found: dict[int, Surveyed]) -> None:
    for item in opened.members():
        surveyed = found.get(item.index)
        if surveyed is None:
            opened.ignore(item)
        elif surveyed.damage is None and not surveyed.structures.complete:
            _read(surveyed, item.data, limits)


def _examine(item: member.Member, opened: member.Members,
             limits: limits.Limits) -> Surveyed | None:
    """Read a member; return None if it cannot be a VHD of the chain."""
    place = chain.place_of(item.path)
    known = structures.Structures()
    data: forward.Reader = item.data
    if place is None:
        opened.ignore(item)
        place = chain.place_by_content(item.path)
        if place is None or item.size < layout.Footer.SIZE:
            return None
        start = data.read(len(layout.Footer.COOKIE))
        if start == layout.Footer.COOKIE:
            data = forward.Rewound(data, start)
        else:
            footer = _footer_at_end(item)
            if footer is None:
                return None
            known = structures.Structures(footer)
    surveyed = Surveyed(place, item.name, item.size, known)
    _read(surveyed, data, limits)
    return surveyed


def _read(surveyed: Surveyed, data: forward.Reader, limits: limits.Limits,
          ) -> None:
    """Read the structures that this pass can find."""
    file = stream.VhdStream(surveyed.name, surveyed.size, data, limits)
    try:
        surveyed.structures = structures.collect(file, surveyed.structures)
    except (exceptions.DamagedVhd, exceptions.EncryptedVhd,
            exceptions.LimitExceeded) as damage:
        surveyed.damage = damage


def _footer_at_end(item: member.Member) -> layout.Footer | None:
    end = item.size - layout.Footer.SIZE
    if item.data.position > end:
        return None
    item.data.skip(end - item.data.position)
    try:
        return layout.Footer.unpack(item.data.read(layout.Footer.SIZE))
    except layout.LayoutError:
        return None


def _unfinished(found: dict[int, Surveyed]) -> list[Surveyed]:
    return [surveyed for surveyed in found.values()
            if surveyed.damage is None and not surveyed.structures.complete]

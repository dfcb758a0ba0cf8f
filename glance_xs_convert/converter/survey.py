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

from collections.abc import Callable
import contextlib
import dataclasses
import functools
from typing import NamedTuple

from glance_xs_convert.converter import chain_members
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import detect
from glance_xs_convert.converter import opening
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import image
from glance_xs_convert.converter.vhd import names
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results

Reopen = Callable[[chain_members.Sizes],
                  contextlib.AbstractContextManager[opening.Opened]]

#: The footer at the end; the header that it points to and its table; a table
#: that lies before its header.
_MAX_PASSES = 3


@dataclasses.dataclass
class Surveyed:
    """A VHD in an archive.

    :ivar path: path of the member
    :ivar name: the same in a form that is safe to show
    :ivar size: size of the member, in bytes
    :ivar structures: its structures, complete at the end of the survey
    :ivar damage: the error if they cannot be read, or None
    """

    path: str
    name: str
    size: int
    structures: structures.Structures
    damage: exceptions.XsConvertError | None = None

    @property
    def is_unfinished(self) -> bool:
        return self.damage is None and not self.structures.complete

    def vhd(self) -> results.Vhd:
        """Describe the VHD.

        :raises XsConvertError: it is damaged
        """
        if self.damage is not None:
            raise self.damage
        return chain.describe(self.name, self.size, self.structures)


class Resolved(NamedTuple):
    """What the pass that converts has to know.

    :ivar found: the VHDs of the chain, by their index among all members
    :ivar layers: the same, from the leaf to the base
    :ivar notes: what the order rests on, where that is less than usual
    :ivar sizes: see :class:`Survey`
    """

    found: dict[int, image.Found]
    layers: list[results.Vhd]
    notes: list[str]
    sizes: chain_members.Sizes


@dataclasses.dataclass(frozen=True)
class Survey:
    """The contents of an archive.

    :ivar vhds: the VHDs in it, by their index among all members
    :ivar ignored: the other members
    :ivar sizes: the sizes of the VHDs that only their ends have told
    """

    vhds: dict[int, Surveyed]
    ignored: list[member.Skimmed]
    sizes: chain_members.Sizes = dataclasses.field(default_factory=dict)

    def resolve(self, limits: image_limits.Limits) -> 'Resolved':
        """Put the VHDs in order.

        :raises XsConvertError: a VHD is damaged, or they do not form a chain
        """
        links = self._links()
        try:
            ordered = chain.arrange(list(links.values()), limits)
        except chain.NoVhds:
            raise detect.no_vhd(self.ignored) from None
        found = {index: image.Found(ordered.links.index(link),
                                    self.vhds[index].structures)
                 for index, link in links.items()}
        return Resolved(found, ordered.layers, ordered.notes, self.sizes)

    def _links(self) -> dict[int, chain.Link]:
        """Return the VHDs that are to form a chain."""
        links = {index: chain.Link(vhd.path, vhd.vhd())
                 for index, vhd in self.vhds.items()
                 if not names.parse(vhd.path).is_swap}
        others = list(links.values())
        for index, vhd in self.vhds.items():
            if index in links:
                continue
            readable = None if vhd.damage else vhd.vhd()
            if not chain.is_for_swap(vhd.path, readable, others):
                links[index] = chain.Link(vhd.path, vhd.vhd())
        return {index: links[index] for index in sorted(links)}


def survey(source: intake.Source, limits: image_limits.Limits,
           reopen: Reopen | None = None) -> Survey:
    """Read an archive until all structures of its VHDs are known.

    :param source: the archive, which must be seekable if more than one pass is
                   needed
    :param reopen: opens what holds the VHDs, given the sizes that have been
                   measured; None if the archive itself does
    :raises XsConvertError: the archive or a VHD in it is damaged
    :raises UnreadableSource: it must be read again, but is not seekable
    """
    start = source.tell() if source.seekable() else None
    open_archive: Reopen = reopen or functools.partial(
        chain_members.opened, source, limits)
    sizes: chain_members.Sizes = {}
    try:
        with open_archive(sizes) as opened:
            found = _first_pass(opened.members, limits)
    except member.Unmeasured:
        _rewind(source, start)
        with open_archive(sizes) as opened:
            sizes = chain_members.measure(opened)
        _rewind(source, start)
        with open_archive(sizes) as opened:
            found = _first_pass(opened.members, limits)
    for _ in range(_MAX_PASSES - 1):
        if not any(vhd.is_unfinished for vhd in found.vhds.values()):
            break
        _rewind(source, start)
        with open_archive(sizes) as opened:
            _next_pass(opened.members, limits, found)
    for vhd in found.vhds.values():
        if vhd.is_unfinished:
            vhd.damage = exceptions.DamagedVhd(
                'its structures contradict each other', member=vhd.name)
    return dataclasses.replace(found, sizes=sizes)


def _rewind(source: intake.Source, start: int | None) -> None:
    """Go back to where the archive begins.

    :raises UnreadableSource: the source is not seekable
    """
    if start is None:
        raise not_seekable()
    source.seek(start)


def not_seekable() -> exceptions.UnreadableSource:
    return exceptions.UnreadableSource(
        'a VHD in the archive is not in the usual order, so the archive must '
        'be read more than once: give it as a file')


def _first_pass(opened: member.Members, limits: image_limits.Limits) -> Survey:
    found = Survey({}, [])
    for item in opened.members():
        image.check_is_file(item)
        if image.is_vhd_by_start(item):
            vhd = Surveyed(item.path, item.name, item.size,
                           structures.Structures())
            _read(vhd, item, limits)
        else:
            ends = item.skim()
            if not names.has_vhd_end(ends.end):
                opened.ignore(item)
                found.ignored.append(ends)
                continue
            vhd = Surveyed(item.path, item.name, item.size,
                           structures.of_ends(ends.start, ends.end))
            if vhd.structures.footer is None:
                vhd.damage = structures.no_footer(item.name)
        found.vhds[item.index] = vhd
        # One of them may be no layer.
        chain.check_length(len(found.vhds) - 1, limits, item.name)
    return found


def _next_pass(opened: member.Members, limits: image_limits.Limits,
               found: Survey,
               ) -> None:
    for item in opened.members():
        vhd = found.vhds.get(item.index)
        if vhd is None:
            opened.ignore(item)
        elif vhd.is_unfinished:
            _read(vhd, item, limits)


def _read(vhd: Surveyed, item: member.Member,
          limits: image_limits.Limits) -> None:
    """Read the structures that this pass can find."""
    file = stream.VhdStream(vhd.name, vhd.size, item.data, limits)
    try:
        vhd.structures = structures.collect(file, vhd.structures)
    except (exceptions.DamagedVhd, exceptions.EncryptedVhd,
            exceptions.LimitExceeded) as damage:
        vhd.damage = damage

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

"""The disk that the VHDs of an archive form together."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import layers
from glance_xs_convert.converter.vhd import arrival
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import layer
from glance_xs_convert.converter.vhd import names
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results


class Found(NamedTuple):
    """What an earlier pass has found out about a VHD of the chain.

    :ivar rank: its place in the chain, 0 for the leaf
    :ivar structures: its structures
    """

    rank: int
    structures: structures.Structures


class VhdImage:
    """A chain of VHDs in the order in which an archive's members arrive.

    :param opened: the archive
    :param limits: bounds on the image
    :param found: the VHDs of the chain by their index among all members, if an
                  earlier pass has found them; None without an earlier pass
    :ivar vhds: the chain, from the leaf to the base; empty until all layers
                have been read
    :ivar notes: what the order rests on, where that is less than usual, and
                 what was not read of a VHD's file
    :ivar ignored: the files that do not belong to the chain, so far
    """

    def __init__(self, opened: member.Members, limits: image_limits.Limits,
                 found: Mapping[int, Found] | None = None) -> None:
        self.vhds: list[results.Vhd] = []
        self.notes: list[str] = []
        self.ignored: list[member.Skimmed] = []
        self._opened = opened
        self._limits = limits
        self._found = found
        self._links: dict[int, chain.Link] = {}
        self._arrivals = arrival.Arrivals()
        self._for_swap: list[tuple[str, results.Vhd | None]] = []

    @property
    def size(self) -> int:
        """The size of the disk in bytes: the leaf's current size."""
        return self.vhds[0].current_size

    def layers(self) -> Iterator[tuple[int, layer.VhdLayer]]:
        """Yield the VHDs of the chain with their ranks.

        See ``layers.Image``. Without an earlier pass, the ranks are guesses
        from what has arrived so far; those of the chain have to confirm them.

        :raises NoVhds: the archive holds none
        :raises NotInOrder: a survey is needed first
        """
        for item in self._opened.members():
            known = (None if self._found is None
                     else self._found.get(item.index))
            if known is None and (
                    self._found is not None or not self._belongs(item)):
                self._ignore(item)
                continue
            file = stream.VhdStream(
                item.name, item.size, item.data, self._limits)
            vhd = layer.begin(file, known.structures if known else None)
            rank = known.rank if known else self._rank(item, vhd)
            yield rank, vhd
            self._add(rank, item, vhd.finish())
            if file.leftover is not None:
                self.notes.append(file.leftover)
        ordered = self._arrange()
        self.vhds, self.notes = ordered.layers, ordered.notes + self.notes

    def _belongs(self, item: member.Member) -> bool:
        """Whether a member is a VHD of the chain, as far as its start tells.

        :raises UnsafeMember: it would be a VHD if it were a file
        """
        check_is_file(item)
        return (not names.parse(item.path).is_swap
                and is_vhd_by_start(item))

    def _ignore(self, item: member.Member) -> None:
        """Skip a member that does not belong to the chain.

        :raises NotInOrder: its end says that it may belong to it
        """
        ends = item.skim()
        if self._found is None and names.parse(item.path).is_swap:
            self._for_swap.append((item.path, chain.describe_by_ends(
                item.name, item.size, ends.start, ends.end)))
        elif self._found is None and names.has_vhd_end(ends.end):
            raise layers.NotInOrder(item.name)
        self._opened.ignore(item)
        self.ignored.append(ends)

    def _rank(self, item: member.Member, vhd: layer.VhdLayer) -> int:
        """Return a guess at the rank of a VHD that arrives."""
        chain.check_length(len(self._links) + 1, self._limits, item.name)
        chain.check_apart(item.path, item.name, self._links.values())
        return self._arrivals.rank(
            item.name, names.parse(item.path), vhd.unique_id,
            vhd.parent_unique_id)

    def _add(self, rank: int, item: member.Member,
             known: structures.Structures) -> None:
        link = chain.Link(item.path, chain.describe(
            item.name, item.size, known))
        self._links[rank] = link
        self._arrivals.complete(rank, link.vhd)

    def _arrange(self) -> chain.Chain:
        """Return the chain, in the order of the ranks.

        :raises NotInOrder: its order is another
        """
        links = list(self._links.values())
        by_rank = [self._links[rank] for rank in sorted(self._links)]
        if self._found is not None:
            return chain.Chain(by_rank, [])
        if not all(chain.is_for_swap(path, vhd, links)
                   for path, vhd in self._for_swap):
            raise layers.NotInOrder(self._for_swap[0][0])
        ordered = chain.arrange(links, self._limits)
        if ordered.links != by_rank:
            raise layers.NotInOrder(ordered.links[0].shown)
        return ordered


def is_vhd_by_start(item: member.Member) -> bool:
    """Whether a member is a VHD by its name or its first bytes."""
    return names.parse(item.path).claims or names.has_vhd_start(
        item.peek(names.START_SIZE))


def check_is_file(item: member.Member) -> None:
    """Check that a member that is to be a VHD is a regular file.

    :raises UnsafeMember: it is a link or a device
    """
    if item.special and any(names.parse(path).claims for path in (
            item.path, item.linked)):
        raise exceptions.UnsafeMember(
            f'a VHD must be a regular file, not {item.special}',
            member=item.name)

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

"""The chain that the VHDs of an archive form.

If the names are numbers, they decide the order: Nova numbered the files when
it made the archive, and left parent names and locators that point nowhere
(dom0 plugin, ``utils.prepare_staging_area``; for the older names,
``import_vhds`` of its first version). All others kept the names that their
VHDs had, so the UUIDs of the parents decide. "What an image is" in the
documentation has the rules as a table.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import itertools

from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import names
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text

#: The UUID of a VHD that has none.
_NIL = '00000000-0000-0000-0000-000000000000'


class NoVhds(Exception):
    """There are no VHDs to form a chain."""


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A VHD of an archive, which is to find its place in the chain.

    :ivar path: path of the member
    """

    path: str
    vhd: results.Vhd

    @property
    def shown(self) -> str:
        """Its name for sentences."""
        return self.vhd.name

    @property
    def name(self) -> names.Name:
        return names.parse(self.path)

    def has_id_of_parent(self, other: 'Link') -> bool:
        """Whether it has the UUID of a VHD's parent; the VHD itself may."""
        return (self.vhd.unique_id != _NIL
                and self.vhd.unique_id == other.vhd.parent_unique_id)

    def is_parent_of(self, other: 'Link') -> bool:
        """Whether the UUIDs say that it is the parent of another VHD."""
        return self is not other and self.has_id_of_parent(other)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The layers of one disk.

    :ivar links: the VHDs, from the leaf to the base
    :ivar notes: what the order rests on, where that is less than usual
    """

    links: list[Link]
    notes: list[str]

    @property
    def layers(self) -> list[results.Vhd]:
        return [link.vhd for link in self.links]


def describe(name: str, size: int, known: structures.Structures,
             ) -> results.Vhd:
    """Describe a VHD whose structures have been read.

    :param size: size of its file, in bytes
    :param known: its structures
    :raises DamagedVhd: it has no footer
    """
    footer, header = known.footer, known.header
    if footer is None:
        raise exceptions.DamagedVhd('it has no valid footer', member=name)
    allocated = (footer.current_size if header is None
                 else len(known.table or ()) * header.block_size)
    parent = (str(header.parent_unique_id)
              if header is not None and footer.is_differencing else None)
    return results.Vhd(
        name, footer.disk_type_name, footer.current_size, allocated, size,
        _creator(footer), str(footer.unique_id), parent, bool(footer.hidden))


def describe_by_ends(name: str, size: int, start: bytes, end: bytes,
                     ) -> results.Vhd | None:
    """Describe a VHD that has been skipped; None if it is damaged.

    :param start: its first bytes
    :param end: its last 512 bytes, or all of them
    """
    known = structures.of_ends(start, end)
    return None if known.footer is None else describe(name, size, known)


def _creator(footer: layout.Footer) -> str:
    """Return the name and the version of the program that made a VHD."""
    name = footer.creator_application.decode('ascii', 'backslashreplace')
    version = footer.creator_version
    return (f'{text.printable(name.strip(chr(0) + " "))} '
            f'{version >> 16}.{version & 0xFFFF}')


def is_for_swap(path: str, swap: results.Vhd | None, others: Sequence[Link],
                ) -> bool:
    """Whether a VHD is the disk for swapping that Nova put beside a chain.

    :param swap: the VHD; None if it is damaged
    :param others: the other VHDs of the archive
    """
    name = names.parse(path)
    if not name.is_swap:
        return False
    if not others:
        return True
    if (others[0].name.group != name.group
            or names.ranks([link.name for link in others]) is None):
        return False
    if swap is None:
        return True
    if swap.is_differencing and swap.parent_unique_id is None:
        return False
    link = Link(path, swap)
    return not any(link.is_parent_of(other) or other.is_parent_of(link)
                   for other in others)


def check_length(count: int, limits: image_limits.Limits, name: str) -> None:
    """Check that a chain may have so many layers.

    :param name: the name of one that is too many
    :raises LimitExceeded: it may not
    """
    if count > limits.max_chain_length:
        raise exceptions.LimitExceeded(
            'the chain is longer than the limit of '
            f'{limits.max_chain_length} layers', member=name)


def check_apart(path: str, shown: str, others: Iterable[Link]) -> None:
    """Check that no other VHD has the same path or the same number.

    :param shown: the path in a form that is safe to show
    :raises DuplicateLayer: one has
    """
    name = names.parse(path)
    for other in others:
        if names.normalized(other.path) == names.normalized(path) or (
                name.number is not None and name.number == other.name.number
                and name.group == other.name.group):
            raise exceptions.DuplicateLayer(
                f'the archive also holds {other.shown}, which claims the '
                'same place in the chain', member=shown)


def arrange(links: Sequence[Link], limits: image_limits.Limits) -> Chain:
    """Put the VHDs of an archive in order.

    :raises NoVhds: there are none
    :raises LimitExceeded: there are more than allowed
    :raises BrokenChain: they do not form one chain, or in more than one way
    """
    if not links:
        raise NoVhds
    check_length(len(links), limits, links[-1].shown)
    for number, link in enumerate(links):
        check_apart(link.path, link.shown, links[:number])
    ranks = names.ranks([link.name for link in links])
    if ranks is None:
        return _by_uuids(links)
    ordered = [link for _, link in sorted(
        zip(ranks, links, strict=True), key=lambda pair: pair[0])]
    if ordered[0].name.number is not None:
        _check_gaps(ordered)
    return _by_names(ordered)


def _check_gaps(ordered: Sequence[Link]) -> None:
    """Check that no number is missing.

    :raises MissingLayer: one is
    """
    for expected, link in enumerate(ordered):
        if link.name.number != expected:
            between = (f'between {ordered[expected - 1].shown} and '
                       f'{link.shown}' if expected else f'before {link.shown}')
            raise exceptions.MissingLayer(
                f'{expected}{link.name.ending} is missing {between}')


def _by_names(ordered: Sequence[Link]) -> Chain:
    """Check an order that the names give against what the VHDs say."""
    notes = []
    for link, following in itertools.zip_longest(ordered, ordered[1:]):
        parents = [other for other in ordered if other.has_id_of_parent(link)]
        if parents and following not in parents:
            place = (f'its parent is {following.shown}' if following
                     else 'it is the last layer')
            raise exceptions.WrongParent(
                f'its parent is {parents[0].shown} according to its UUID, but '
                f'according to the names, {place}', member=link.shown)
        if following and not parents:
            notes.append(
                f'{link.shown}: no VHD in the archive has the UUID of its '
                f'parent; that this is {following.shown}, the names alone say')
    for link, following in itertools.pairwise(ordered):
        if not link.vhd.is_differencing:
            raise exceptions.NotDifferencing(
                f'the layer is not a differencing disk, so {following.shown} '
                'cannot be its parent', member=link.shown)
    _check_base(ordered[-1])
    return Chain(list(ordered), notes)


def _check_base(link: Link) -> None:
    """Check that the last layer needs no parent.

    :raises MissingBase: it does
    """
    if link.vhd.is_differencing:
        raise exceptions.MissingBase(
            'this last layer is a differencing disk, but its parent is not in '
            'the archive', member=link.shown)


def _by_uuids(links: Sequence[Link]) -> Chain:
    """Order VHDs whose names give no order."""
    bases = [link for link in links if not link.vhd.is_differencing]
    if len(bases) > 1:
        raise exceptions.AmbiguousOrder(
            f'{bases[0].shown} and {bases[1].shown} are both complete disks, '
            'and a chain has only one, its base')
    children = _children(links)
    roots = [link for link in links if not any(
        link in found for found in children.values())]
    if not bases:
        if not roots:
            raise _circle(links[0], children)
        _check_base(roots[0])
    base, = bases
    if len(links) == 2 and len(roots) == 2:
        return _only_order(base, *(link for link in roots if link is not base))
    ordered = _line(base, children)
    if len(ordered) < len(links):
        apart = [link for link in links if link not in ordered]
        lost = next((link for link in roots if link in apart), None)
        if lost is None:
            raise _circle(apart[0], children)
        raise exceptions.AmbiguousOrder(
            f'its parent is not in the archive (UUID '
            f'{lost.vhd.parent_unique_id}), so neither the names nor the '
            f'UUIDs say where it belongs beside {ordered[-1].shown}',
            member=lost.shown)
    return Chain(ordered[::-1], [])


def _children(links: Sequence[Link]) -> dict[Link, list[Link]]:
    """Return the VHDs that are differences to each one by their UUIDs.

    :raises AmbiguousOrder: several have the UUID of a parent
    """
    children: dict[Link, list[Link]] = {link: [] for link in links}
    for link in links:
        parents = [other for other in links if other.is_parent_of(link)]
        if len(parents) > 1:
            raise exceptions.AmbiguousOrder(
                f'{parents[0].shown} and {parents[1].shown} both have the '
                f'UUID of its parent, {link.vhd.parent_unique_id}',
                member=link.shown)
        for parent in parents:
            children[parent].append(link)
    return children


def _line(base: Link, children: dict[Link, list[Link]]) -> list[Link]:
    """Follow the UUIDs from the base up to the leaf.

    :raises AmbiguousOrder: the chain forks
    """
    line = [base]
    while found := children[line[-1]]:
        if len(found) > 1:
            raise exceptions.AmbiguousOrder(
                f'{found[0].shown} and {found[1].shown} both have '
                f'{line[-1].shown} as their parent, so they belong to two '
                'disks')
        line += found
    return line


def _only_order(base: Link, leaf: Link) -> Chain:
    return Chain([leaf, base], [
        f'{leaf.shown}: the UUID of its parent '
        f'({leaf.vhd.parent_unique_id}) is not that of {base.shown} '
        f'({base.vhd.unique_id}); one complete disk and one difference have '
        'only this order'])


def _circle(start: Link, children: dict[Link, list[Link]],
            ) -> exceptions.WrongParent:
    """Make the error for VHDs that lead back to themselves.

    :param start: one of them, or one that hangs on them
    """
    parents = {child: parent for parent, found in children.items()
               for child in found}
    seen: list[Link] = []
    while start not in seen:
        seen.append(start)
        start = parents[start]
    return exceptions.WrongParent(
        f'it and {parents[start].shown} are parents of one another according '
        'to their UUIDs', member=start.shown)

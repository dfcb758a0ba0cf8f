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

"""The chain that the VHDs of an archive form, by the members' names.

The names decide the order: XenServer numbered the files when it made the
archive, and left parent names and locators that point nowhere (see nova's
dom0 plugin, ``utils.prepare_staging_area``; for the old names,
``import_vhds`` of its first version).
"""

import dataclasses
import enum
import itertools
import re
import uuid

from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import exceptions
from glance_xs_convert import limits

_NUMBERED = re.compile(r'([0-9]+)\.vhd')
_OLD_NAMES = ('snap.vhd', 'image.vhd', 'base.vhd')
_NO_PART_OF_THE_DISK = ('swap.vhd',)
#: Files with attributes that tar on macOS puts beside the real ones.
_APPLE_DOUBLE = '._'
#: Layers do not have numbers with more digits.
_MAX_DIGITS = 9


class Naming(enum.Enum):
    """How an archive names its layers."""

    NUMBERED = 'numbers'
    OLD = 'snap, image and base'
    SINGLE = 'any name'


@dataclasses.dataclass(frozen=True)
class Place:
    """The place in the chain that a member's name claims.

    :ivar rank: 0 for the leaf, higher for older layers
    """

    naming: Naming
    rank: int
    directory: str = ''


@dataclasses.dataclass(frozen=True)
class Vhd:
    """A VHD of the chain that has been read to its end.

    :ivar name: name of the member
    :ivar file_size: size of the member, in bytes
    :ivar allocated_size: total size of its blocks, in bytes
    :ivar header: dynamic header, or None for a fixed disk
    """

    name: str
    file_size: int
    allocated_size: int
    footer: layout.Footer
    header: layout.DynamicHeader | None

    @property
    def disk_type(self) -> str:
        return self.footer.disk_type_name

    @property
    def current_size(self) -> int:
        return self.footer.current_size

    @property
    def unique_id(self) -> uuid.UUID:
        return self.footer.unique_id

    @property
    def parent_unique_id(self) -> uuid.UUID | None:
        if self.header is None or not self.footer.is_differencing:
            return None
        return self.header.parent_unique_id


def place_of(name: str) -> Place | None:
    """Return the place that a member's name claims, or None.

    :param name: name of a regular member, with its directories
    """
    directory, base = _split_name(name)
    numbered = _NUMBERED.fullmatch(base)
    if numbered:
        digits = numbered[1].lstrip('0')[:_MAX_DIGITS]
        return Place(Naming.NUMBERED, int(digits or '0'), directory)
    if base in _OLD_NAMES:
        return Place(Naming.OLD, _OLD_NAMES.index(base), directory)
    return place_by_content(name) if base.endswith('.vhd') else None


def place_by_content(name: str) -> Place | None:
    """Return the place of a member whose content is a VHD.

    It is None if the name says that the member does not belong to the disk.
    """
    directory, base = _split_name(name)
    if base in _NO_PART_OF_THE_DISK or base.startswith(_APPLE_DOUBLE):
        return None
    return Place(Naming.SINGLE, 0, directory)


def _split_name(name: str) -> tuple[str, str]:
    directory, _, base = name.removeprefix('./').rpartition('/')
    return directory, base.lower()


class Chain:
    """The layers of one disk, in the order in which they arrive."""

    def __init__(self, limits: limits.Limits) -> None:
        self._limits = limits
        self._names: dict[int, str] = {}
        self._layers: dict[int, Vhd] = {}
        self._place: Place | None = None
        self._base: int | None = None

    def __len__(self) -> int:
        return len(self._names)

    @property
    def naming(self) -> Naming | None:
        """How the layers so far are named; None before the first one."""
        return self._place.naming if self._place else None

    def claim(self, place: Place, name: str) -> None:
        """Claim a place for a member.

        :raises DuplicateLayer: another member has this place
        :raises AmbiguousNames: the name does not fit the others
        :raises LimitExceeded: the chain becomes longer than allowed
        """
        if place.rank >= self._limits.max_chain_length:
            raise exceptions.LimitExceeded(
                'the chain is longer than the limit of '
                f'{self._limits.max_chain_length} layers', member=name)
        first = self._place = self._place or place
        if place.naming != first.naming:
            raise exceptions.AmbiguousNames(
                'the archive names some VHDs by number, and others snap, '
                'image or base', member=name)
        if place.rank in self._names:
            other = self._names[place.rank]
            if place.naming is Naming.SINGLE:
                raise exceptions.AmbiguousNames(
                    f'the archive also holds {other}, and the names do not '
                    'say which of the two comes first', member=name)
            raise exceptions.DuplicateLayer(
                f'the archive also holds {other}, which claims the same '
                'place in the chain', member=name)
        if place.directory != first.directory:
            raise exceptions.AmbiguousNames(
                'the VHDs of the archive are in different directories',
                member=name)
        self._names[place.rank] = name
        self._check_base()

    def set_base(self, rank: int) -> None:
        """Note that a layer has no parent.

        :raises NotDifferencing: there are layers below it
        """
        if self._base is None or rank < self._base:
            self._base = rank
        self._check_base()

    def _check_base(self) -> None:
        """Check that no layer lies below one that has no parent."""
        if self._base is not None and max(self._names) > self._base:
            below = self._names[min(r for r in self._names
                                    if r > self._base)]
            raise exceptions.NotDifferencing(
                f'the layer is not a differencing disk, so {below} cannot be '
                'its parent', member=self._names[self._base])

    def add(self, rank: int, vhd: Vhd) -> None:
        """Add a layer that has been read and whose place is claimed."""
        self._layers[rank] = vhd

    def layers(self) -> list[Vhd]:
        """Check the chain and return it, from the leaf to the base.

        :raises NoVhd: there are no layers
        :raises MissingLayer: a number is missing
        :raises MissingBase: the last layer needs a parent
        :raises NotDifferencing: a layer has no parent, but others lie below
        :raises WrongParent: a parent's UUID is that of another layer
        """
        if not self._layers:
            raise exceptions.NoVhd('the archive holds no VHD')
        self._check_gaps()
        self._check_base()
        layers = [self._layers[rank] for rank in sorted(self._layers)]
        last = layers[-1]
        if last.footer.is_differencing:
            raise exceptions.MissingBase(
                'this last layer is a differencing disk, but its parent is '
                'not in the archive', member=last.name)
        _check_parents(layers)
        return layers

    def _check_gaps(self) -> None:
        if self.naming is not Naming.NUMBERED:
            return
        for expected, rank in enumerate(sorted(self._layers)):
            if rank != expected:
                found = self._layers[rank].name
                between = (f'between {self._layers[expected - 1].name} and '
                           f'{found}' if expected else f'before {found}')
                raise exceptions.MissingLayer(
                    f'{expected}.vhd is missing {between}')


def _check_parents(layers: list[Vhd]) -> None:
    """Check that no parent's UUID is that of another layer.

    It may be the UUID of a VHD that is not in the archive.
    """
    names = {layer.unique_id: layer.name for layer in layers
             if layer.unique_id.int}
    for layer, following in itertools.pairwise(layers):
        parent = layer.parent_unique_id
        if (parent is not None and parent in names
                and parent != following.unique_id):
            raise exceptions.WrongParent(
                f'its parent is {names[parent]} according to its UUID, but '
                f'{following.name} according to the names',
                member=layer.name)

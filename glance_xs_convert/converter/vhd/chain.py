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

"""From the members' names to a chain, and whether it is one.

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
#: Numbers with more digits are no numbers of layers.
_MAX_DIGITS = 9


class Naming(enum.Enum):
    """How an archive names its layers."""

    NUMBERED = 'numbers'
    OLD = 'snap, image and base'
    SINGLE = 'any name'


@dataclasses.dataclass(frozen=True)
class Place:
    """What a member's name says about its place in the chain.

    :ivar rank: 0 for the leaf; higher for what lies below
    """

    naming: Naming
    rank: int
    directory: str = ''


@dataclasses.dataclass(frozen=True)
class Vhd:
    """One VHD of the chain, read to its end.

    :ivar name: of the member
    :ivar file_size: of the member, in bytes
    :ivar allocated_size: of the blocks in it, in bytes
    :ivar header: None for a fixed disk
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
    """The place that a member claims by its name, or None if by none.

    :param name: of a regular member, with its directories
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
    """The place of a member that is a VHD by its content.

    None where the name says that it is no part of the disk.
    """
    directory, base = _split_name(name)
    if base in _NO_PART_OF_THE_DISK or base.startswith(_APPLE_DOUBLE):
        return None
    return Place(Naming.SINGLE, 0, directory)


def _split_name(name: str) -> tuple[str, str]:
    directory, _, base = name.removeprefix('./').rpartition('/')
    return directory, base.lower()


class Chain:
    """The layers of one disk, as they turn up in the archive."""

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
        """How the layers so far are named; None before the first."""
        return self._place.naming if self._place else None

    def claim(self, place: Place, name: str) -> None:
        """Take a place for a member.

        :raises DuplicateLayer: the place is taken
        :raises AmbiguousNames: the name does not go with the others
        :raises LimitExceeded: the chain gets longer than allowed
        """
        if place.rank >= self._limits.max_chain_length:
            raise exceptions.LimitExceeded(
                'the chain is longer than the limit of '
                f'{self._limits.max_chain_length} layers', member=name)
        first = self._place = self._place or place
        if place.naming != first.naming:
            raise exceptions.AmbiguousNames(
                'the archive names its VHDs both by numbers and by snap, '
                'image and base', member=name)
        if place.rank in self._names:
            other = self._names[place.rank]
            if place.naming is Naming.SINGLE:
                raise exceptions.AmbiguousNames(
                    f'besides this VHD the archive holds {other}, and '
                    'neither name says which comes first', member=name)
            raise exceptions.DuplicateLayer(
                f'the archive also holds {other}, which claims the same '
                'place in the chain', member=name)
        if place.directory != first.directory:
            raise exceptions.AmbiguousNames(
                'the VHDs of the archive lie in different directories',
                member=name)
        self._names[place.rank] = name
        self._check_base()

    def set_base(self, rank: int) -> None:
        """A layer turns out to have no parent.

        :raises NotDifferencing: there are layers on both sides of it
        """
        if self._base is None or rank < self._base:
            self._base = rank
        self._check_base()

    def _check_base(self) -> None:
        """No layer may lie below one that has no parent."""
        if self._base is not None and max(self._names) > self._base:
            below = self._names[min(r for r in self._names
                                    if r > self._base)]
            raise exceptions.NotDifferencing(
                f'the layer is not a differencing disk, so {below} cannot be '
                'its parent', member=self._names[self._base])

    def add(self, rank: int, vhd: Vhd) -> None:
        """A layer whose place was claimed has been read."""
        self._layers[rank] = vhd

    def layers(self) -> list[Vhd]:
        """The whole chain, from the leaf to the base, if it is sound.

        :raises NoVhd: there is no layer
        :raises MissingLayer: a number is missing
        :raises MissingBase: the last layer needs a parent
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
                'this last layer is a differencing disk, and its parent is '
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
    """Parents' UUIDs may be unknown, but not point to another layer."""
    names = {layer.unique_id: layer.name for layer in layers
             if layer.unique_id.int}
    for layer, following in itertools.pairwise(layers):
        parent = layer.parent_unique_id
        if (parent is not None and parent in names
                and parent != following.unique_id):
            raise exceptions.WrongParent(
                f'its parent is {names[parent]} by the UUID, but '
                f'{following.name} by the names', member=layer.name)

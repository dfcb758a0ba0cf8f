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

"""The ranks of VHDs that arrive one after the other.

The order of a chain is known only when all of its VHDs are, but they are to be
written as they arrive. So each gets the place that what is known so far gives
it. Almost always that is the right one; who asks has to compare them with the
chain in the end (see ``chain.arrange``), and to read again if it is another.
"""

from collections.abc import Iterator
import dataclasses
import uuid

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.vhd import names
from glance_xs_convert import results


#: The rank of the first VHD whose name gives it none. Only a leaf has rank 0:
#: the one that is called so.
FIRST = 10_000


@dataclasses.dataclass
class _Placed:
    """A VHD that has arrived.

    :ivar own: its UUID; None as long as it is not known
    :ivar parent: the UUID of its parent; None for a base
    """

    name: names.Name
    own: uuid.UUID | None
    parent: uuid.UUID | None


def _known(unique_id: uuid.UUID | None) -> uuid.UUID | None:
    """Return a UUID, or None if it is unknown or zero."""
    return unique_id if unique_id is not None and unique_id.int else None


class Arrivals:
    """The VHDs that have arrived so far, by their ranks."""

    def __init__(self) -> None:
        self._placed: dict[int, _Placed] = {}

    def rank(self, shown: str, name: names.Name, own: uuid.UUID | None,
             parent: uuid.UUID | None) -> int:
        """Return the rank of a VHD that arrives.

        :param shown: name of the member
        :param own: its UUID; None if it follows at the end of the file
        :param parent: the UUID of its parent; None for a base
        :raises NotInOrder: nothing tells it yet
        """
        arriving = _Placed(name, _known(own), parent)
        rank = self._by_names(arriving)
        if rank is None:
            rank = self._by_uuids(arriving)
        if rank is None or rank in self._placed:
            raise layers.NotInOrder(shown)
        self._placed[rank] = arriving
        return rank

    def complete(self, rank: int, vhd: results.Vhd) -> None:
        """Note what the end of a VHD has told."""
        if rank in self._placed:
            self._placed[rank].own = _known(uuid.UUID(vhd.unique_id))

    def _by_names(self, arriving: _Placed) -> int | None:
        ranks = names.ranks([arriving.name, *(
            placed.name for placed in self._placed.values())])
        return None if ranks is None else ranks[0]

    def _by_uuids(self, arriving: _Placed) -> int | None:
        if not self._placed:
            return FIRST
        linked = set(self._neighbours(arriving))
        if linked:
            return linked.pop() if len(linked) == 1 else None
        newest, oldest = min(self._placed), max(self._placed)
        if arriving.parent is None:
            return oldest + 1
        if len(self._placed) == 1 and self._placed[newest].parent is None:
            return newest - 1
        return None

    def _neighbours(self, arriving: _Placed) -> Iterator[int]:
        """Yield the ranks beside those that the UUIDs name."""
        for rank, placed in self._placed.items():
            if arriving.parent is not None and arriving.parent == placed.own:
                yield rank - 1
            if arriving.own is not None and arriving.own == placed.parent:
                yield rank + 1

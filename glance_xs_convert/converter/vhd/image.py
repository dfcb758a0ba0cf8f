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

from glance_xs_convert.converter.containers import detect
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import layers
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import layer
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert.converter.vhd import survey
from glance_xs_convert import limits


class VhdImage:
    """A chain of VHDs in the order in which an archive's members arrive.

    :param opened: the archive
    :param limits: bounds on the image
    :param surveyed: the results of an earlier survey, if any
    :ivar vhds: the chain, from the leaf to the base; empty until all layers
                have been read
    :ivar ignored: names of the files that do not belong to it, so far
    """

    def __init__(self, opened: member.Members, limits: limits.Limits,
                 surveyed: survey.Survey | None = None) -> None:
        self.vhds: list[chain.Vhd] = []
        self._opened = opened
        self._limits = limits
        self._surveyed = surveyed
        self._chain = chain.Chain(limits)
        self.ignored: list[str] = []

    @property
    def size(self) -> int:
        """The size of the disk in bytes: the leaf's current size."""
        return self.vhds[0].current_size

    def layers(self) -> Iterator[tuple[int, layer.VhdLayer]]:
        """Yield the VHDs of the chain with their ranks.

        See ``layers.Image``.

        :raises NotInOrder: a survey is needed first
        """
        for item in self._opened.members():
            place, known = self._find(item)
            if place is None:
                self._opened.ignore(item)
                self.ignored.append(item.name)
                continue
            self._chain.claim(place, item.name)
            vhd = layer.begin(stream.VhdStream(
                item.name, item.size, item.data, self._limits), known)
            if not vhd.has_parent:
                self._chain.set_base(place.rank)
            yield place.rank, vhd
            self._chain.add(place.rank, survey.describe(
                item.name, item.size, vhd.finish()))
        if not len(self._chain):
            raise detect.no_vhd(self.ignored)
        self.vhds = self._chain.layers()

    def _find(self, item: member.Member) -> tuple[
            chain.Place | None, structures.Structures | None]:
        """Return a member's place in the chain and its known structures."""
        if self._surveyed is None:
            return self._place(item), None
        vhd = self._surveyed.vhds.get(item.index)
        return (vhd.place, vhd.structures) if vhd else (None, None)

    def _place(self, item: member.Member) -> chain.Place | None:
        """Return a member's place, as far as its name tells on arrival."""
        place = chain.place_of(item.path)
        naming = self._chain.naming
        if place is None or naming is None or place.naming is naming:
            return place
        if place.naming is chain.Naming.SINGLE:
            return None
        if naming is chain.Naming.SINGLE:
            raise layers.NotInOrder(item.name)
        return place

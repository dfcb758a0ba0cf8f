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

"""An input is a VHD file: its structures, and reading it forward."""

from collections import abc
import random
import zlib

from glance_xs_convert.converter import layers
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layer
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert.converter.vhd import stream
from glance_xs_convert.converter.vhd import structures
from glance_xs_convert import exceptions

from tests.fuzz import mutation
from tests.fuzz import rules

SECTOR = layout.SECTOR_SIZE
_CHUNKS = (511, 4096, 1 << 20, 1 << 20)


def pieces(data: bytes, rng: random.Random) -> abc.Iterator[bytes]:
    """Cut a file into the chunks in which it is read."""
    size = rng.choice(_CHUNKS)
    first = rng.randrange(1, size + 1)
    yield data[:first]
    for start in range(first, len(data), size):
        yield data[start:start + size]


def opened(data: bytes, rng: random.Random) -> stream.VhdStream:
    window = forward.Window(
        forward.ForwardReader(pieces(data, rng)), len(data))
    return stream.VhdStream('0.vhd', len(data), window, rules.LIMITS)


def read(data: bytes, known: structures.Structures, rng: random.Random,
         ) -> rules.Disk:
    """Read a VHD to its end."""
    vhd = layer.begin(opened(data, rng), known)
    written = {}
    for extent in vhd.extents():
        if extent.size > layout.MAX_BLOCK_SIZE:
            raise rules.Broken(f'an extent of {extent.size} bytes')
        content = vhd.data.read(extent.size)
        count = -(-extent.size // SECTOR)
        for index in range(count):
            if extent.written >> (count - 1 - index) & 1:
                written[extent.offset // SECTOR + index] = content[
                    index * SECTOR:(index + 1) * SECTOR]
    footer = vhd.finish().footer
    size = footer.current_size if footer else 0
    if not 0 < size <= rules.LIMITS.max_virtual_size:
        raise rules.Broken(f'a disk of {size} bytes')
    return rules.Disk(size, {
        sector: visible for sector, content in written.items()
        if any(visible := content[:max(0, size - sector * SECTOR)])})


def survey(data: bytes, rng: random.Random) -> structures.Structures:
    """Collect a VHD's structures in as many passes as it takes."""
    known = structures.Structures()
    for _ in range(3):
        if not known.complete:
            known = structures.collect(opened(data, rng), known)
    if not known.complete:
        raise exceptions.DamagedVhd('the structures are not complete')
    return known


def attempt(data: bytes, rng: random.Random,
            ) -> rules.Outcome | layers.NotInOrder:
    """Read a VHD of which nothing is known."""
    try:
        return read(data, structures.Structures(), rng)
    except (exceptions.XsConvertError, layers.NotInOrder) as error:
        return error


def surveyed(data: bytes, rng: random.Random) -> tuple[
        rules.Outcome, structures.Structures | None]:
    """Read a VHD after a survey of it."""
    try:
        known = survey(data, rng)
    except exceptions.XsConvertError as error:
        return error, None
    return read(data, known, rng), known


def check_footers(data: bytes) -> None:
    """What is packed is what was read."""
    for start in (0, max(0, len(data) - SECTOR)):
        try:
            footer = layout.Footer.unpack(data[start:start + SECTOR])
        except layout.LayoutError:
            continue
        again = layout.Footer.unpack(footer.pack())
        if {**vars(again), 'checksum': 0} != {**vars(footer), 'checksum': 0}:
            raise rules.Broken('a footer is another when it is packed')


def test_one_input(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    with rules.bounded_time():
        first = attempt(data, rng)
        road = rng.randrange(6)
        if road == 0:
            check_reads(first, attempt(data, rng))
        elif road == 1:
            check_footers(data)
        elif road < 4:
            last, known = surveyed(data, rng)
            if isinstance(first, rules.Disk):
                rules.same(first, last, 'after a survey')
            if road == 2 and known is not None and known.footer is not None:
                check_bare(data, last, known.footer.is_differencing)


def check_reads(one: object, other: object) -> None:
    """In whatever pieces a VHD is read, the same comes out."""
    if (type(one), str(one)) != (type(other), str(other)):
        raise rules.Broken('the size of the reads makes a difference')


def check_bare(data: bytes, found: rules.Outcome, is_differencing: bool,
               ) -> None:
    """The same without an archive around it, by the whole converter."""
    bare = rules.outcome(data)
    if not is_differencing:
        rules.same(found, bare, 'as a bare VHD')
    elif not isinstance(bare, exceptions.MissingBase):
        raise rules.Broken('a bare differencing disk') from (
            bare if isinstance(bare, Exception) else None)


mutate = mutation.mutate_vhd

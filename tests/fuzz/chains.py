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

"""An input chooses the fields of a chain and of the archive around it."""

from collections import abc
import dataclasses
import typing

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import ova
from testbed.images import vhd
from tests.fuzz import mutation
from tests.fuzz import rules

SECTOR = vhd.SECTOR
BLOCK_SIZES = (4096, 512, 1024, 2048, 8192, 4096, 512, 1024, 2048, 8192,
               16384, 2 * vhd.MIB)
FOOTERS = ((vhd.GOOD, vhd.GOOD), (vhd.GOOD, vhd.ABSENT),
           (vhd.GOOD, vhd.ZEROED), (vhd.GOOD, vhd.DAMAGED),
           (vhd.GOOD, vhd.SHORT), (vhd.ZEROED, vhd.GOOD),
           (vhd.DAMAGED, vhd.GOOD))
FOOTER_FIELDS = ('current_size', 'data_offset', 'disk_type', 'hidden',
                 'creator_version', 'original_size', 'checksum')
HEADER_FIELDS = ('table_offset', 'max_table_entries', 'block_size',
                 'data_offset', 'header_version', 'checksum')
#: Names that give no order, so that the UUIDs have to.
_NAMINGS = ('2024010{}T000000Z.vhd', 'x_{}.avhd', 'VHD-{}', 'layer{}',
            '{}/disk.vhd', 'LAYER{}.VHD')
SMALL_FIELDS = {'disk_type': 5, 'hidden': 2}


@dataclasses.dataclass
class Image:
    """A chain and how it is packed."""

    layers: list[vhd.Layer]
    names: list[str]
    order: list[int]
    tar_format: int
    sound: bool


def extents(choices: rules.Choices, sectors: int, label: str,
            ) -> list[tuple[int, bytes]]:
    runs = []
    for number in range(choices.below(4)):
        first = choices.below(sectors)
        length = min(1 + choices.below(17), sectors - first)
        runs.append((first, bytes(length * SECTOR) if choices.one_in(4)
                     else chains.pattern((label, number), length)))
    return runs


def layer(choices: rules.Choices, label: str, is_base: bool) -> vhd.Layer:
    size = choices.pick((6144, 1, 511, 513, 4096, 8192, 40_000)) + (
        SECTOR * choices.below(64))
    sectors = -(-size // SECTOR)
    written = extents(choices, sectors, 'written ' + label)
    stale = extents(choices, sectors, 'stale ' + label)
    if is_base and choices.one_in(8):
        return vhd.Layer(size, written, disk_type=vhd.FIXED,
                         padding={'tail': choices.below(3)})
    block_size = choices.pick(BLOCK_SIZES)
    used = sorted({sector // (block_size // SECTOR)
                   for sector in vhd.by_sector(written + stale)})
    front, tail = choices.pick(FOOTERS) if choices.one_in(3) else FOOTERS[0]
    layout = [vhd.LAYOUT[i] for i in choices.permutation(4)] if (
        choices.one_in(3)) else vhd.LAYOUT
    lsb_first = choices.one_in(8)
    return vhd.Layer(
        size, written, stale, block_size=block_size, front=front, tail=tail,
        layout=layout,
        block_order=[used[i] for i in choices.permutation(len(used))],
        padding={part: choices.below(3) for part in layout} if (
            choices.one_in(3)) else {},
        gaps={block: choices.below(3) for block in used[:4]} if (
            choices.one_in(3)) else {},
        batmap=choices.one_in(2), data_alignment=choices.pick((512, 4096)),
        extra_table_entries=choices.pick((0, 1, 200)),
        creator_version=1 if lsb_first else 0x00010003,
        bit_order=vhd.LSB_FIRST if lsb_first else vhd.MSB_FIRST)


def unsound(choices: rules.Choices, sound: vhd.Layer) -> vhd.Layer:
    """A layer with one field that is not what it should be."""
    kind = choices.below(6)
    if kind == 0:
        return dataclasses.replace(sound, header_fields={
            'parent_unique_id': chains.layer_id(choices.below(6)).bytes})
    if kind == 1:
        return dataclasses.replace(sound, bat_entries={
            choices.below(-(-sound.current_size // sound.block_size)):
            choices.pick((choices.below(64), vhd.UNUSED))})
    if kind == 2:
        return dataclasses.replace(sound, batmap=True, encrypted=True)
    names = HEADER_FIELDS if kind == 3 else FOOTER_FIELDS
    name = choices.pick(names)
    fields = {name: value(choices, name)}
    if kind == 3:
        return dataclasses.replace(sound, header_fields=fields)
    if kind == 4:
        return dataclasses.replace(sound, footer_fields=fields)
    if choices.one_in(2):
        return dataclasses.replace(sound, front_fields=fields)
    return dataclasses.replace(sound, tail_fields=fields)


def value(choices: rules.Choices, name: str) -> int:
    if name in SMALL_FIELDS:
        return choices.below(SMALL_FIELDS[name])
    number: int = choices.pick((
        SECTOR * choices.below(128), choices.pick(mutation.EDGES),
        choices.below(65536)))
    long = name in ('current_size', 'data_offset', 'original_size',
                    'table_offset')
    return number % (1 << (64 if long else 32))


def image(choices: rules.Choices) -> Image:
    count = 1 + choices.below(5)
    layers = chains.linked([
        layer(choices, str(number), number == count - 1)
        for number in range(count)])
    broken = choices.one_in(2)
    for _ in range(1 + choices.below(2) if broken else 0):
        number = choices.below(count)
        layers[number] = unsound(choices, layers[number])
    names = archive.names(count, choices.pick(('./', '', 'a/b/', './/')))
    if choices.one_in(6) and count <= 3:
        names = list(archive.OLD_NAMES[:count])
    elif choices.one_in(6) and count == 1:
        names = [choices.pick(('disk.vhd', 'disk.img', 'A.VHD', '00.vhd'))]
    elif choices.one_in(4):
        names = [choices.pick(_NAMINGS).format(number)
                 for number in range(count)]
    return Image(layers, names, choices.permutation(count),
                 choices.pick((archive.GNU, archive.PAX, archive.USTAR)),
                 not broken)


def members(chosen: Image, order: abc.Iterable[int], choices: rules.Choices,
            ) -> list[archive.Member]:
    packed = []
    for number in order:
        name, content = chosen.names[number], chosen.layers[number].image()
        kind = choices.below(10)
        if kind == 8:
            packed.append(archive.gnu_sparse(name, content))
        elif kind == 9:
            packed.append(archive.pax_sparse(name, content))
        elif kind == 7 and name.endswith('vhd'):
            packed.append(archive.Member(
                f'{name}.gz', ova.gzipped(content.tobytes())))
        else:
            packed.append(archive.Member(name, content))
    if choices.one_in(4):
        packed.insert(choices.below(len(packed) + 1), choices.pick((
            archive.directory(), archive.Member('notes', b'x' * 600),
            archive.Member('._0.vhd', b'x'), for_swapping(chosen.names))))
    return packed


def for_swapping(names: list[str]) -> archive.Member:
    """What Nova put beside chains that it named."""
    directory, _, name = names[0].rpartition('/')
    is_novas = name in ('0.vhd', *archive.OLD_NAMES)
    return archive.Member(f'{directory or "."}/swap.vhd' if is_novas
                          else 'swap.txt')


def expected(layers: typing.Sequence[vhd.Layer]) -> rules.Disk:
    """The disk by the model."""
    return rules.Disk(model.size(layers), model.nonzero_sectors(layers))


def padded(disk: rules.Outcome) -> rules.Outcome:
    """The last sector is whole in the model, and not in a file."""
    if not isinstance(disk, rules.Disk):
        return disk
    return rules.Disk(disk.size, {
        sector: data.ljust(SECTOR, b'\0')
        for sector, data in disk.sectors.items()})


def damaged(data: bytes, choices: rules.Choices) -> bytes:
    """An archive with some bytes changed, or cut short."""
    changed = bytearray(data)
    for _ in range(1 + choices.below(3)):
        place = choices.below(len(changed))
        changed[place] ^= 1 << choices.below(8)
    if choices.one_in(3):
        del changed[choices.below(len(changed)):]
    return bytes(changed)


def test_one_input(data: bytes) -> None:
    choices = rules.Choices(data)
    chosen = image(choices)
    packed = members(chosen, chosen.order, choices)
    plain = archive.tar(packed, chosen.tar_format)
    found = rules.converted(plain) if choices.one_in(2) else (
        rules.outcome(plain))
    disk = padded(found)
    if chosen.sound:
        rules.same(expected(chosen.layers), disk, 'the model')
    kind = choices.below(8)
    if kind == 0:
        again = members(chosen, choices.permutation(len(chosen.layers)),
                        choices)
        rules.same(disk, padded(rules.outcome(archive.tar(again))),
                   'in another order')
    elif kind == 1:
        rules.same(disk, padded(rules.outcome(plain, by_survey=True)),
                   'by a survey')
    elif kind == 2:
        rules.same_refusal(found, rules.outcome(archive.gzipped(
            [plain], member_size=choices.pick((None, 5000, 700)))),
            'gzipped')
    elif kind == 3:
        rules.outcome(damaged(plain, choices))
    elif kind == 4:
        rules.outcome(damaged(archive.gzipped([plain]), choices))
    elif kind == 5:
        check_limit(disk, plain)


def check_limit(disk: rules.Outcome, data: bytes) -> None:
    """A disk that is larger than allowed by one byte is refused."""
    if isinstance(disk, rules.Disk) and disk.size > 1:
        less = rules.outcome(data, limits=dataclasses.replace(
            rules.LIMITS, max_virtual_size=disk.size - 1))
        if not isinstance(less, exceptions.LimitExceeded):
            raise rules.Broken('the limit is no limit')
    few = rules.outcome(data, limits=image_limits.Limits(max_members=0))
    if isinstance(few, rules.Disk):
        raise rules.Broken('too many members')

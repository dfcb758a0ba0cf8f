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

"""Layers linked into a chain, and the chain of the project's story."""

from collections import abc
import dataclasses
import functools
import random
import struct
import typing
import uuid

from testbed.images import archive
from testbed.images import model
from testbed.images import vhd


def pattern(seed: object, sectors: int = 1) -> bytes:
    """Return sectors of reproducible random bytes, none of them zeros."""
    return random.Random(str(seed)).randbytes(sectors * vhd.SECTOR)


def layer_id(number: int) -> uuid.UUID:
    """Return the unique ID that :func:`linked` gives to a layer."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f'layer {number}')


def locators(name: str) -> list[tuple[bytes, bytes]]:
    """Return the parent locators that XenServer writes for a file name."""
    windows = ('.\\' + name).encode('utf-16-le')
    return [(b'MacX', f'file://./{name}'.encode()),
            (b'W2ku', windows), (b'W2ru', windows)]


def linked(layers: abc.Sequence[vhd.Layer]) -> list[vhd.Layer]:
    """Link layers, leaf to base, as XenServer does.

    Every layer but the last becomes a differencing disk with its parent's ID,
    and with a parent name and locators of a file that does not exist. Parents
    are hidden. Fields that a layer already has are kept.
    """
    chain = []
    for number, layer in enumerate(layers):
        changes: dict[str, typing.Any] = {'unique_id': layer_id(number)}
        if number:
            changes['hidden'] = 1
        if number < len(layers) - 1:
            parent_file = f'{uuid.uuid5(layer_id(number + 1), "file")}.vhd'
            changes.update(disk_type=vhd.DIFFERENCING)
            if layer.parent_unique_id == vhd.NIL:
                changes.update(parent_unique_id=layer_id(number + 1))
            if not layer.parent_unicode_name:
                changes.update(parent_unicode_name=parent_file)
            if not layer.locators:
                changes.update(locators=locators(parent_file))
        chain.append(dataclasses.replace(layer, **changes))
    return chain


def random_extents(rng: random.Random, sectors: int,
                   count: int) -> list[tuple[int, bytes]]:
    """Make up to ``count`` short runs of data, a quarter of them zeros."""
    extents = []
    for _ in range(rng.randint(0, count)):
        first = rng.randrange(sectors)
        length = min(rng.choice((1, 1, 2, 3, 8, 9, 40)), sectors - first)
        data = rng.randbytes(length * vhd.SECTOR)
        if rng.random() < 0.25:
            data = bytes(length * vhd.SECTOR)
        extents.append((first, data))
    return extents


def random_layer(rng: random.Random, size: int,
                 block_size: int) -> vhd.Layer:
    """Make a dynamic layer with blocks in any order, and stale bytes."""
    sectors = -(-size // vhd.SECTOR)
    written = random_extents(rng, sectors, 12)
    stale = random_extents(rng, sectors, 4)
    per_block = block_size // vhd.SECTOR
    used = sorted({sector // per_block
                   for sector in vhd.by_sector(written + stale)})
    return vhd.Layer(
        size, written, stale, block_size=block_size,
        block_order=rng.sample(used, len(used)),
        gaps={block: rng.randrange(9) for block in used
              if rng.random() < 0.2},
        batmap=rng.random() < 0.5,
        data_alignment=rng.choice((512, 4096)))


def random_chain(seed: object, sizes: abc.Sequence[int],
                 block_sizes: abc.Sequence[int] = (4096,)) -> list[vhd.Layer]:
    """Make a chain with a layer for each size and alternating block sizes."""
    rng = random.Random(str(seed))
    return linked([random_layer(rng, size,
                                block_sizes[i % len(block_sizes)])
                   for i, size in enumerate(sizes)])


def partition_table(first: int, count: int) -> bytes:
    """Make a master boot record with one active Linux partition."""
    def chs(lba: int) -> bytes:
        cylinder, rest = divmod(lba, 255 * 63)
        head, sector = divmod(rest, 63)
        if cylinder > 1023:
            return b'\xfe\xff\xff'
        return bytes([head, sector + 1 | cylinder >> 8 << 6, cylinder & 0xFF])

    entry = struct.pack('<B3sB3sII', 0x80, chs(first), 0x83,
                        chs(first + count - 1), first, count)
    return (b'\xfa\xeb\xfe'.ljust(440, b'\0') + b'XSIM\0\0' + entry
            + bytes(48) + b'\x55\xaa')


@dataclasses.dataclass(frozen=True)
class Story:
    """An archive and the disk that it must give."""

    layers: list[vhd.Layer]
    archive: bytes
    sha256: str
    size: int


def story_layers(grown_size: int = 64 * vhd.MIB) -> list[vhd.Layer]:
    """Make the story's layers: a base of 40 MiB, grown, with two snapshots.

    The guest rewrote its partition table after the growth; later it wrote
    files, replaced them and overwrote them with zeros.
    """
    first = 2048
    base_size = 40 * vhd.MIB
    per_mib = vhd.MIB // vhd.SECTOR
    last = grown_size // vhd.SECTOR - 64
    base = vhd.Layer(base_size, written=[
        (0, partition_table(first, base_size // vhd.SECTOR - first)),
        (first, pattern('super block', 16)),
        (5 * per_mib, pattern('old file', 1200)),
        (20 * per_mib, pattern('kernel', 2500)),
        (40 * per_mib - 8, pattern('end of the base', 8)),
    ], stale=[(30, pattern('left by another tenant', 40))], batmap=True,
        data_alignment=4096)
    middle = vhd.Layer(grown_size, original_size=base_size, written=[
        (0, partition_table(first, grown_size // vhd.SECTOR - first)),
        (first + 4, pattern('super block, grown', 8)),
        (5 * per_mib + 300, pattern('somefile', 700)),
        (20 * per_mib + 64, bytes(256 * vhd.SECTOR)),
        (41 * per_mib, pattern('past the end of the base', 900)),
        (last, pattern('end of the disk', 64)),
    ], batmap=True, data_alignment=4096)
    leaf = vhd.Layer(grown_size, written=[
        (first + 6, pattern('super block, last mount', 1)),
        (5 * per_mib + 500, pattern('somefile.md5', 1)),
        (41 * per_mib + 100, bytes(200 * vhd.SECTOR)),
    ], stale=[(20 * per_mib + 2000, pattern('left behind', 16))],
        batmap=True, data_alignment=4096)
    return linked([leaf, middle, base])


def story_members(layers: abc.Sequence[vhd.Layer]) -> list[archive.Member]:
    """Return the story's members as tar found them: ./, then 1, 0, 2."""
    return [archive.directory(),
            *archive.chain_members(layers, order=(1, 0, 2))]


@functools.cache
def story_chain(grown_size: int = 64 * vhd.MIB) -> Story:
    """Make the story's XenServer image and the digest of its disk."""
    layers = story_layers(grown_size)
    return Story(layers=layers,
                 archive=archive.tgz(story_members(layers)),
                 sha256=model.sha256(layers),
                 size=model.size(layers))

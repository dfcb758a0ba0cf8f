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

"""XenServer images for the benchmark, reproducible from a seed.

A guest's disk is described by the writes that made it. Their data is a mix of
text, machine code, noise and zeros. Their places are those of files written in
one go, or scattered like those of a database or a log. The testbed makes the
structures. Blocks are assembled one by one, so that an image may be larger
than the memory.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import itertools
import math
import os
import random
import subprocess

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from testbed.images import xva

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = 2 * MIB
PAGE = 4 * KIB
#: blktap aligns a block's data to pages; the sector bitmap lies before it.
STRIDE = PAGE + BLOCK

#: What is written where: offset, size, kind of data, where in its pool.
Write = tuple[int, int, int, int]
#: How often each kind of data is written: text, code, noise, zeros.
MIX = (56, 26, 7, 11)


class Material:
    """Pools of data, larger than the window of a decompressor."""

    SIZE = 8 * MIB

    def __init__(self, seed: str) -> None:
        rng = random.Random(f'{seed} material')
        words = [rng.randbytes(rng.randint(1, 5)).hex().encode()
                 for _ in range(4000)]
        phrases = [b' '.join(rng.choices(words, k=rng.randint(1, 5)))
                   for _ in range(4000)]
        operations = [rng.randbytes(rng.randint(3, 12)) for _ in range(4000)]
        weights = [1 / rank for rank in range(1, 4001)]
        count = self.SIZE // 8
        text = b'\n'.join(rng.choices(phrases, weights, k=count))
        code = b''.join(operation + bytes((operand,)) for operation, operand
                        in zip(rng.choices(operations, weights, k=count),
                               rng.choices(range(32), k=count)))
        self._pools = [(pool * (1 + self.SIZE // len(pool)))[:self.SIZE]
                       for pool in (text, code, rng.randbytes(self.SIZE),
                                    bytes(self.SIZE))]

    def take(self, size: int, kind: int, place: int) -> bytes:
        """Return bytes of a kind, the same ones for the same place."""
        pool = self._pools[kind]
        data = pool[place:place + size]
        while len(data) < size:
            data += pool[:size - len(data)]
        return data


def files(rng: random.Random, start: int, end: int, share: float,
          ) -> Iterator[Write]:
    """Place files one after the other in a share of the space.

    Their sizes are distributed as on a system disk: most files are small, but
    large ones hold most of the data.
    """
    offset = start
    while offset < end:
        size = min(int(rng.lognormvariate(math.log(64 * KIB), 1.8)), 32 * MIB)
        size = -(-min(size, end - offset) // PAGE) * PAGE
        yield _write(rng, offset, size)
        gap = size * (1 - share) / share * rng.expovariate(1)
        offset += size + int(gap) // PAGE * PAGE


def scattered(rng: random.Random, start: int, end: int, size: int,
              ) -> Iterator[Write]:
    """Scatter writes of 4 to 256 KiB, one in ten not aligned to pages."""
    while size > 0:
        length = int(PAGE * 2 ** rng.uniform(0, 6)) // PAGE * PAGE
        unit = PAGE if rng.random() < 0.9 else vhd.SECTOR
        yield _write(rng, rng.randrange(start, end - length, unit), length)
        size -= length


def every_other_page(rng: random.Random, start: int, end: int,
                     ) -> Iterator[Write]:
    """Write every second page of every block, each on its own."""
    for block in range(start, end, BLOCK):
        pages = BLOCK // PAGE
        for page in sorted(rng.sample(range(pages), pages // 2)):
            yield _write(rng, block + page * PAGE, PAGE)


def _write(rng: random.Random, offset: int, size: int) -> Write:
    kind = rng.choices(range(len(MIX)), MIX)[0]
    return offset, size, kind, rng.randrange(Material.SIZE)


@dataclasses.dataclass(frozen=True)
class Image:
    """A XenServer image.

    :ivar name: its unique name
    :ivar size: size of the disk, in bytes
    :ivar layers: the writes to each layer, from leaf to base
    :ivar order: order of the members, with 0 for the leaf
    """

    name: str
    size: int
    layers: list[list[Write]]
    order: tuple[int, ...]

    def make(self, directory: str, seed: str) -> str:
        """Write the archive unless it exists, and return its path."""
        path = os.path.join(directory, f'{self.name}-{seed}.tgz')
        if not os.path.exists(path):
            with open(path + '.part', 'wb') as target:
                gzip = subprocess.Popen(['gzip', '-n'], stdout=target,
                                        stdin=subprocess.PIPE)
                with gzip.stdin as pipe:
                    pipe.writelines(self._tar(Material(seed)))
            if gzip.wait():
                raise OSError(f'gzip cannot write {path}')
            os.rename(path + '.part', path)
        return path

    def make_raw(self, directory: str, seed: str) -> str:
        """Write the disk unless it exists, and return its path."""
        path = os.path.join(directory, f'{self.name}-{seed}.raw')
        if not os.path.exists(path):
            material = Material(seed)
            with open(path + '.part', 'wb') as target:
                for layer in reversed(self.layers):
                    for offset, *source in layer:
                        target.seek(offset)
                        target.write(material.take(*source))
                target.truncate(self.size)
            subprocess.run(['cp', '--sparse=always', path + '.part', path],
                           check=True)
            os.unlink(path + '.part')
        return path

    def _tar(self, material: Material) -> Iterator[bytes]:
        """The archive, as ``tar -c .`` writes it."""
        linked = chains.linked([vhd.Layer(self.size) for _ in self.layers])
        yield archive.header(archive.directory())
        for rank in self.order:
            blocks = _by_block(self.layers[rank])
            head, tail = _structures(linked[rank], blocks)
            size = len(head) + STRIDE * len(blocks) + len(tail)
            yield archive.header(archive.Member(
                f'./{rank}.vhd', claimed_size=size))
            yield head
            for writes in blocks.values():
                yield _block(writes, material)
            yield tail + bytes(archive.padding(size))
        yield archive.END_MARKER


@dataclasses.dataclass(frozen=True)
class Repacked:
    """The archive of an image, compressed by another program.

    :ivar image: the image
    :ivar compressor: the command that compresses it
    """

    image: Image
    compressor: tuple[str, ...]

    def make(self, directory: str, seed: str) -> str:
        """Write the archive unless it exists, and return its path."""
        path = os.path.join(directory, (
            f'{self.image.name}-{seed}.tar.{self.compressor[0]}'))
        if not os.path.exists(path):
            with (open(path + '.part', 'wb') as target,
                  subprocess.Popen(
                      ['gzip', '-dc', self.image.make(directory, seed)],
                      stdout=subprocess.PIPE) as unpacked):
                subprocess.run(self.compressor, stdin=unpacked.stdout,
                               stdout=target, check=True)
            os.rename(path + '.part', path)
        return path

    def make_raw(self, directory: str, seed: str) -> str:
        """Write the disk unless it exists, and return its path."""
        return self.image.make_raw(directory, seed)


@dataclasses.dataclass(frozen=True)
class Export:
    """A XenServer export of the disk of an image.

    :ivar image: the disk
    :ivar compressor: the command that compresses it, if one does
    """

    image: Image
    compressor: tuple[str, ...] = ()

    #: Where the disk's chunks are, once tar has unpacked them.
    DIRECTORY = 'Ref:7'

    def make(self, directory: str, seed: str) -> str:
        """Write the export unless it is there; return its path."""
        ending = f'.{self.compressor[0]}' if self.compressor else ''
        path = os.path.join(
            directory, f'{self.image.name}-{seed}.xva{ending}')
        if not os.path.exists(path):
            raw = self.image.make_raw(directory, seed)
            with open(path + '.part', 'wb') as target:
                if self.compressor:
                    compressor = subprocess.Popen(
                        self.compressor, stdout=target,
                        stdin=subprocess.PIPE)
                    with compressor.stdin as pipe:
                        sparse.write_pieces(pipe, self._pieces(raw))
                    if compressor.wait():
                        raise OSError(f'{path} cannot be written')
                else:
                    sparse.write_pieces(target, self._pieces(raw))
            os.rename(path + '.part', path)
        return path

    def make_raw(self, directory: str, seed: str) -> str:
        """Write the disk unless it is there; return its path."""
        return self.image.make_raw(directory, seed)

    def _pieces(self, raw: str) -> Iterator[sparse.Piece]:
        content = sparse.Sparse()
        content.truncate(self.image.size)
        disk = xva.Disk(content, ref=self.DIRECTORY)
        document = xva.Export([disk]).ova_xml()
        members = itertools.chain(
            [archive.Member('ova.xml', document)], _chunks(disk, raw))
        return archive.tar_pieces(members, archive.USTAR)


def _chunks(disk: xva.Disk, raw: str) -> Iterator[archive.Member]:
    """The chunks of a disk that are not zeros, and the first and last."""
    last = -(-disk.size // xva.MIB) - 1
    zeros = bytes(xva.MIB)
    with open(raw, 'rb') as file:
        number = 0
        while number <= last:
            file.seek(number * xva.MIB)
            data = file.read(xva.MIB)
            if number in (0, last) or data != zeros:
                yield from xva.pair(disk, xva.Chunk(number, data))
            number = min(max(number + 1, _next_data(
                file.fileno(), (number + 1) * xva.MIB) // xva.MIB),
                max(number + 1, last))


def _next_data(descriptor: int, offset: int) -> int:
    """Where the next data of a sparse file is; its end if there is none."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:
        return os.fstat(descriptor).st_size


def _by_block(layer: list[Write]) -> dict[int, list[Write]]:
    """Cut the writes at the ends of blocks, with offsets within a block.

    Blocks come in the order in which they were first written.
    """
    blocks: dict[int, list[Write]] = {}
    for offset, size, kind, place in layer:
        while size:
            block, start = divmod(offset, BLOCK)
            part = min(size, BLOCK - start)
            blocks.setdefault(block, []).append((start, part, kind, place))
            offset, size = offset + part, size - part
            place = (place + part) % Material.SIZE
    return blocks


def _structures(layer: vhd.Layer, blocks: Iterable[int],
                ) -> tuple[bytes, bytes]:
    """Return the structures before the blocks and those after them."""
    size = len(layer.tobytes()) - vhd.SECTOR
    first = vhd.round_up(size + vhd.SECTOR, PAGE) - vhd.SECTOR
    places = itertools.count(first // vhd.SECTOR, STRIDE // vhd.SECTOR)
    file = dataclasses.replace(
        layer, padding={'tail': (first - size) // vhd.SECTOR},
        bat_entries=dict(zip(blocks, places))).tobytes()
    return file[:-vhd.SECTOR], file[-vhd.SECTOR:]


def _block(writes: list[Write], material: Material) -> bytes:
    """Return a block's sector bitmap and data, and padding."""
    data = bytearray(BLOCK)
    sectors = BLOCK // vhd.SECTOR
    bitmap = 0
    for start, size, kind, place in writes:
        data[start:start + size] = material.take(size, kind, place)
        count = size // vhd.SECTOR
        bitmap |= (1 << count) - 1 << sectors - start // vhd.SECTOR - count
    return (bitmap.to_bytes(sectors // 8, 'big') + data
            + bytes(STRIDE - BLOCK - vhd.SECTOR))


def chain_of_3(size: int, order: tuple[int, ...] = (0, 1, 2)) -> Image:
    """Make a system disk with two snapshots and ``size`` bytes of VHDs.

    The base is less than half full. Later layers add new files after the old
    ones, and many small writes all over the busiest part.
    """
    rng = random.Random(f'chain {size}')
    base = [*files(rng, 0, _blocks(size * 0.54), 0.53)]
    middle = [*files(rng, _blocks(size * 0.54), _blocks(size * 0.69), 0.53),
              *scattered(rng, 0, _blocks(size * 0.14), int(size * 0.02))]
    leaf = [*files(rng, _blocks(size * 0.66), _blocks(size * 0.81), 0.53),
            *scattered(rng, _blocks(size * 0.10), _blocks(size * 0.24),
                       int(size * 0.02))]
    return Image(f'chain-{size}-{"".join(map(str, order))}',
                 vhd.round_up(int(size * 1.48), GIB // 4),
                 [leaf, middle, base], order)


def single(size: int) -> Image:
    """Make a system disk without snapshots, which is one VHD."""
    rng = random.Random(f'single {size}')
    end = _blocks(size)
    layer = [*files(rng, 0, end, 0.53),
             *scattered(rng, 0, end // 4, size // 25)]
    return Image(f'single-{size}', vhd.round_up(int(size * 1.48), GIB // 4),
                 [layer], (0,))


def half_full(size: int) -> Image:
    """Make a chain of 3 with every block written in pieces of 4 KiB."""
    disk = _blocks(size / 3)
    layers = [[*every_other_page(random.Random(f'half {size} {rank}'),
                                 0, disk)] for rank in range(3)]
    return Image(f'half-{size}', disk, layers, (0, 1, 2))


def sparse_chain(disk: int, data: int, length: int = 30) -> Image:
    """Make a large disk with little data, in places that layers share."""
    rng = random.Random(f'sparse {disk} {data} {length}')
    count = -(-data // (length * BLOCK))
    share = data / (length * count * BLOCK)
    places = rng.sample(range(0, disk, BLOCK), length)
    layers = [[write for place in sorted(rng.sample(places, count))
               for write in files(rng, place, place + BLOCK, share)]
              for _ in range(length)]
    return Image(f'sparse-{disk}-{data}-{length}', disk, layers,
                 tuple(range(length)))


def empty(disk: int) -> Image:
    """A disk of nothing but zeros."""
    return Image(f'empty-{disk}', disk, [[]], (0,))


def _blocks(size: float) -> int:
    return int(size) // BLOCK * BLOCK

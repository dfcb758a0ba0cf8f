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

"""The raw disk that a chain stands for, computed in the plainest way."""

from collections import abc
import hashlib
import os
import typing

from testbed.images import sparse
from testbed.images import vhd

PAGE = 4096
ZERO_SECTOR = bytes(vhd.SECTOR)

Layers = abc.Sequence[vhd.Layer]


def size(layers: Layers) -> int:
    """Return the size of the disk: the leaf's current size."""
    return layers[0].current_size


def read_sector(layers: Layers, sector: int) -> bytes:
    """Read one sector as the guest does, from leaf to base.

    The first layer with the sector's bit set gives the data. Bytes at or past
    the end of a layer on the way are zeros, even if an older layer has data
    there.
    """
    inside = vhd.SECTOR
    for layer in layers:
        inside = min(inside, layer.current_size - sector * vhd.SECTOR)
        if inside <= 0:
            return ZERO_SECTOR
        if sector in layer.sectors:
            data = layer.sectors[sector][:inside]
            return data + bytes(vhd.SECTOR - len(data))
    return ZERO_SECTOR


def owner(layers: Layers, sector: int) -> int | None:
    """Return the layer that a sector comes from, or None.

    If a layer ends before the sector, the sector counts as not written.
    """
    inside = vhd.SECTOR
    for number, layer in enumerate(layers):
        inside = min(inside, layer.current_size - sector * vhd.SECTOR)
        if inside <= 0:
            return None
        if sector in layer.sectors:
            return number
    return None


def amounts(layers: Layers, cell_size: int) -> list[list[int]]:
    """Count the bytes of each cell of the disk that come from each layer."""
    cells = [[0] * len(layers)
             for _ in range(-(-size(layers) // cell_size))]
    for sector in {s for layer in layers for s in layer.sectors}:
        number = owner(layers, sector)
        if number is not None:
            offset = sector * vhd.SECTOR
            cells[offset // cell_size][number] += min(
                vhd.SECTOR, size(layers) - offset)
    return cells


def nonzero_sectors(layers: Layers) -> dict[int, bytes]:
    """Yield every sector of the disk that does not read as zeros."""
    found = {}
    for sector in sorted({s for layer in layers for s in layer.sectors}):
        data = read_sector(layers, sector)
        if data != ZERO_SECTOR:
            found[sector] = data
    return found


def disk(layers: Layers) -> sparse.Sparse:
    """Return the raw disk, to the byte."""
    whole = sparse.Sparse()
    for sector, data in nonzero_sectors(layers).items():
        whole.put(sector * vhd.SECTOR, data)
    whole.truncate(size(layers))
    return whole


def expected(layers: Layers) -> bytes:
    """Return the bytes of the raw disk; for small disks."""
    return disk(layers).tobytes()


def sha256(layers: Layers) -> str:
    """Return the SHA-256 of the raw disk, in hexadecimal digits."""
    return content_sha256(disk(layers))


def content_sha256(content: sparse.Sparse) -> str:
    """Return the SHA-256 of bytes that are mostly zeros, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in content.pieces():
        if isinstance(piece, int):
            for _ in range(piece // len(sparse.ZEROS)):
                digest.update(sparse.ZEROS)
            digest.update(sparse.ZEROS[:piece % len(sparse.ZEROS)])
        else:
            digest.update(piece)
    return digest.hexdigest()


def allocation(layers: Layers) -> int:
    """Count the bytes in the disk's 4 KiB pages that are not all zeros."""
    return PAGE * len({sector * vhd.SECTOR // PAGE
                       for sector in nonzero_sectors(layers)})


def difference(path: typing.Any, layers: Layers) -> str | None:
    """Say where the file at ``path`` differs from the disk, or None.

    This does not read the holes of the file, so it works for disks of any
    size.
    """
    return _difference(path, size(layers), nonzero_sectors(layers))


def difference_from(path: typing.Any, content: sparse.Sparse) -> str | None:
    """Say where the file at ``path`` differs from ``content``, or None."""
    return _difference(path, content.size, content_sectors(content))


def content_sectors(content: sparse.Sparse) -> dict[int, bytes]:
    """Yield every sector that does not read as zeros."""
    found: dict[int, bytearray] = {}
    position = 0
    for piece in content.pieces():
        if isinstance(piece, int):
            position += piece
            continue
        offset = 0
        while offset < len(piece):
            sector, inside = divmod(position + offset, vhd.SECTOR)
            part = piece[offset:offset + vhd.SECTOR - inside]
            if any(part):
                whole = found.setdefault(sector, bytearray(vhd.SECTOR))
                whole[inside:inside + len(part)] = part
            offset += len(part)
        position += len(piece)
    return {sector: bytes(data) for sector, data in found.items()}


def content_allocation(content: sparse.Sparse) -> int:
    """Count the bytes in the 4 KiB pages that are not all zeros."""
    return PAGE * len({sector * vhd.SECTOR // PAGE
                       for sector in content_sectors(content)})


def _difference(path: typing.Any, wanted_size: int,
                wanted: dict[int, bytes]) -> str | None:
    length = os.stat(path).st_size
    if length != wanted_size:
        return f'{length} bytes long, expected {wanted_size}'
    for sector, found in stored_sectors(path):
        data = wanted.pop(sector, ZERO_SECTOR)[:len(found)]
        if found != data:
            return (f'sector {sector} begins with {found[:8].hex()}, '
                    f'expected {data[:8].hex()}')
    for sector in wanted:
        return f'sector {sector} is a hole'
    return None


def stored_sectors(path: typing.Any) -> abc.Iterator[tuple[int, bytes]]:
    """Yield the sectors of a file that are not in a hole.

    The last one is shorter if the file ends inside a sector.
    """
    with open(path, 'rb') as raw:
        length = os.fstat(raw.fileno()).st_size
        position = 0
        while position < length:
            try:
                start = os.lseek(raw.fileno(), position, os.SEEK_DATA)
            except OSError:
                return
            start -= start % vhd.SECTOR
            end = os.lseek(raw.fileno(), start, os.SEEK_HOLE)
            position = min(vhd.round_up(end, vhd.SECTOR), length)
            raw.seek(start)
            for offset in range(start, position, vhd.SECTOR):
                yield offset // vhd.SECTOR, raw.read(
                    min(vhd.SECTOR, length - offset))

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

"""Changing an input field by field, and putting its checksums right."""

import random
import struct

from testbed.images import vhd

#: Numbers at which something changes.
EDGES = (0, 1, 2, 3, 4, 7, 8, 255, 256, 511, 512, 513, 1024, 1536, 2048,
         4096, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 2,
         (1 << 32) - 1, 1 << 32, 2040 << 30, (2040 << 30) + 512,
         (1 << 63) - 1, 1 << 63, (1 << 64) - 512, (1 << 64) - 1)

_SIZES = {'B': 1, 'I': 4, 'Q': 8}


def _offsets(fields: tuple[tuple[str, str], ...],
             ) -> list[tuple[int, str]]:
    """Where the numbers of a structure are: (offset, format)."""
    found, offset = [], 0
    for _, code in fields:
        if code in _SIZES:
            found.append((offset, code))
        offset += struct.calcsize('>' + code)
    return found


#: A structure's cookie, its size, where its checksum is, and its numbers.
_STRUCTURES = (
    (b'conectix', 512, 64, _offsets(vhd.FOOTER_FIELDS)),
    (b'cxsparse', 1024, 36, _offsets(vhd.HEADER_FIELDS)),
)


def find_structures(data: bytes | bytearray) -> list[
        tuple[int, int, int, list[tuple[int, str]]]]:
    """A VHD's structures: (offset, size, offset of the sum, numbers)."""
    found = []
    for cookie, size, summed, numbers in _STRUCTURES:
        offset = data.find(cookie)
        while offset >= 0:
            if offset + size <= len(data):
                found.append((offset, size, summed, numbers))
            offset = data.find(cookie, offset + len(cookie))
    return found


def put_checksums_right(data: bytearray, start: int = 0) -> None:
    """Renew the checksums of all VHD structures."""
    for offset, size, summed, _ in find_structures(data):
        if offset >= start:
            data[offset + summed:offset + summed + 4] = bytes(4)
            total = vhd.checksum(bytes(data[offset:offset + size]))
            struct.pack_into('>I', data, offset + summed, total)


def change_number(data: bytearray, rng: random.Random) -> None:
    """Give a field of a structure, or an entry of a BAT, another value."""
    structures = find_structures(data)
    if not structures:
        return
    offset, _, _, numbers = rng.choice(structures)
    place, code = rng.choice(numbers)
    bits = 8 * _SIZES[code]
    old, = struct.unpack_from('>' + code, data, offset + place)
    value = rng.choice((
        rng.choice(EDGES), old + rng.choice((-512, -1, 1, 512)),
        rng.randrange(64), rng.randrange(64) * 512, len(data)))
    struct.pack_into('>' + code, data, offset + place, value % (1 << bits))


def change_table(data: bytearray, rng: random.Random) -> None:
    """Give an entry of a block allocation table another value."""
    header = data.find(b'cxsparse')
    if header < 0 or header + 1024 > len(data):
        return
    table, = struct.unpack_from('>Q', data, header + 16)
    entries, = struct.unpack_from('>I', data, header + 28)
    place = table + 4 * rng.randrange(min(entries, 16) or 1)
    if place + 4 <= len(data):
        struct.pack_into('>I', data, place, rng.choice((
            vhd.UNUSED, rng.randrange(len(data) // 512 + 2))))


def blindly(data: bytes | bytearray, max_size: int) -> bytearray:
    """What libFuzzer does to inputs that it knows nothing of."""
    import atheris  # Whoever only replays a corpus need not have it.

    return bytearray(atheris.Mutate(bytes(data), max_size))


def mutate_vhd(data: bytes, max_size: int, seed: int) -> bytes:
    """A custom mutator for inputs with VHD structures in them."""
    rng = random.Random(seed)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(blindly(data, max_size))
    changed = blindly(data, max_size) if kind == 1 else bytearray(data)
    change_vhd(changed, rng)
    return bytes(changed[:max_size])


def change_vhd(data: bytearray, rng: random.Random) -> None:
    """Change a few fields of VHD structures; their checksums stay right."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((change_number, change_number, change_table))(data, rng)
    put_checksums_right(data)

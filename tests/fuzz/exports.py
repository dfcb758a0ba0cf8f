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

"""An input is a XenServer export; what comes out is what XenServer reads."""

import bz2
from collections import abc
import io
import lzma
import random
import re
import tarfile
import typing

from testbed.images import archive
from testbed.images import xva
from tests.fuzz import headers
from tests.fuzz import mutation
from tests.fuzz import rules

BLOCK = archive.BLOCK
SECTOR = 512

_CHUNK = re.compile(r'(?:\./)?((?:Opaque)?Ref:[^/]+)/([0-9]{8,19})')
_NUMBER = re.compile(rb'/[0-9]{8}')
_SIZE = re.compile(rb'<name>virtual_size</name><value>([0-9]+)</value>')
_PACKERS: tuple[abc.Callable[[bytes], bytes], ...] = (
    lambda data: archive.zstandard([data], frame_size=3000),
    lambda data: archive.gzipped([data], member_size=3000),
    bz2.compress, lambda data: lzma.compress(data, preset=0))
_DISKS = (None, None, None, '0', 'xvdb')
_NAMES = (b'ova.xml', b'./ova.xml', b'Ref:7/00000000', b'Ref:7/00000001',
          b'Ref:8/00000000', b'Ref:7/00000000.xxhash', b'Ref:7/', b'Ref:7',
          b'Ref:7/00000001.checksum', b'notes', b'sda/chunk-000000000.gz')
_WORDS = (b'VM', b'VDI', b'VBD', b'Ref:7', b'Ref:8', b'CD', b'Disk', b'',
          b'-1', b'0', b'xvda', b'<value>', b'</value>', b'<struct>', b'&lt;',
          b'<!DOCTYPE x>', b'&a;', b'\xff', b'99999999999999999999')


def members(data: bytes | bytearray) -> abc.Iterator[tuple[str, int, int]]:
    """The members of an archive: (name, where the data is, its size)."""
    for offset in headers.headers(data):
        try:
            info = tarfile.TarInfo.frombuf(
                bytes(data[offset:offset + BLOCK]), 'utf-8',
                'backslashreplace')
        except tarfile.TarError:
            continue
        start = offset + BLOCK
        if 0 <= info.size <= len(data) - start:
            yield info.name, start, info.size


def put_checksums_right(data: bytearray) -> None:
    """Renew the checksums that follow chunks."""
    content = b''
    for name, start, size in list(members(data)):
        kind = name.rpartition('.')[2]
        if kind not in (xva.XXH64, xva.SHA1):
            content = bytes(data[start:start + size])
            continue
        checksum = xva.checksum(kind, content)
        if len(checksum) == size:
            data[start:start + size] = checksum


def change_number(data: bytearray, rng: random.Random) -> None:
    """Give a chunk and its checksum another number."""
    numbers = sorted({bytes(found[0]) for found in _NUMBER.finditer(data)})
    if not numbers:
        return
    old = rng.choice(numbers)
    new = b'/%08d' % rng.choice((
        int(old[1:]) + rng.choice((1, -1, 2, 5)), rng.randrange(20),
        99999999)) if rng.randrange(4) else rng.choice(numbers)
    for offset in headers.headers(data):
        name = bytes(data[offset:offset + 100])
        if old in name:
            block = (name.replace(old, new)[:100].ljust(100, b'\0')
                     + bytes(data[offset + 100:offset + BLOCK]))
            data[offset:offset + BLOCK] = archive.with_checksum(block)


def change_name(data: bytearray, rng: random.Random) -> None:
    offsets = headers.headers(data)
    if offsets:
        offset = rng.choice(offsets)
        headers.put(data, offset, headers.NAME, rng.choice(_NAMES))
        block = bytes(data[offset:offset + BLOCK])
        data[offset:offset + BLOCK] = archive.with_checksum(block)


def change_document(data: bytearray, rng: random.Random) -> None:
    """Change a few bytes of ``ova.xml``, most often a size."""
    sizes = list(_SIZE.finditer(data))
    if sizes and rng.randrange(2):
        start, end = rng.choice(sizes).span(1)
        size = int(data[start:end]) + rng.choice((1, -1, 512, -512, 4096))
        word = (b'%d' % size).rjust(end - start, b'0')[:end - start]
    else:
        word = rng.choice(_WORDS)
        start = BLOCK + rng.randrange(6000)
        end = start + len(word)
    data[start:end] = word


_CHANGES = (change_number, change_number, change_document, change_name,
            headers.change_header, headers.move_blocks)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The custom mutator."""
    rng = random.Random(seed)
    changed = bytearray(data)
    if rng.randrange(6) == 0:
        changed = mutation.blindly(data, max_size)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        rng.choice(_CHANGES)(changed, rng)
    if rng.randrange(8):
        put_checksums_right(changed)
    return bytes(changed[:max_size])


def expected(data: bytes) -> list[rules.Disk]:
    """The disks of an export by XenServer's rules, in the plainest way."""
    disks: dict[str, bytearray] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode='r:', encoding='utf-8',
                      errors='backslashreplace') as opened:
        for info in opened:
            name = _CHUNK.fullmatch(info.name)
            if name is None or not info.isreg():
                continue
            ref, number = name[1], int(name[2])
            content = typing.cast(
                typing.IO[bytes], opened.extractfile(info)).read()
            disk = disks.setdefault(ref, bytearray())
            skipped = number - last.get(ref, -1) - 1
            disk += bytes(skipped * first.setdefault(ref, len(content)))
            disk += content
            last[ref] = number
    return [rules.Disk(len(disk), {
        offset // SECTOR: sector
        for offset in range(0, len(disk), SECTOR)
        if any(sector := bytes(disk[offset:offset + SECTOR]))})
        for disk in disks.values()]


def test_one_input(data: bytes) -> None:
    found = rules.converted(data)
    chosen = rules.outcome(data, disk=_DISKS[len(data) % len(_DISKS)])
    if data.startswith((b'\x1f\x8b', b'\x28\xb5\x2f\xfd', b'conectix')):
        return
    for disk in (found, chosen):
        if isinstance(disk, rules.Disk) and is_export(data) and (
                disk not in expected(data)):
            raise rules.Broken('XenServer reads another disk')
    if isinstance(found, rules.Disk):
        pack = _PACKERS[len(data) % len(_PACKERS)]
        rules.same(found, rules.outcome(pack(data)), 'compressed')


def is_export(data: bytes) -> bool:
    """Whether the first file is that of an export."""
    with tarfile.open(fileobj=io.BytesIO(data), mode='r:', encoding='utf-8',
                      errors='backslashreplace') as opened:
        for info in opened:
            if info.isreg():
                return info.name in ('ova.xml', './ova.xml')
    return False

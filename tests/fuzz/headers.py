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

"""An input is a tar archive: its headers, and what they make of members."""

import io
import random
import re
import tarfile
import typing

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.containers import bare
from glance_xs_convert.converter import opening
from glance_xs_convert.converter.streams import intake
from glance_xs_convert import exceptions

from testbed.images import archive
from tests.fuzz import mutation
from tests.fuzz import rules

BLOCK = archive.BLOCK
ZSTANDARD = b'\x28\xb5\x2f\xfd'
KINDS = b'0001257LKxxgXSDVM\0'
KEYS = ('path', 'size', 'linkpath', 'hdrcharset', 'GNU.sparse.map',
        'GNU.sparse.size', 'GNU.sparse.realsize', 'GNU.sparse.major',
        'GNU.sparse.minor', 'GNU.sparse.name', 'GNU.sparse.numblocks',
        'GNU.sparse.offset', 'GNU.sparse.numbytes', 'mtime', 'uid')
VALUES = ('0.vhd', '1.vhd', './0.vhd', '../0.vhd', 'a/0.vhd', '0.vhd/',
          '\u0660.vhd', '0.VHD', '0.vhd\0x', '', '0', '1', '-1', '512',
          '1024', '4096', '8704', '1e9', 'BINARY', '0,512', '0,512,1024,512',
          '512,-512', '0,0', '99999999999999999999', '\udc80', '\x1b[31m',
          '1\n0\n512\n', 'swap.vhd')
NAMES = (b'0.vhd', b'1.vhd', b'./0.vhd', b'disk.vhd', b'disk', b'0.vhd/',
         b'../0.vhd', b'/0.vhd', b'snap.vhd', b'base.vhd', b'\xff.vhd',
         b'\x1b[2J.vhd', b'a/./0.vhd', b'', b'0.vhd\0\0x')
#: Fields of a header: (offset, size).
NAME, SIZE = (0, 100), (124, 12)
SPARSE = ((386, 12), (398, 12), (410, 12), (422, 12), (483, 12))
_SUM = slice(148, 156)
_CHECKSUM = re.compile(rb'([0-7]{6})\0 ')
TYPE, EXTENDED, REAL_SIZE = 156, 482, (483, 12)


def headers(data: bytes | bytearray) -> list[int]:
    """Where single header blocks are, by their checksums."""
    found = []
    for match in _CHECKSUM.finditer(data):
        offset = match.start() - _SUM.start
        block = data[offset:offset + BLOCK]
        if offset % BLOCK == 0 and len(block) == BLOCK and (
                sum(block) - sum(block[_SUM]) + 8 * ord(' ')
                == int(match[1], 8)):
            found.append(offset)
    return found


def number(rng: random.Random) -> bytes:
    """A number as a tar header has it, or something like it."""
    value = rng.choice((
        rng.choice(mutation.EDGES), rng.randrange(64) * BLOCK,
        rng.randrange(16384)))
    kind = rng.randrange(8)
    if kind == 0:
        return b'\x80' + (value % (1 << 88)).to_bytes(11, 'big')
    if kind == 1:
        return (-value % (1 << 96)).to_bytes(12, 'big')
    return b'%011o\0' % (value % (1 << 33))


def put(data: bytearray, offset: int, field: tuple[int, int], value: bytes,
        ) -> None:
    start = offset + field[0]
    data[start:start + field[1]] = value.ljust(field[1], b'\0')[:field[1]]


def change_header(data: bytearray, rng: random.Random) -> None:
    """Give a field of a header another value."""
    places = headers(data)
    if not places:
        return
    offset = rng.choice(places)
    kind = rng.randrange(7)
    if kind == 0:
        put(data, offset, NAME, rng.choice(NAMES))
    elif kind in (1, 2):
        put(data, offset, SIZE, number(rng))
    elif kind == 3:
        data[offset + TYPE] = rng.choice(KINDS)
    elif kind == 4:
        put(data, offset, rng.choice(SPARSE), number(rng))
    elif kind == 5:
        data[offset + EXTENDED] ^= 1
    else:
        data[offset + rng.randrange(BLOCK)] = rng.randrange(256)
    block = bytes(data[offset:offset + BLOCK])
    data[offset:offset + BLOCK] = archive.with_checksum(block)


def record(key: str, value: str) -> bytes:
    """A record of an extended header, with its length in front."""
    text = f' {key}={value}\n'.encode('utf-8', 'surrogateescape')
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def insert_header(data: bytearray, rng: random.Random) -> None:
    """Put an extended header before a member."""
    kind = rng.choice(b'xxxxggLKX')
    if kind in b'LK':
        content = rng.choice(NAMES) * rng.choice((1, 1, 30)) + b'\0'
    else:
        content = b''.join(
            record(rng.choice(KEYS), rng.choice(VALUES)
                   if rng.randrange(3) else str(rng.randrange(9000)))
            for _ in range(rng.choice((1, 1, 2, 3, 5))))
    block = archive.header(archive.Member(
        '././@Header', type=bytes([kind]), claimed_size=len(content)),
        archive.USTAR)
    offset = rng.choice(headers(data) or [0])
    data[offset:offset] = (
        block + content + bytes(archive.padding(len(content))))


def move_blocks(data: bytearray, rng: random.Random) -> None:
    """Copy a few blocks to another place, or take them away."""
    count = len(data) // BLOCK
    if count:
        start = rng.randrange(count) * BLOCK
        end = start + rng.choice((1, 1, 2, 3, 20)) * BLOCK
        blocks = data[start:end]
        if rng.randrange(2):
            del data[start:end]
        place = rng.randrange(count + 1) * BLOCK
        data[place:place] = blocks


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The custom mutator."""
    rng = random.Random(seed)
    if rng.randrange(6) == 0:
        return bytes(mutation.blindly(data, max_size))
    changed = bytearray(data)
    change_tar(changed, rng)
    return bytes(changed[:max_size])


def change_tar(data: bytearray, rng: random.Random) -> None:
    """Change a few headers; their checksums stay right."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        rng.choice((change_header, change_header, change_header,
                    insert_header, move_blocks))(data, rng)


def seen_by_us(data: bytes) -> list[tuple[str, bytes]] | None:
    """The regular members by our reader; None if it refuses the archive."""
    found = []
    try:
        with (intake.opened(
                io.BytesIO(data), conversion_progress.Progress()) as source,
              opening.opened(source, rules.LIMITS) as opened):
            if isinstance(opened.members, bare.BareVhd):
                return None
            for member in opened.members.members():
                if member.size > rules.LIMITS.max_ignored_size:
                    return None
                if member.special:
                    continue
                found.append((member.path, member.data.read(member.size)))
    except exceptions.XsConvertError:
        return None
    return found


def seen_by_the_standard_library(data: bytes) -> list[tuple[str, bytes]]:
    """The files as ``tarfile`` would unpack them."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data), mode='r:', encoding='utf-8',
                      errors='backslashreplace') as opened:
        for info in opened:
            if info.isreg() or (info.type not in tarfile.SUPPORTED_TYPES
                                and info.type != b'M'):
                content = typing.cast(
                    typing.IO[bytes], opened.extractfile(info))
                found.append((right_name(info, data), content.read()))
    return found


def right_name(info: tarfile.TarInfo, data: bytes) -> str:
    """A member's name without the time that ``tarfile`` puts before it."""
    header = data[info.offset_data - BLOCK:info.offset_data]
    if header[257:265] != b'ustar  \0' or not any(header[345:369]):
        return info.name
    time = header[345:500].partition(b'\0')[0]
    return info.name.removeprefix(
        time.decode('utf-8', 'backslashreplace') + '/')


def test_one_input(data: bytes) -> None:
    with rules.bounded_time():
        ours = seen_by_us(data)
    if ours is None or data.startswith((b'\x1f\x8b', ZSTANDARD)):
        return
    if ours != seen_by_the_standard_library(data):
        raise rules.Broken('the standard library sees other members')

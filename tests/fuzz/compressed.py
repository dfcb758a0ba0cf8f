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

"""An input is compressed data: headers, members, checksums."""

import bz2
import gzip
import io
import lzma
import random
import re
import sys
import typing
import zlib

from glance_xs_convert.converter import detect

from testbed.images import archive
from tests.fuzz import mutation
from tests.fuzz import rules

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b'\x1f\x8b'
_ZSTANDARD = re.compile(
    rb'\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18')
_BZIP2 = b'BZh'
_XZ = b'\xfd7zXZ\0'
_MOST = 4 * 1024 ** 2
#: The memory that xz data may take, which is that of the largest dictionary.
_MEMORY = 129 * 1024 ** 2
#: Flags of a header: text, checksum, extra field, name, comment.
_FLAGS = range(32)


def unpacked(data: bytes) -> bytes | None:
    """What the standard library makes of it; None if it is damaged."""
    if data.startswith((_BZIP2, _XZ)):
        return streams(data)
    source = io.BytesIO(data)
    try:
        with (zstd.ZstdFile(source) if _ZSTANDARD.match(data)
              else gzip.GzipFile(fileobj=source)) as file:
            plain = file.read(_MOST)
            return None if file.read(1) else plain
    except (OSError, EOFError, zlib.error, zstd.ZstdError):
        return None


def streams(data: bytes) -> bytes | None:
    """The content of bzip2 or xz streams, which zeros may follow."""
    is_xz = data.startswith(_XZ)
    found = b''
    while data:
        stream: typing.Any = lzma.LZMADecompressor(
            lzma.FORMAT_XZ, _MEMORY) if is_xz else bz2.BZ2Decompressor()
        try:
            found += stream.decompress(data, _MOST)
            while not stream.eof and not stream.needs_input and (
                    len(found) <= _MOST):
                found += stream.decompress(b'', _MOST)
        except (OSError, ValueError, lzma.LZMAError, MemoryError):
            return None
        if not stream.eof or len(found) > _MOST:
            return None
        data = stream.unused_data.lstrip(b'\0')
    return found


def frame(plain: bytes, rng: random.Random) -> bytes:
    """A frame of zstandard data, or one that has to be skipped."""
    if rng.randrange(8) == 0:
        return (0x184D2A50 + rng.randrange(16)).to_bytes(4, 'little') + (
            b'\3\0\0\0abc')
    return zstd.compress(plain, options={
        zstd.CompressionParameter.compression_level: rng.choice((-5, 1, 3)),
        zstd.CompressionParameter.checksum_flag: rng.randrange(2),
        zstd.CompressionParameter.content_size_flag: rng.randrange(2)})


def member(plain: bytes, rng: random.Random) -> bytes:
    """A member of a gzip file, with a header that is seldom seen."""
    flags = rng.choice((0, 0, 8, rng.choice(_FLAGS)))
    head = _MAGIC + bytes((8, flags)) + rng.randbytes(6)
    if flags & 4:
        extra = rng.randbytes(rng.choice((0, 1, 4, 300)))
        head += len(extra).to_bytes(2, 'little') + extra
    for flag in (8, 16):
        if flags & flag:
            head += bytes([rng.randrange(1, 256)]) * rng.randrange(20) + b'\0'
    if flags & 2:
        head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, 'little')
    packer = zlib.compressobj(
        rng.choice((0, 1, 6, 9)), zlib.DEFLATED, -15,
        strategy=rng.choice((0, 2, 3, 4)))
    content = packer.compress(plain) + packer.flush()
    tail = zlib.crc32(plain).to_bytes(4, 'little')
    return head + content + tail + len(plain).to_bytes(4, 'little')


def stream(plain: bytes, rng: random.Random) -> bytes:
    """A stream of bzip2 data."""
    return bz2.compress(plain, rng.choice((1, 9)))


def xz_stream(plain: bytes, rng: random.Random) -> bytes:
    """A stream of xz data, with one of its checks."""
    return lzma.compress(plain, check=rng.choice((
        lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64,
        lzma.CHECK_SHA256)), preset=rng.choice((0, 6)))


_PACKERS = ((_MAGIC, member), (_BZIP2, stream), (_XZ, xz_stream))


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The custom mutator: pack anew, or change some bytes."""
    rng = random.Random(seed)
    kind = rng.randrange(5)
    plain = unpacked(data) if kind < 3 else None
    if plain is None:
        return bytes(mutation.blindly(data, max_size))
    cuts = sorted(rng.randrange(len(plain) + 1)
                  for _ in range(rng.choice((0, 0, 1, 3))))
    pack = next((packer for magic, packer in _PACKERS
                 if data.startswith(magic)), frame)
    changed = bytearray(b''.join(
        pack(plain[start:end], rng) for start, end in zip(
            [0, *cuts], [*cuts, len(plain)])))
    if kind == 0:
        changed += rng.choice((bytes(rng.randrange(600)), _MAGIC, b'x'))
    elif kind == 1:
        place = rng.choice((
            rng.randrange(len(changed)), len(changed) - rng.randint(1, 8),
            rng.randrange(min(12, len(changed)))))
        changed[place] = rng.randrange(256)
    return bytes(changed[:max_size])


def test_one_input(data: bytes) -> None:
    found = rules.converted(data)
    if not (data.startswith((_MAGIC, _BZIP2, _XZ))
            or _ZSTANDARD.match(data)):
        return
    plain = unpacked(data)
    if plain is None:
        if isinstance(found, rules.Disk):
            raise rules.Broken('the standard library finds it damaged')
        return
    if 'header' in str(found):
        return  # The standard library does not look at a header's checksum.
    if data.startswith((_MAGIC, _BZIP2, _XZ)):
        # The last checksum makes the end-of-archive marker needless.
        plain += bytes(2 * archive.BLOCK)
    if detect.is_tar(plain[:archive.BLOCK]):
        rules.same(rules.outcome(plain), found, 'unpacked')

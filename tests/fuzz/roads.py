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

"""An input is a tar archive of VHDs; all roads lead to the same disk."""

import bz2
from collections import abc
import io
import lzma
import random
import tarfile
import typing
import zlib

from glance_xs_convert.converter import detect
from glance_xs_convert import exceptions

from testbed.images import archive
from tests.fuzz import headers
from tests.fuzz import mutation
from tests.fuzz import rules

_NAMES = ('0.vhd', '1.vhd', '2.vhd', './0.vhd', './1.vhd', 'snap.vhd',
          'image.vhd', 'base.vhd', 'swap.vhd', 'disk.vhd', 'disk', '._0.vhd',
          'x.avhd', 'a/0.vhd', '20240101T000000Z.vhd')

#: How an archive is compressed on some roads.
_PACKERS: dict[int, tuple[str, abc.Callable[[bytes], bytes]]] = {
    0: ('gzipped', lambda data: archive.gzipped([data])),
    3: ('as bzip2 data', bz2.compress),
    4: ('as xz data', lambda data: lzma.compress(data, preset=0))}

Files = list[tuple[str, bytes]]


def files(data: bytes) -> Files | None:
    """The files of an archive that holds nothing else; None for others."""
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode='r:',
                          encoding='utf-8', errors='strict') as opened:
            for info in opened:
                if not info.isreg() or info.issparse() or (
                        info.size > len(data)):
                    return None
                content = typing.cast(
                    typing.IO[bytes], opened.extractfile(info)).read()
                found.append((info.name, content))
    except (tarfile.TarError, ValueError, OverflowError, IndexError,
            OSError):
        return None
    return found


def packed(found: Files, tar_format: int = archive.GNU) -> bytes:
    return archive.tar([archive.Member(name, content)
                        for name, content in found], tar_format)


def compressed(name: str, content: bytes) -> tuple[str, bytes]:
    """A file that is compressed, if its name says that it is a VHD."""
    base = name.rpartition('/')[2]
    if not base.endswith(('.vhd', '.avhd')) or base.startswith('._'):
        return name, content
    return name + '.xz', lzma.compress(content, preset=0)


def change_members(found: Files, rng: random.Random) -> None:
    """Rename, move, drop, double or cut a member."""
    if not found:
        return
    number = rng.randrange(len(found))
    name, content = found[number]
    kind = rng.randrange(6)
    if kind == 0:
        found[number] = rng.choice(_NAMES), content
    elif kind == 1:
        found.insert(rng.randrange(len(found)), found.pop(number))
    elif kind == 2 and len(found) > 1:
        del found[number]
    elif kind == 3 and len(found) < 5:
        found.insert(number, (rng.choice(_NAMES), content))
    elif kind == 4:
        found[number] = name, content[:rng.randrange(len(content) + 1)]
    else:
        other = rng.randrange(len(found))
        found[number] = name, found[other][1]
        found[other] = found[other][0], content


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The custom mutator: members, structures of VHDs, tar headers."""
    rng = random.Random(seed)
    kind = rng.randrange(8)
    if kind == 0:
        return bytes(mutation.blindly(data, max_size))
    changed = bytearray(data)
    if kind == 1:
        headers.change_tar(changed, rng)
    elif kind < 4 and (found := files(data)) is not None:
        change_members(found, rng)
        changed = bytearray(packed(found))
    else:
        mutation.change_vhd(changed, rng)
    return bytes(changed[:max_size])


def test_one_input(data: bytes) -> None:
    found = rules.converted(data)
    road = zlib.adler32(data) % 8
    # What begins like a VHD is taken for one, but not if it is compressed.
    if (road in _PACKERS and detect.is_tar(data[:archive.BLOCK])
            and not data.startswith(b'conectix')):
        name, pack = _PACKERS[road]
        packed_too = rules.outcome(pack(data))
        # Only a plain archive has to have an end-of-archive marker.
        if not isinstance(found, exceptions.DamagedArchive):
            rules.same_refusal(found, packed_too, name)
    elif road == 1:
        members = files(data)
        if members is not None:
            check_order(found, members)
    elif road == 5:
        members = files(data)
        if members:
            rules.same(rules.outcome(packed(members)), rules.outcome(
                packed([compressed(*file) for file in members])),
                'compressed one by one')
    elif road == 2:
        members = files(data)
        if members:
            rules.same(rules.outcome(packed(members)), rules.outcome(
                packed(members), by_survey=True), 'by a survey')


def check_order(found: rules.Outcome, members: Files) -> None:
    """The order of the members and the form of the archive do not count."""
    again = rules.outcome(packed(members, archive.PAX))
    if isinstance(found, rules.Disk):
        rules.same(found, again, 'packed anew')
    rules.same(again, rules.outcome(packed(members[::-1])),
               'in the reverse order')

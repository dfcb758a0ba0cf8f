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

"""Small inputs to start from."""

import bz2
from collections import abc
import lzma
import pathlib

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from testbed.images import xva
from tests.fuzz import messages

_SMALL = {'block_size': 1024}


def sow(target: str, directory: pathlib.Path) -> None:
    """Write a target's seeds into a directory, one file each."""
    for number, data in enumerate(_SEEDS[target]()):
        (directory / f'{number:02d}').write_bytes(data)


def layers() -> list[vhd.Layer]:
    """VHDs of a few KiB, each laid out in another way."""
    written = [(0, chains.pattern('a', 3)), (9, chains.pattern('b'))]
    stale = [(4, chains.pattern('c'))]
    kinds: list[dict[str, object]] = [
        {},
        {'batmap': True},
        {'disk_type': vhd.FIXED},
        {'disk_type': vhd.FIXED, 'padding': {'tail': 2}},
        {'disk_type': vhd.DIFFERENCING, 'locators': chains.locators('p')},
        {'layout': ('blocks', 'bat', 'header')},
        {'layout': ('bat', 'header', 'blocks')},
        {'layout': ('header', 'blocks', 'bat'), 'front': vhd.DAMAGED},
        {'front': vhd.ZEROED}, {'tail': vhd.ABSENT}, {'tail': vhd.SHORT},
        {'creator_version': 1, 'bit_order': vhd.LSB_FIRST},
        {'padding': {'header': 1, 'bat': 1, 'blocks': 3, 'tail': 1}},
        {'batmap': True, 'encrypted': True},
        {'hidden': 1, 'hidden_unsummed': True, 'creator_version': 1},
        {'extra_table_entries': 300, 'data_alignment': 4096},
    ]
    return [vhd.Layer(**{  # type: ignore[arg-type]
        'current_size': 6000, 'written': written, 'stale': stale,
        **_SMALL, **kind}) for kind in kinds]


def _structures() -> abc.Iterator[bytes]:
    for layer in layers():
        yield layer.tobytes()


def _chains() -> abc.Iterator[bytes]:
    yield b''
    for number in range(12):
        yield chains.pattern(('choices', number))[:40 * (number + 1)]


def _packages() -> abc.Iterator[bytes]:
    yield b''
    for number in range(24):
        yield chains.pattern(('package', number))[:10 * (number + 1)]


def _headers() -> abc.Iterator[bytes]:
    chain = chains.linked([
        vhd.Layer(3000, [(number, chains.pattern(number))], **_SMALL)
        for number in range(2)])
    leaf = chain[1].image()
    for tar_format in (archive.GNU, archive.PAX, archive.USTAR):
        yield archive.tar(archive.chain_members(chain), tar_format)
    single = [archive.Member('long/' * 30 + '0.vhd', leaf)]
    yield archive.tar(single, archive.GNU)
    yield archive.tar(single, archive.PAX)
    yield archive.tar([archive.gnu_sparse('0.vhd', leaf)])
    yield archive.tar([archive.pax_sparse('0.vhd', leaf)])
    records = {
        '0.0': {'GNU.sparse.size': str(leaf.size),
                'GNU.sparse.numblocks': '1', 'GNU.sparse.offset': '0',
                'GNU.sparse.numbytes': str(leaf.size)},
        '0.1': {'GNU.sparse.size': str(leaf.size),
                'GNU.sparse.name': '0.vhd',
                'GNU.sparse.map': f'0,1024,1024,{leaf.size - 1024}'},
        'size': {'size': str(leaf.size), 'path': '0.vhd'},
        'binary': {'hdrcharset': 'BINARY', 'path': '0.vhd'},
    }
    for headers in records.values():
        yield archive.tar([archive.Member(
            'x.vhd', leaf, pax_headers=headers)], archive.PAX)
    for name, kind in (('l', b'2'), ('d/', b'5'), ('swap.vhd', b'7')):
        yield archive.tar([archive.Member(name, type=kind), *single])


def _roads() -> abc.Iterator[bytes]:
    chosen = layers()
    for start in range(len(chosen) - 2):
        chain = chains.linked([*chosen[start:start + 2], chosen[0]])
        yield archive.tar(archive.chain_members(chain))
    yield archive.tar(archive.chain_members(chain, order=[2, 1, 0]))
    yield archive.tar([archive.Member('disk.vhd', chosen[0].image())])


def _exports() -> abc.Iterator[bytes]:
    for number, (size, chunk_size) in enumerate((
            (5120, 512), (6000, 1000), (9000, 4096), (3001, 700),
            (2048, 8192))):
        disk = xva.random_disk(
            number, size, chunk_size, lengths={2: 300} if number == 3 else {},
            checksum=(xva.XXH64, xva.SHA1)[number % 2])
        yield xva.Export([disk], has_cd=False).tar()
    disks = [xva.random_disk(number, 2048, 512, ref=f'Ref:{number}',
                             userdevice=str(number), device=device)
             for number, device in ((7, 'xvda'), (8, 'xvdb'))]
    yield xva.Export(disks, vm=xva.PARAVIRTUALIZED).tar()
    memory = ('VDI', 'Ref:8', {'virtual_size': '2048'})
    export = xva.Export(disks[:1], others=[memory])
    yield archive.tar([*export.members(), *disks[1].members()])


def _compressed() -> abc.Iterator[bytes]:
    for data in _headers():
        yield archive.gzipped([data])
        yield archive.gzipped([data], member_size=700)
        yield archive.zstandard([data])
        yield bz2.compress(data)
        yield lzma.compress(data)
    for layer in layers()[:4]:
        yield lzma.compress(layer.tobytes())


_SEEDS = {'compressed': _compressed, 'roads': _roads, 'exports': _exports,
          'structures': _structures, 'chains': _chains, 'headers': _headers,
          'packages': _packages, 'messages': messages.sown}

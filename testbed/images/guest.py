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

"""A disk with a file system, and a chain of its snapshots.

e2fsprogs rather than our own code makes and reads the file system.
"""

from collections import abc
import itertools
import pathlib
import shutil
import struct
import subprocess
import tempfile

from testbed.images import chains
from testbed.images import vhd

#: Where the only partition begins, and how large the disk is, in bytes.
_START = vhd.MIB
_SIZE = 24 * vhd.MIB
#: Else each file system would be another one, with other sectors.
_UUID = '9d5bd4a6-0a52-4a8d-93a4-1f3b0c4a2e71'
_TABLE_ENTRY = 446
_FIRST_SECTOR = struct.Struct('<8xI')

Files = abc.Mapping[str, bytes]


def tool(name: str) -> str | None:
    """Return the path of a program of e2fsprogs, if it is installed."""
    return shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin')


def snapshots() -> tuple[list[vhd.Layer], Files]:
    """Make a chain of three and the files on its disk.

    Between two snapshots the guest added, replaced and removed a file.
    """
    states: list[Files] = [
        {'etc/hostname': b'first\n', 'data': chains.pattern('data', 3000)},
        {'etc/hostname': b'second\n', 'data': chains.pattern('data', 3000),
         'old': chains.pattern('old', 900)},
        {'etc/hostname': b'third\n', 'data': chains.pattern('new', 2500),
         'empty': b''},
    ]
    disks = [disk(files) for files in states]
    layers = [vhd.Layer(_SIZE, _changed(bytes(_SIZE), disks[0]))]
    for before, after in itertools.pairwise(disks):
        layers.insert(0, vhd.Layer(_SIZE, _changed(before, after)))
    return chains.linked(layers), states[-1]


def disk(files: Files) -> bytes:
    """Make a disk with one partition that holds these files."""
    with tempfile.TemporaryDirectory() as name:
        root, raw = pathlib.Path(name, 'root'), pathlib.Path(name, 'raw')
        for path, content in files.items():
            root.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
            root.joinpath(path).write_bytes(content)
        with open(raw, 'wb') as file:
            file.truncate(_SIZE)
        subprocess.run(
            [tool('mke2fs') or 'mke2fs', '-q', '-F', '-t', 'ext4', '-U',
             _UUID, '-E', f'offset={_START},root_owner=0:0,hash_seed={_UUID}',
             '-d', root, raw, f'{(_SIZE - _START) // vhd.KIB}k'],
            check=True, capture_output=True)
        table = chains.partition_table(_START // vhd.SECTOR,
                                       (_SIZE - _START) // vhd.SECTOR)
        return table + raw.read_bytes()[len(table):]


def read_files(raw: pathlib.Path, target: pathlib.Path) -> None:
    """Copy all files from the file system on a disk."""
    with open(raw, 'rb') as file:
        file.seek(_TABLE_ENTRY)
        sector, = _FIRST_SECTOR.unpack(file.read(_FIRST_SECTOR.size))
    subprocess.run(
        [tool('debugfs') or 'debugfs', '-R', f'rdump / {target}',
         f'{raw}?offset={sector * vhd.SECTOR}'],
        check=True, capture_output=True)


def _changed(before: bytes, after: bytes) -> list[tuple[int, bytes]]:
    """Return the sectors of the second disk that differ from the first."""
    return [(start // vhd.SECTOR, after[start:start + vhd.SECTOR])
            for start in range(0, len(after), vhd.SECTOR)
            if before[start:start + vhd.SECTOR]
            != after[start:start + vhd.SECTOR]]

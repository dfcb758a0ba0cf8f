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
"""Guests' disks as XenServer images: a chain of VHDs, or an export."""

import pathlib
import typing

from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from testbed.images import xva

_PIECE = vhd.MIB


def content(path: pathlib.Path) -> sparse.Sparse:
    """Return what is on a disk, without its zeros."""
    found = sparse.Sparse()
    with path.open('rb') as file:
        for offset, data in _pieces(file):
            found.put(offset, data)
        found.truncate(file.tell())
    return found


def _pieces(file: typing.BinaryIO) -> typing.Iterator[tuple[int, bytes]]:
    offset = 0
    while data := file.read(_PIECE):
        if data.count(0) != len(data):
            yield offset, data
        offset += len(data)


def write_chain(source: pathlib.Path, target: pathlib.Path) -> None:
    """Write a chain of two: the leaf has every third MiB of the data."""
    layers: list[list[tuple[int, bytes]]] = [[], []]
    with source.open('rb') as file:
        for number, (offset, data) in enumerate(_pieces(file)):
            layers[number % 3 != 0].append((offset // vhd.SECTOR, data))
        size = file.tell()
    made = chains.linked([vhd.Layer(size, written=written)
                          for written in layers])
    with target.open('wb') as file:
        sparse.write_pieces(file, archive.tar_pieces(
            archive.chain_members(made)))


def write_export(source: pathlib.Path, target: pathlib.Path,
                 **vm: typing.Any) -> None:
    """Write an export of a virtual machine with this disk."""
    disk = xva.Disk(content(source))
    with target.open('wb') as file:
        sparse.write_pieces(file, xva.Export([disk], vm=vm).pieces())

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


"""The XenServer-type images that the functional tests import."""

import dataclasses
import json
import pathlib
import typing

from testbed.images import archive
from testbed.images import chains
from testbed.images import guest as guests
from testbed.images import model
from testbed.images import vhd

FIXTURES = pathlib.Path(__file__).parents[3] / 'shared' / 'fixtures'


@dataclasses.dataclass(frozen=True)
class Image:
    """An archive, and the raw disk that is in it."""

    name: str
    data: bytes
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Refused:
    """An archive without a disk, and what the refusal has to speak of."""

    name: str
    data: bytes
    reason: str


def story() -> Image:
    """A chain of three that grew, as nova put it into an archive."""
    made = chains.story_chain()
    return Image('story.tgz', made.archive, made.size, made.sha256)


def small() -> Image:
    """A chain of two on a disk that ends in the middle of a block."""
    layers = chains.linked([
        vhd.Layer(5 * vhd.MIB + vhd.SECTOR, written=[
            (400, chains.pattern('new file', 100)),
            (10240, chains.pattern('last sector')),
        ]),
        vhd.Layer(3 * vhd.MIB, written=[
            (0, chains.partition_table(63, 6000)),
            (300, chains.pattern('old file', 300)),
        ]),
    ])
    data = archive.tgz(archive.chain_members(layers))
    return Image('small.tgz', data, model.size(layers), model.sha256(layers))


def guest() -> tuple[Image, guests.Files]:
    """Snapshots of a disk with a file system, and the files on it."""
    layers, files = guests.snapshots()
    data = archive.tgz(archive.chain_members(layers))
    return Image('guest.tgz', data, model.size(layers),
                 model.sha256(layers)), files


def refused() -> list[Refused]:
    """Archives of all kinds that are to be refused."""
    layers = chains.story_layers()
    sound = archive.tgz(archive.chain_members(layers))
    names = archive.names(3)
    return [
        Refused('no-base.tgz', archive.tgz(
            archive.chain_members(layers[:2])), r'1\.vhd'),
        Refused('gap.tgz', archive.tgz(archive.chain_members(
            layers, member_names=names, order=(0, 2))), r'1\.vhd'),
        Refused('twice.tgz', archive.tgz(archive.chain_members(
            layers, order=(0, 1, 1, 2))), r'1\.vhd'),
        Refused('truncated.tgz', sound[:len(sound) // 2], 'gzip'),
        Refused('no-vhd.tgz', archive.tgz(
            [archive.Member('README', b'nothing here\n')]), 'VHD'),
        Refused('bare.vhd', layers[0].tobytes(), 'parent'),
        Refused('text', b'not what you think\n' * 1000, 'archive'),
    ]


def fixtures() -> list[Image]:
    """Images that XenServer's own library made, where they are at hand.

    Two are enough here: the others differ in what Glance does not see.
    """
    return [Image(name, FIXTURES.joinpath(name).read_bytes(),
                  made['virtual_size'], made['sha256'])
            for name, made in _manifest('accept').items()
            if name in ('base-image.tgz', 'snapshot-chain.tgz')]


def refused_fixtures() -> list[Refused]:
    """Broken images that XenServer's own library made."""
    reasons = {'reject-truncated.tgz': 'gzip', 'reject-gap.tgz': r'1\.vhd',
               'reject-no-base.tgz': r'1\.vhd'}
    return [Refused(name, FIXTURES.joinpath(name).read_bytes(),
                    reasons.get(name, ''))
            for name in _manifest('reject')]


def _manifest(kind: str) -> dict[str, typing.Any]:
    manifest = FIXTURES / 'manifest.json'
    if not manifest.exists():
        return {}
    return dict(json.loads(manifest.read_text())[kind])

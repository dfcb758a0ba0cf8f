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

"""An input chooses a package of machines, and how it is packed and damaged.

Whatever is done to a package, what comes out is one of its disks by the model,
or nothing.
"""

import bz2
from collections import abc
import dataclasses
import lzma
import re
import typing

from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains as chain_images
from testbed.images import ova
from testbed.images import vhd
from tests.fuzz import chains
from tests.fuzz import rules

Pack = abc.Callable[[bytes], bytes]

_PACKERS: tuple[Pack, ...] = (
    ova.gzipped, bz2.compress, lambda data: lzma.compress(data, preset=0),
    lambda data: archive.zstandard([data]))
_ENDINGS = ('.vhd', '', '.vhd.gz', '.img')
_SETTINGS = (ova.HVM, ova.UEFI, ova.PARAVIRTUALIZED)
#: What may stand in a descriptor where something else did.
_WORDS = (b'', b'Disk', b'File', b'0', b'1', b'19', b'ovf:/disk/', b'<', b'>',
          b'</ovf:Item>', b'"', b'&amp;', b'&a;', b'\xff', b'parentRef',
          b'chunkSize', b'diskId', b'fileRef', b'../', b'%2e', b'99999999')
_PLACES = re.compile(rb'ovf:[a-zA-Z]+|"[^"]*"|>[^<]*<')


class Chosen(typing.NamedTuple):
    """A package, and the layers of each of its disks by their numbers."""

    package: ova.Package
    layers: list[list[vhd.Layer]]


def packer(choices: rules.Choices) -> Pack | None:
    return choices.pick(_PACKERS) if choices.one_in(3) else None


def disks(choices: rules.Choices, number: int) -> list[ova.Disk]:
    """A disk, and those that it is a difference to."""
    count = 2 + choices.below(2) if choices.one_in(4) else 1
    layers = chain_images.linked([
        chains.layer(choices, f'{number}-{place}', place == count - 1)
        for place in range(count)])
    names = [f'disk{number}-{place}' + choices.pick(_ENDINGS)
             for place in range(count)]
    return [ova.Disk(
        layer, f'name {number}', str(number), href=name, parent=parent,
        packed=packer(choices), is_attached=not place)
        for place, (layer, name, parent) in enumerate(
            zip(layers, names, [*names[1:], None]))]


def choose(choices: rules.Choices) -> Chosen:
    found = [disks(choices, number)
             for number in range(1 + choices.below(3))]
    are_apart = choices.one_in(4)
    machines = [ova.Machine([disk for disks in group for disk in disks],
                            f'vm {number}', settings=choices.pick(_SETTINGS))
                for number, group in enumerate(
                    [[one] for one in found] if are_apart else [found])]
    package = ova.Package(
        machines, directory=choices.pick(('', './', 'a/')),
        sums=choices.pick((ova.SHA1, ova.SHA256, None)),
        is_signed=choices.one_in(4))
    return Chosen(package, [[typing.cast(vhd.Layer, disk.content)
                             for disk in one] for one in found])


def members(chosen: Chosen, choices: rules.Choices) -> list[archive.Member]:
    """The files of a package, seldom in the usual order or alone."""
    found = chosen.package.members()
    if choices.one_in(3):
        found = [found[number] for number in choices.permutation(len(found))]
    if choices.one_in(4):
        found.insert(choices.below(len(found) + 1), choices.pick((
            archive.Member('readme.txt', b'text' * 200),
            archive.directory('a/'), archive.Member('a/x.xml', b'<x/>'))))
    return found


def check_disks(chosen: Chosen, data: bytes, choices: rules.Choices) -> None:
    """Each disk that is chosen is the model's; one alone needs no choice."""
    disks = [chains.expected(layers) for layers in chosen.layers]
    number = choices.below(len(disks))
    found = rules.outcome(data, disk=str(number),
                          piped=choices.one_in(4))
    if not isinstance(found, rules.Disk):
        # What is out of order has to be a file.
        found = rules.outcome(data, disk=str(number))
    if has_end(chosen.layers[number]):
        rules.same(disks[number], chains.padded(found), 'the model')
    found = rules.converted(data)
    if len(disks) > 1:
        if not isinstance(found, exceptions.DiskNotChosen):
            raise rules.Broken('nobody has chosen a disk')
    elif has_end(chosen.layers[0]):
        rules.same(disks[0], chains.padded(found), 'the model')


def has_end(layers: abc.Sequence[vhd.Layer]) -> bool:
    """Whether no fixed disk is smaller than a sector, as none is."""
    return all(layer.disk_type != vhd.FIXED
               or layer.current_size >= vhd.SECTOR for layer in layers)


def changed_descriptor(data: bytes, choices: rules.Choices) -> bytes:
    """A descriptor with a few of its words replaced."""
    for _ in range(1 + choices.below(2)):
        places = list(_PLACES.finditer(data))
        if places:
            found = choices.pick(places)
            other = choices.pick(_WORDS) if choices.one_in(2) else (
                choices.pick(places)[0])
            data = data[:found.start()] + other + data[found.end():]
    return data


def check_damaged(chosen: Chosen, data: bytes, choices: rules.Choices,
                  ) -> None:
    """What comes out is a disk of the package, if anything is.

    A descriptor that is no longer one leaves an archive of VHDs.
    """
    disks = [chains.expected(layers[start:]) for layers in chosen.layers
             for start in range(len(layers))]
    for choice in (None, str(choices.below(3))):
        found = chains.padded(rules.outcome(data, disk=choice))
        if isinstance(found, rules.Disk) and found not in disks:
            raise rules.Broken('a disk that is not in the package')


def test_one_input(data: bytes) -> None:
    choices = rules.Choices(data)
    chosen = choose(choices)
    kind = choices.below(6)
    if kind == 0:
        name = choices.pick(chosen.package.disks).file_name
        wrong = dataclasses.replace(
            chosen.package, sums=ova.SHA1, wrong={name: '0' * 40})
        found = rules.outcome(archive.tar(members(
            Chosen(wrong, chosen.layers), choices)), disk='0')
        if isinstance(found, rules.Disk):
            raise rules.Broken('a checksum is wrong')
        return
    found = members(chosen, choices)
    if kind == 1:
        found = [dataclasses.replace(item, content=changed_descriptor(
            typing.cast(bytes, item.content), choices))
            if item.name.endswith('.ovf') else item for item in found]
        if choices.one_in(2):
            found = [item for item in found if not item.name.endswith('.mf')]
        check_damaged(chosen, archive.tar(found), choices)
        return
    plain = archive.tar(found, choices.pick((archive.USTAR, archive.PAX)))
    if kind == 2:
        rules.outcome(chains.damaged(plain, choices), disk='0')
        return
    outer = choices.pick(_PACKERS) if kind == 3 else None
    check_disks(chosen, outer(plain) if outer else plain, choices)

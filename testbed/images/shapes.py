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

"""Archives of the shapes that people have, and what has to come of them.

Nothing here is read back: which layers a disk has, and in which order, is
known from how the archive was made.
"""

import bz2
from collections import abc
import dataclasses
import gzip
import lzma
import typing
import uuid

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd

SIZE = 64 * vhd.KIB
BLOCK = 4 * vhd.KIB
TEXT = archive.Member('notes.txt', b'Exported on a Tuesday.\n')
#: A file with attributes, as tar on macOS puts it beside a real one.
APPLE_DOUBLE = archive.Member(
    '._0.vhd', b'\0\5\x16\7\0\2\0\0Mac OS X        ' + bytes(139))


@dataclasses.dataclass(frozen=True)
class Shape:
    """An archive.

    :ivar members: what it holds
    :ivar layers: the layers of the disk, from the leaf to the base; empty if
                  the archive is to be refused
    :ivar refusal: the kind of the error
    :ivar words: what its sentence has to say, such as the names of both sides
    :ivar notes: how many notes there are about the order
    """

    members: list[archive.Member]
    layers: abc.Sequence[vhd.Layer] = ()
    refusal: str = ''
    words: abc.Sequence[str] = ()
    notes: int = 0


def own_id(seed: str, number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f'{seed}/{number}')


def chain(count: int, seed: str = 'disk', **changes: typing.Any,
          ) -> list[vhd.Layer]:
    """Make a chain whose layers have UUIDs of their own.

    Each layer writes a sector of its own and one that all of them write.
    """
    layers = []
    for number in range(count):
        is_base = number == count - 1
        layers.append(vhd.Layer(
            SIZE, [(number + 1, chains.pattern((seed, number))),
                   (0, chains.pattern((seed, 'all', number)))],
            block_size=BLOCK, unique_id=own_id(seed, number),
            disk_type=vhd.DYNAMIC if is_base else vhd.DIFFERENCING,
            parent_unique_id=(
                vhd.NIL if is_base else own_id(seed, number + 1)),
            **changes))
    return layers


def changed(layers: abc.Sequence[vhd.Layer], number: int,
            **changes: typing.Any) -> list[vhd.Layer]:
    """Return a chain with one of its layers changed."""
    again = list(layers)
    again[number] = dataclasses.replace(layers[number], **changes)
    return again


def fixed_base(count: int, seed: str = 'disk') -> list[vhd.Layer]:
    """Make a chain over a fixed disk."""
    layers = chain(count, seed)
    return changed(layers, -1, disk_type=vhd.FIXED)


def members(layers: abc.Sequence[vhd.Layer], names: abc.Sequence[str],
            ) -> list[archive.Member]:
    return [archive.Member(name, layer.image())
            for name, layer in zip(names, layers, strict=True)]


def compressed(layers: abc.Sequence[vhd.Layer],
               compress: abc.Callable[[bytes], bytes], *names: str,
               ) -> list[archive.Member]:
    """Return a chain whose leaf is compressed in the archive."""
    leaf, *others = layers
    return [archive.Member(names[0], compress(leaf.image().tobytes())),
            *members(others, names[1:])]


def named(layers: abc.Sequence[vhd.Layer], *names: str, notes: int = 0,
          others: abc.Sequence[archive.Member] = ()) -> Shape:
    """Return a chain under these names, from the leaf to the base."""
    return Shape([*members(layers, names), *others], layers, notes=notes)


def unlinked(layers: abc.Sequence[vhd.Layer]) -> list[vhd.Layer]:
    """Return a chain whose parents' UUIDs are those of nobody."""
    return [dataclasses.replace(layer, parent_unique_id=own_id('nobody', n))
            if layer.parent_unique_id != vhd.NIL else layer
            for n, layer in enumerate(layers)]


def with_one_id(layers: abc.Sequence[vhd.Layer], unique_id: uuid.UUID,
                ) -> list[vhd.Layer]:
    """Return a chain in which all UUIDs are the same."""
    parents = {vhd.DIFFERENCING: unique_id}
    again = []
    for layer in layers:
        parent = parents.get(layer.disk_type, vhd.NIL)
        again.append(dataclasses.replace(
            layer, unique_id=unique_id, parent_unique_id=parent))
    return again


def accepted() -> dict[str, Shape]:
    """Return shapes that have one right disk."""
    one, two, three = chain(1), chain(2), chain(3)
    ids = [str(layer.unique_id) for layer in three]
    dates = ['20240103T000000Z', '20240102T000000Z', '20240101T000000Z']
    swap = archive.Member('swap.vhd', chain(1, 'swap')[0].image())
    return {
        'dates': named(three, *(f'{name}.vhd' for name in dates)),
        'dates of digits': named(
            three, '20240103.vhd', '20240102.vhd', '20240101.vhd'),
        'UUIDs': named(three, *(f'{name}.vhd' for name in ids)),
        'logical volumes': named(three, *(f'VHD-{name}' for name in ids)),
        'logical volumes .vhd': named(
            three, *(f'VHD-{name}.vhd' for name in ids)),
        'upper case': named(two, 'B.VHD', 'A.VHD'),
        'avhd': named(two, 'x_7F3A.avhd', 'x.vhd'),
        'AVHD': named(three, 'X_2.AVHD', 'X_1.AVHD', 'X.VHD'),
        'no ending': named(three, 'leaf', 'root', 'between'),
        'img': named(two, 'a.img', 'b.img'),
        'full and delta': named(two, 'delta.vhd', 'full.vhd'),
        'full and delta, not linked': named(
            unlinked(two), 'delta.vhd', 'full.vhd', notes=1),
        'base called delta': named(two, 'base.img', 'delta.img'),
        'in directories': named(three, 'c/x.vhd', 'b/x.vhd', 'a/x.vhd'),
        'numbers in directories': named(two, 'b/0.vhd', 'a/0.vhd'),
        'numbers and a name': named(three, 'delta.vhd', '0.vhd', '1.vhd'),
        'numbers upside down and a name': named(
            three, 'delta.vhd', '1.vhd', '0.vhd'),
        'number and a difference': named(
            unlinked(two), 'delta.vhd', '0.vhd', notes=1),
        'numbers with other endings': named(two, '1.avhd', '0.vhd'),
        'numbers without endings': named(unlinked(three), '0', '1', '2',
                                         notes=2),
        'ten layers and more': named(
            chain(12), *(f'{number}.vhd' for number in range(12))),
        'leading zeros': named(three, '00.vhd', '01.vhd', '002.vhd'),
        'numbers without UUIDs': named(
            with_one_id(three, vhd.NIL), '0.vhd', '1.vhd', '2.vhd', notes=2),
        'numbers with one UUID': named(
            with_one_id(three, own_id('same', 0)), '0.vhd', '1.vhd',
            '2.vhd'),
        'numbers that are not linked': named(
            unlinked(three), '0.vhd', '1.vhd', '2.vhd', notes=2),
        'two with one UUID': named(
            with_one_id(two, own_id('same', 0)), 'b.vhd', 'a.vhd'),
        'old names': named(three, 'snap.vhd', 'image.vhd', 'base.vhd'),
        'old names, two of them': named(
            unlinked(two), 'snap.vhd', 'base.vhd', notes=1),
        'old names and swap': named(three, 'snap.vhd', 'image.vhd',
                                    'base.vhd', others=[swap]),
        'numbers and swap': named(two, '0.vhd', '1.vhd', others=[swap]),
        'old names with avhd': named(
            three, 'snap.avhd', 'image.avhd', 'base.vhd'),
        'one of any name': named(one, 'photo.jpg'),
        'fixed': named(changed(one, 0, disk_type=vhd.FIXED), 'disk'),
        'fixed base': named(fixed_base(3), *(f'{n}.vhd' for n in ids)),
        'fixed base without an ending': named(fixed_base(2), 'b', 'a'),
        'fixed base, not linked': named(
            unlinked(fixed_base(2)), 'b.avhd', 'a.vhd', notes=1),
        'fixed base by numbers': named(fixed_base(2), '0.vhd', '1.vhd'),
        'damaged front': named(
            changed(three, 1, front=vhd.DAMAGED),
            *(f'{name}.vhd' for name in ids)),
        'damaged front without an ending': named(
            changed(two, 1, front=vhd.ZEROED), 'b', 'a'),
        'no footer at the end': named(
            changed(three, 1, tail=vhd.ABSENT), 'c', 'b', 'a'),
        'footer of 511 bytes': named(
            changed(fixed_base(2), -1, tail=vhd.SHORT), 'b', 'a'),
        'compressed difference': Shape(compressed(
            two, gzip.compress, 'delta.vhd.gz', 'full.vhd'), two),
        'compressed, of another name': Shape(compressed(
            two, lzma.compress, 'delta', 'full.vhd'), two),
        'compressed with bzip2, of another name': Shape(compressed(
            two, bz2.compress, 'delta.img', 'full.vhd'), two),
        'compressed, called VHD': Shape(compressed(
            two, lambda data: archive.zstandard([data]), '0.vhd', '1.vhd'),
            two),
        'compressed one by one': Shape([
            *compressed(three[:1], gzip.compress, '0.vhd.gz'),
            *compressed(three[1:2], lzma.compress, '1.VHD.XZ'),
            *compressed(three[2:], bz2.compress, '2.vhd.bz2')], three),
        'compressed, without a footer at its front': Shape(compressed(
            changed(one, 0, front=vhd.ZEROED), gzip.compress,
            'disk.vhd.gz'), changed(one, 0, front=vhd.ZEROED)),
        'compressed fixed base': Shape([
            *compressed(fixed_base(2)[1:], lambda data: archive.zstandard(
                [data]), '1.vhd.zst'),
            *members(fixed_base(2)[:1], ['0.vhd'])], fixed_base(2)),
        'compressed fixed disk': Shape(compressed(
            changed(one, 0, disk_type=vhd.FIXED), bz2.compress,
            'backup.vhd.bz2'), changed(one, 0, disk_type=vhd.FIXED)),
        'other files': named(two, '0.vhd', '1.vhd', others=[
            TEXT, APPLE_DOUBLE, archive.Member('vmlinuz', b'MZ' * 900),
            archive.Member('empty'), archive.Member('sums.md5', b'0' * 32),
            archive.Member('log.gz', gzip.compress(b'It went well.\n'))]),
    }


def refused() -> dict[str, Shape]:
    """Return shapes that have no disk, or more than one."""
    one, two, three = chain(1), chain(2), chain(3)
    other = chain(2, 'other')
    fork = changed(chain(2, 'fork'), 0,
                   parent_unique_id=two[1].unique_id)[0]
    circle = changed(three, 2, disk_type=vhd.DIFFERENCING,
                     parent_unique_id=three[0].unique_id)

    def no(kind: str, words: abc.Sequence[str], *packed: archive.Member,
           ) -> Shape:
        return Shape(list(packed), refusal=kind, words=words)

    def packed(layers: abc.Sequence[vhd.Layer], *names: str,
               ) -> list[archive.Member]:
        return members(layers, names)

    return {
        'two bases': no('AmbiguousOrder', ['a.vhd', 'b.vhd'], *packed(
            [*one, other[1]], 'a.vhd', 'b.vhd')),
        'two chains': no('AmbiguousOrder', ['a.vhd', 'y.vhd'], *packed(
            [*two, *other], 'b.vhd', 'a.vhd', 'x.vhd', 'y.vhd')),
        'numbers in two directories': no(
            'AmbiguousOrder', ['a/0.vhd', 'b/0.vhd'], *packed(
                [*one, other[1]], 'a/0.vhd', 'b/0.vhd')),
        'fork': no('AmbiguousOrder', ['b.vhd', 'c.vhd', 'a.vhd'], *packed(
            [*two, fork], 'b.vhd', 'a.vhd', 'c.vhd')),
        'circle': no('WrongParent', ['.vhd', 'one another'], *packed(
            circle, 'a.vhd', 'b.vhd', 'c.vhd')),
        'circle beside a base': no(
            'WrongParent', ['one another'], *packed(
                [*circle, other[1]], 'a', 'b', 'c', 'd')),
        'its own parent': no('MissingBase', ['a.vhd'], *packed(
            changed(chain(2)[:1], 0, parent_unique_id=two[0].unique_id),
            'a.vhd')),
        'same file twice': no('AmbiguousOrder', ['a.vhd', 'b.vhd'], *packed(
            [*one, *one], 'a.vhd', 'b.vhd')),
        'same path twice': no('DuplicateLayer', ['a.vhd'], *packed(
            two, 'a.vhd', './a.vhd')),
        'same number twice': no('DuplicateLayer', ['0.vhd', '00.vhd'],
                                *packed(two, '0.vhd', '00.vhd')),
        'same UUID twice': no(
            'AmbiguousOrder', ['b.vhd', 'c.vhd', 'a.vhd'], *packed(
                [three[0], *[dataclasses.replace(
                    layer, unique_id=three[1].unique_id)
                    for layer in three[1:]]],
                'a.vhd', 'b.vhd', 'c.vhd')),
        'number missing': no('MissingLayer', ['1.vhd', '0.vhd', '2.vhd'],
                             *packed(two, '0.vhd', '2.vhd')),
        'leaf missing': no('MissingLayer', ['0.vhd', '1.vhd'], *packed(
            one, '1.vhd')),
        'numbers against UUIDs': no(
            'WrongParent', ['0.vhd', '1.vhd', '2.vhd'], *packed(
                three, '0.vhd', '2.vhd', '1.vhd')),
        'numbers upside down': no(
            'WrongParent', ['0.vhd', '1.vhd'], *packed(
                two, '1.vhd', '0.vhd')),
        'old names against UUIDs': no(
            'WrongParent', ['image.vhd', 'base.vhd'], *packed(
                two, 'base.vhd', 'image.vhd')),
        'no base': no('MissingBase', ['a.vhd'], *packed(
            three[1:2], 'a.vhd')),
        'no base, two': no('MissingBase', ['b.vhd'], *packed(
            three[:2], 'a.vhd', 'b.vhd')),
        'no links': no('AmbiguousOrder', ['c.vhd'], *packed(
            unlinked(three), 'a.vhd', 'b.vhd', 'c.vhd')),
        'a name among numbers': no(
            'AmbiguousOrder', ['delta.vhd', '0.vhd'], *packed(
                changed(three, 0, parent_unique_id=own_id('nobody', 0)),
                'delta.vhd', '0.vhd', '1.vhd')),
        'base in the middle': no('NotDifferencing', ['0.vhd', '1.vhd'],
                                 *packed([*one, other[1]], '0.vhd', '1.vhd')),
        'fixed leaf': no('NotDifferencing', ['0.vhd', '1.vhd'], *packed(
            [*changed(one, 0, disk_type=vhd.FIXED), other[1]],
            '0.vhd', '1.vhd')),
        'swap beside another name': no(
            'AmbiguousOrder', ['swap.vhd', 'disk.vhd'], *packed(
                [*one, other[1]], 'disk.vhd', 'swap.vhd')),
        'swap alone': no('NoVhd', ['swap.vhd'], *packed(one, 'swap.vhd')),
        'text called .vhd': no('DamagedVhd', ['2.vhd'], *packed(
            two, '0.vhd', '1.vhd'), archive.Member('2.vhd', b'text' * 400)),
        'text called .avhd': no('DamagedVhd', ['x.avhd'], *packed(
            one, '0.vhd'), archive.Member('x.avhd', b'text' * 400)),
        'empty file called .vhd': no('DamagedVhd', ['1.vhd'], *packed(
            one, '0.vhd'), archive.Member('1.vhd')),
        'damaged VHD of another name': no('DamagedVhd', ['notes'], *packed(
            one, '0.vhd'), archive.Member('notes', b'conectix' * 100)),
        'damaged copy of another name': no('DamagedVhd', ['notes'], *packed(
            one, '0.vhd'), archive.Member(
                'notes', bytes(512) + b'cxsparse' + bytes(2000))),
        'damaged end of another name': no('DamagedVhd', ['notes'], *packed(
            one, '0.vhd'), archive.Member(
                'notes', bytes(1024) + b'conectix' + bytes(504))),
        'link to a VHD': no('UnsafeMember', ['b', 'a.vhd'], *packed(
            one, 'a.vhd'), archive.Member('b', type=b'1', linkname='a.vhd')),
        'compressed and as it is': no('DuplicateLayer', [
            '0.vhd.gz', '0.vhd'], *compressed(
                one, gzip.compress, '0.vhd.gz'), *packed(one, '0.vhd')),
        'compressed twice': no('NotAnArchive', [
            '0.vhd.gz', 'xz data inside gzip data'], *compressed(
                two, lambda data: gzip.compress(lzma.compress(data)),
                '0.vhd.gz', '1.vhd')),
        'compressed and cut': no(
            'DamagedArchive', ['0.vhd.bz2', 'cut short'], *compressed(
                two, lambda data: bz2.compress(data)[:-4],
                '0.vhd.bz2', '1.vhd')),
        'compressed, and more behind it': no(
            'DamagedArchive', ['0.vhd.gz', 'gzip'], *compressed(
                two, lambda data: gzip.compress(data) + b'more',
                '0.vhd.gz', '1.vhd')),
        'compressed raw disk': no('DamagedVhd', ['disk.vhd.zst'], *(
            archive.Member('disk.vhd.zst', archive.zstandard(
                [chains.pattern('raw', 20)])),)),
        'compressed difference alone': no('MissingBase', ['delta'], *(
            compressed(two[:1], gzip.compress, 'delta'))),
        'symbolic link to a VHD': no('UnsafeMember', ['b', 'a.vhd'], *packed(
            one, 'a.vhd'), archive.Member('b', type=b'2', linkname='a.vhd')),
    }

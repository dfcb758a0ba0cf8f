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

"""An OVF package (.ova): its disks, verified by its manifest.

XenCenter writes the descriptor first, then the manifest, perhaps a signature,
and each disk of each machine as a VHD, which may be compressed. All checksums
are verified as the bytes pass. If the manifest comes last, as the
specification allows, the likely checksums are computed in advance.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import itertools
import posixpath
from typing import NamedTuple

from glance_xs_convert.converter import chain_members
from glance_xs_convert.converter import choice as choice_
from glance_xs_convert.converter.containers import bare
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import detect
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import opening
from glance_xs_convert.converter.ovf import envelope
from glance_xs_convert.converter.ovf import manifest
from glance_xs_convert.converter.ovf import verification
from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter import strict_xml
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text

_WHAT = 'package'
_MANIFEST = '.mf'
_CERTIFICATE = '.cert'
#: A VHD that is alone in its file is taken for one whatever its name is.
_VHD_NAME = 'image.vhd'


Disks = Iterator[tuple[results.Disk, opening.Opened]]


class Known(NamedTuple):
    """What an earlier pass has found.

    :ivar package: the content of the descriptor
    """

    package: envelope.Package


class _File(NamedTuple):
    """A file that may hold a disk.

    :ivar item: the file, read from its beginning
    :ivar path: its path, as the descriptor gives it
    :ivar data: computes its checksums
    :ivar start: its first bytes
    """

    item: member.Member
    path: str
    data: verification.Hashed
    start: bytes


class Appliance:
    """A package that is read once.

    Use it as a context manager.

    :param opened: the archive
    :param limits: bounds on the image
    :param known: the descriptor, if it does not come first
    :param sizes: the sizes of the VHDs in compressed files of a disk that is
                  read alone, if they have been measured
    :ivar package: the content of the descriptor
    :ivar disks: the disks so far: those of the descriptor, then those that are
                 only in the archive
    :ivar ignored: the files that do not belong to a disk
    :ivar is_reading_all: whether all disks are being read
    :ivar notes: sentences on what could not be verified; complete at the end
    """

    def __init__(self, opened: opening.Opened, limits: image_limits.Limits,
                 known: Known | None = None,
                 sizes: chain_members.Sizes | None = None) -> None:
        self._opened = opened.members
        self._members = opened.members.members()
        self._proportion = opened.proportion
        self._limits = limits
        self._sizes = sizes or {}
        self._verification = verification.Verification()
        self._seen: set[str] = set()
        self.is_reading_all = False
        self.notes: list[str] = []
        self.ignored: list[results.Ignored] = []
        try:
            self.package = (self._read_descriptor() if known is None
                            else known.package)
        except BaseException:
            self._verification.close()
            raise
        self._verification.directory = self.package.directory
        self.disks = list(self.package.disks)
        self._described = {disk.ref: disk for disk in self.disks}
        self._parents = {path for paths in self.package.chains.values()
                         for path in paths[1:]}

    def __enter__(self) -> 'Appliance':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._verification.close()

    def selected(self, choice: str | None) -> Disks:
        """Yield the disk that a choice denotes, and verify everything else.

        :param choice: see ``choice.choose``
        :raises DiskNotChosen, NoSuchDisk: it does not denote one disk
        :raises XsConvertError: see ``all_disks``
        """
        chosen = self._choose(choice) if self.disks else None

        def is_wanted(disk: results.Disk) -> bool:
            nonlocal chosen
            if chosen is None and choice_.matching([disk], choice, True):
                chosen = disk
            return disk is chosen

        if chosen is not None and chosen.ref in self.package.chains:
            yield chosen, self._chain(chosen)
        else:
            yield from self._read(is_wanted)
        self._choose(choice)

    def _choose(self, choice: str | None) -> results.Disk:
        return choice_.choose(self.disks, choice, choice_.of_machine(
            _WHAT, self.package.guests), by_name=True)

    def all_disks(self) -> Disks:
        """Yield all disks in the order of the archive.

        Each can be read until the next one is taken. Everything is verified
        after the last one.

        :raises DamagedPackage: the package contradicts itself
        :raises WrongDigest: a checksum is wrong
        :raises ForeignDisk: the disk is not a VHD
        """
        self.is_reading_all = True
        yield from self._read(lambda disk: True)

    def _read(self, is_wanted: Callable[[results.Disk], bool]) -> Disks:
        """Read the archive and yield the disks that are wanted."""
        for file in self._files():
            disk = self._disk_of(file)
            if disk is not None and is_wanted(disk):
                yield disk, self._image(file, disk)

    def _files(self) -> Iterator[_File]:
        """Yield the files that may hold disks, and verify everything."""
        for item in self._members:
            path = item.path.removeprefix('./')
            if path in self._seen:
                raise exceptions.DamagedPackage(
                    'it is in the archive twice', member=item.name)
            self._seen.add(path)
            if item.special:
                raise exceptions.UnsafeMember(
                    f'an OVF package must not hold {item.special}',
                    member=item.name)
            if self._is_for_the_package(item, path):
                continue
            data = self._verification.begin(path, item.data, item.size)
            start = data.read(min(detect.START_SIZE, item.size))
            item.data = forward.Rewound(data, start)
            yield _File(item, path, data, start)
            data.read_rest()
            self._verification.end(path, item.name, data)
        self._finish()

    def _disk_of(self, file: _File) -> results.Disk | None:
        """Return the disk in a file, or None if it belongs to none.

        :raises DamagedPackage: only its end tells that it is a disk
        :raises ForeignDisk: it is a disk in another format, or an archive
        """
        disk = self._described.get(file.path)
        if disk is not None or file.path in self._parents:
            return disk
        wrapping = detect.wrapping(file.start)
        if _is_disk(file.path, file.start) or (
                wrapping is not detect.Wrapping.NONE
                and chain_members.is_compressed_vhd(file.item, wrapping)):
            return self._add_disk(file.path, file.start)
        self._opened.ignore(file.item)
        self.ignored.append(results.Ignored(file.item.name, file.item.size))
        opening.check_ignored(detect.Content.PACKAGE, [member.Skimmed(
            file.path, file.item.name, file.item.size,
            file.start[:member.START_SIZE], b'')])
        file.data.read_rest()
        if detect.is_vhd_by_its_end(file.data.tail):
            raise exceptions.DamagedPackage(
                'it is a VHD, but the descriptor does not mention it',
                member=file.item.name)
        return None

    def chain_files(self, paths: Sequence[str]) -> Iterator[member.Member]:
        """Yield the files of a chain, under numbers that give their order.

        :param paths: those of the files, from the leaf to the base
        """
        for file in self._files():
            if file.path not in paths:
                self._disk_of(file)
                continue
            self._check_whole(file)
            is_plain = detect.wrapping(file.start) is detect.Wrapping.NONE
            if is_plain:
                _check_vhd(file.start, file.item.name)
            numbered = member.Member(
                file.item.index, f'{paths.index(file.path)}.vhd' + (
                    '' if is_plain else '.gz'), file.item.size, file.item.data)
            numbered.name = file.item.name
            yield numbered

    def _chain(self, disk: results.Disk) -> opening.Opened:
        """Return the VHDs of a disk that is a difference to others."""
        return opening.Opened(
            detect.Content.VHDS, chain_members.ChainMembers(
                _Chain(self, self.package.chains[disk.ref]), self._limits,
                self._sizes, self._proportion), b'', self._proportion)

    def _read_descriptor(self) -> envelope.Package:
        item = next(self._members)
        if item.size > strict_xml.MAX_SIZE:
            raise exceptions.DamagedPackage(
                f'it has more than {text.size(strict_xml.MAX_SIZE)}',
                member=item.name)
        path = item.path.removeprefix('./')
        self._seen.add(path)
        data = self._verification.begin_descriptor(item.data, item.size)
        package = envelope.parse(data.read(item.size), path)
        self._verification.end(path, item.name, data)
        return package

    def _is_for_the_package(self, item: member.Member, path: str) -> bool:
        """Read a member that describes or signs the package."""
        lower = path.lower()
        if lower.endswith(_MANIFEST) and item.size <= manifest.MAX_SIZE:
            self._verification.read_manifest(
                item.data.read(item.size), item.name)
            return True
        if not lower.endswith(_CERTIFICATE):
            return False
        self.ignored.append(results.Ignored(item.name, item.size))
        return True

    def _add_disk(self, path: str, start: bytes) -> results.Disk:
        """Add a disk that the descriptor does not mention."""
        numbers = [int(disk.position) for disk in self.disks]
        disk = results.Disk(
            text.printable(path), text.printable(posixpath.basename(path)),
            detect.disk_size(start), '', str(max(numbers, default=-1) + 1),
            False)
        self.disks.append(disk)
        return disk

    def _check_whole(self, file: _File) -> None:
        """:raises DamagedPackage: a file is cut into several"""
        described = self.package.files.get(file.path)
        if described is not None and described.is_cut:
            raise exceptions.DamagedPackage(
                'the descriptor says that the file is cut into chunks: put '
                'them together, and remove ovf:chunkSize',
                member=file.item.name)

    def _image(self, file: _File, disk: results.Disk) -> opening.Opened:
        """Return the VHD in a file, which may be compressed.

        That of a difference has to be read with its parents, wherever they
        are.
        """
        self._check_whole(file)
        item, start = file.item, file.start
        if disk.ref in self.package.chains:
            return opening.Opened(detect.Content.VHDS, _Later(item.name),
                                  start, self._proportion)
        wrapping = detect.wrapping(start)
        if wrapping is detect.Wrapping.NONE:
            _check_vhd(start, item.name)
            return opening.Opened(detect.Content.VHDS, _Single(
                item.name, item.size, item.data), start, self._proportion)
        plain = opening.unpack(item, wrapping, self._proportion)
        start = plain.peek(detect.START_SIZE)
        _check_vhd(start, item.name)
        return opening.Opened(detect.Content.VHDS, bare.BareVhd(
            item.name, self._sizes.get(bare.INDEX), plain), start,
            self._proportion)

    def _finish(self) -> None:
        """Check that the archive holds everything.

        :raises DamagedPackage: a disk is missing, or a parent of one
        """
        for path, disk in self._described.items():
            if path not in self._seen:
                raise exceptions.DamagedPackage(
                    f'the archive does not hold the file of the disk '
                    f'{choice_.describe(disk)}', member=text.printable(path))
        for paths in self.package.chains.values():
            for child, parent in itertools.pairwise(paths):
                if parent not in self._seen:
                    raise exceptions.DamagedPackage(
                        'the archive does not hold this file with the parent '
                        f'of {child}', member=parent)
        self.notes += self._verification.notes
        if not self._verification.has_manifest:
            self.notes.append('the package has no manifest, so only the VHDs '
                              'themselves have been verified')
            return
        files = {*self._parents, *(disk.ref for disk in self.disks)}
        unlisted = [path for path in self._verification.unverified()
                    if path in files]
        if unlisted:
            self.notes.append('the manifest has no checksum for '
                              + ', '.join(map(text.printable, unlisted[:8])))


@contextlib.contextmanager
def opened_disk(source: intake.Source, limits: image_limits.Limits,
                known: Known | None, choice: str | None,
                sizes: chain_members.Sizes) -> Iterator[opening.Opened]:
    """Open the VHD of one disk of a package.

    :param sizes: what has been measured
    """
    with (opening.opened(source, limits) as opened,
          Appliance(opened, limits, known, sizes) as package):
        for _, image in package.selected(choice):
            yield image


def find_descriptor(source: intake.Source, limits: image_limits.Limits,
                    ) -> Known | None:
    """Look for a descriptor that is not the first file of an archive.

    One that describes no disk in the archive does not count.

    :raises DamagedPackage: it is damaged
    :raises XsConvertError: the archive is
    """
    found: list[envelope.Package] = []
    paths = set()
    with opening.opened(source, limits) as opened:
        if isinstance(opened.members, bare.BareVhd) or (
                opened.content is not detect.Content.VHDS):
            return None
        for item in opened.members.members():
            path = item.path.removeprefix('./')
            paths.add(path)
            if envelope.is_descriptor(path) and not item.special and (
                    item.size <= strict_xml.MAX_SIZE):
                document = item.data.read(item.size)
                try:
                    found.append(envelope.parse(document, path))
                except exceptions.DamagedPackage:
                    if envelope.is_like_one(document):
                        raise
    for package in found:
        if paths & {disk.ref for disk in package.disks}:
            return Known(package)
    return None


class LateDescriptor(Exception):
    """A descriptor follows files of the package."""


class WithoutDescriptor:
    """The files of an archive, none of which must be a descriptor."""

    def __init__(self, members: member.Members) -> None:
        self._opened = members

    def members(self) -> Iterator[member.Member]:
        """Yield the files.

        :raises LateDescriptor: one of them is a descriptor
        """
        for item in self._opened.members():
            if envelope.is_descriptor(item.path):
                raise LateDescriptor
            yield item

    def ignore(self, item: member.Member) -> None:
        self._opened.ignore(item)


def _check_vhd(start: bytes, name: str) -> None:
    """:raises ForeignDisk: data that begins like this cannot be a VHD"""
    if not detect.is_vhd(start) and not detect.may_be_fixed(start):
        raise detect.not_a_vhd(start, name)


def _is_disk(path: str, start: bytes) -> bool:
    """Whether a file that the descriptor does not mention is a disk."""
    return detect.is_vhd(start) or '.vhd' in posixpath.basename(path).lower()


class _Chain:
    """The files of a disk that is a difference to others."""

    def __init__(self, package: Appliance, paths: Sequence[str]) -> None:
        self._package = package
        self._paths = paths

    def members(self) -> Iterator[member.Member]:
        return self._package.chain_files(self._paths)

    def ignore(self, item: member.Member) -> None:
        """Do nothing: all of the files belong to the chain."""


class _Later:
    """The files of a disk that cannot be read yet."""

    def __init__(self, name: str) -> None:
        self._name = name

    def members(self) -> Iterator[member.Member]:
        raise layers.NotInOrder(self._name)

    def ignore(self, item: member.Member) -> None:
        """Do nothing: there are no files."""


class _Single:
    """A VHD in the place of an archive."""

    def __init__(self, name: str, size: int, data: forward.Reader) -> None:
        self._item = member.Member(0, _VHD_NAME, size, data)
        self._item.name = name

    def members(self) -> Iterator[member.Member]:
        yield self._item
        self._item.data.skip(self._item.size - self._item.data.position)

    def ignore(self, item: member.Member) -> None:
        """Do nothing: the only member belongs to the chain."""

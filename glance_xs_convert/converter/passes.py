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


"""The passes over an image in which its disks are read."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import NamedTuple
from typing import TypeVar

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter import appliance
from glance_xs_convert.converter import chain_members
from glance_xs_convert.converter.containers import bare
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import detect
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import file as disk_file
from glance_xs_convert.converter.disk import first_sectors
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import one_pass
from glance_xs_convert.converter import opening
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter import survey
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import image
from glance_xs_convert.converter.vhd import unsized
from glance_xs_convert.converter.xva import export
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results

_T = TypeVar('_T')
_File = TypeVar('_File', bound=disk_file.DiskFile)


class Origin(NamedTuple):
    """The origin of a disk."""

    size: int
    layers: list[results.Vhd]
    disk: results.Disk | None = None
    guest: results.Guest | None = None
    notes: list[str] = []
    ignored: list[results.Ignored] = []


class Contents(NamedTuple):
    """What an inspection finds on a disk.

    :ivar allocated: number of its bytes that are in the image
    :ivar start: its first bytes
    """

    allocated: int
    start: bytes | bytearray


class Passes:
    """The passes over an image, each of which knows what earlier ones found.

    :param source: the image
    :param limits: bounds on the image
    :param progress: is kept up to date
    :ivar guests: the virtual machines, once they are known
    :ivar can_repeat: whether there can be more than one pass
    """

    def __init__(self, source: intake.Source, limits: image_limits.Limits,
                 progress: conversion_progress.Progress) -> None:
        self.guests: list[results.Guest] = []
        self._source = source
        self._limits = limits
        self._progress = progress
        self._start = source.tell() if source.seekable() else None
        #: The descriptor of a package, if it is not the first file, and
        #: whether it has been looked for.
        self._known: appliance.Known | None = None
        self._looked = False
        #: Whether the image is a package, and the disk that was read last.
        self._is_package = False
        self._disk: results.Disk | None = None
        self._guest: results.Guest | None = None

    @property
    def can_repeat(self) -> bool:
        return self._start is not None

    def look_for_descriptor(self) -> bool:
        """Look for a descriptor that is not the first file, but only once.

        :returns: whether there is one
        """
        if self._looked or self._is_package:
            return False
        self._looked = True
        self._known = appliance.find_descriptor(self._source, self._limits)
        self.rewind()
        return self._known is not None

    def rewind(self) -> None:
        """Go back to the beginning of the image.

        :raises UnreadableSource: the source is not seekable
        """
        if self._start is None:
            raise survey.not_seekable()
        self._source.seek(self._start)

    def write(self, raw: disk_file.DiskFile, choice: str | None) -> Origin:
        """Write one disk.

        :param choice: see ``choice.choose``
        :raises NotInOrder: its VHDs have to be surveyed first
        """
        raw.restart()
        with opening.opened(self._source, self._limits) as opened:
            if opened.content is detect.Content.EXPORT:
                with export.XvaImage(
                        opened.members, self._limits, choice) as exported:
                    one_pass.run(
                        exported, raw, self._progress, self._limits)
                    return Origin(
                        exported.size, [], exported.chosen, exported.guest,
                        exported.notes, _ignored_in(exported))
            if self._recognize_package(opened):
                [(origin, _)] = self._read_package(
                    opened, lambda: raw, lambda package: package.selected(
                        choice))
                return origin
            return self._read_chain(opened, raw, choice)

    def write_all(self, new_file: Callable[[], _File], files: list[_File],
                  ) -> list[tuple[Origin, _File]]:
        """Write all disks.

        :param files: the files that an earlier attempt has begun to write
        """
        old = iter(list(files))

        def next_file() -> _File:
            file = next(old, None)
            if file is None:
                file = new_file()
                files.append(file)
            file.restart()
            return file

        with opening.opened(self._source, self._limits) as opened:
            if opened.content is detect.Content.EXPORT:
                return self._read_export(opened, next_file)
            if self._recognize_package(opened):
                return self._read_package(
                    opened, next_file, appliance.Appliance.all_disks)
            file = next_file()
            return [(self._read_chain(opened, file, None), file)]

    def examine(self, files: list[dry_run.DryRun], choice: str | None,
                ) -> list[tuple[Origin, Contents]]:
        """Examine one disk, or each without a choice, and write none.

        :param files: is given the file of each disk but those of an export
        """
        def new_file() -> dry_run.DryRun:
            files.append(dry_run.DryRun())
            return files[-1]

        def select(package: appliance.Appliance) -> appliance.Disks:
            return (package.all_disks() if choice is None
                    else package.selected(choice))

        with opening.opened(self._source, self._limits) as opened:
            if opened.content is detect.Content.EXPORT:
                return self._examine_export(opened, choice)
            if self._recognize_package(opened):
                return [(origin, Contents(file.allocated, file.start))
                        for origin, file in self._read_package(
                            opened, new_file, select)]
            file = new_file()
            return [(self._read_chain(opened, file, choice),
                     Contents(file.allocated, file.start))]

    def _examine_export(self, opened: opening.Opened, choice: str | None,
                        ) -> list[tuple[Origin, Contents]]:
        """Examine an export, which takes less time than a dry run."""
        with export.XvaImage(
                opened.members, self._limits, choice) as exported:
            if choice is not None:
                exported.choose()
            self.guests = [exported.guest]
            disks = exported.survey(first_sectors.SIZE)
            ignored = _ignored_in(exported)
            return [(Origin(found.disk.size, [], found.disk, exported.guest,
                            exported.notes, ignored),
                     Contents(found.stored, found.start)) for found in disks]

    def _read_export(self, opened: opening.Opened,
                     next_file: Callable[[], _File],
                     ) -> list[tuple[Origin, _File]]:
        written = []
        with export.XvaImage(opened.members, self._limits, None) as exported:
            self.guests = [exported.guest]
            for disk, only in exported.all_disks():
                file = next_file()
                one_pass.run(only, file, self._progress, self._limits)
                written.append((
                    Origin(disk.size, [], disk, exported.guest), file))
            ignored = _ignored_in(exported)
        return _in_order([
            (origin._replace(notes=exported.notes, ignored=ignored), file)
            for origin, file in written])

    def _recognize_package(self, opened: opening.Opened) -> bool:
        self._is_package = self._known is not None or (
            opened.content is detect.Content.PACKAGE)
        return self._is_package

    def _read_package(self, opened: opening.Opened,
                      next_file: Callable[[], _File],
                      select: Callable[[appliance.Appliance],
                                       appliance.Disks],
                      ) -> list[tuple[Origin, _File]]:
        """Read the disks of a package that are selected.

        If there are several, those that are out of order are read again, one
        after the other.
        """
        written = []
        left = []
        with appliance.Appliance(
                opened, self._limits, self._known) as package:
            self.guests = package.package.guests
            for disk, vhd in select(package):
                self._disk = disk
                self._guest = package.package.guest_of(disk)
                file = next_file()
                try:
                    written.append((self._read_vhds(vhd, file), file))
                except (layers.NotInOrder, exceptions.DamagedVhd):
                    if not self.can_repeat or not package.is_reading_all:
                        raise
                    left.append((disk, file))
        for disk, file in left:
            self._disk = disk
            self._guest = package.package.guest_of(disk)
            self.rewind()
            written.append((self.write_surveyed(file, disk.ref), file))
        return _in_order([
            (origin._replace(notes=origin.notes + package.notes,
                             ignored=package.ignored), file)
            for origin, file in written])

    def _read_chain(self, opened: opening.Opened, raw: disk_file.DiskFile,
                    choice: str | None) -> Origin:
        """Read the disk of an image that holds only one."""
        if choice is not None:
            late = ('' if self.can_repeat else
                    '; if a descriptor (.ovf) follows, give it as a file')
            raise exceptions.NoSuchDisk(
                'the image is a chain of VHDs and has only one disk, so do '
                f'not choose one{late}')
        return self._read_vhds(self._prepared(opened, {}), raw)

    def _prepared(self, opened: opening.Opened, sizes: chain_members.Sizes,
                  ) -> opening.Opened:
        """Let an image be read as one that holds only a chain."""
        if not self._looked and not isinstance(opened.members, bare.BareVhd):
            opened = opened._replace(
                members=appliance.WithoutDescriptor(opened.members))
        return chain_members.prepare(opened, self._limits, sizes)

    def write_surveyed(self, raw: disk_file.DiskFile, choice: str | None,
                       ) -> Origin:
        """Write a disk whose VHDs are out of order, after a survey."""
        surveyed = survey.survey(
            self._source, self._limits,
            lambda sizes: self._open(choice, sizes)).resolve(self._limits)
        leaf = surveyed.layers[0]
        layers.check_disk(leaf.current_size, leaf.name, self._limits)
        self.rewind()
        raw.restart()
        with self._open(choice, surveyed.sizes) as opened:
            try:
                return self._read_vhds(opened, raw, surveyed)
            except layers.NotInOrder as error:
                raise contradicts_itself(error) from None

    @contextlib.contextmanager
    def _open(self, choice: str | None, sizes: chain_members.Sizes,
              ) -> Iterator[opening.Opened]:
        """Open what holds the VHDs of a disk.

        :param sizes: what has been measured
        """
        if self._is_package:
            with appliance.opened_disk(self._source, self._limits,
                                       self._known, choice, sizes) as opened:
                yield opened
        else:
            with opening.opened(self._source, self._limits,
                                sizes.get(bare.INDEX)) as opened:
                yield self._prepared(opened, sizes)

    def _read_vhds(self, opened: opening.Opened, raw: disk_file.DiskFile,
                   surveyed: survey.Resolved | None = None,
                   ) -> Origin:
        members = opened.members
        bounds = self._limits
        if isinstance(members, bare.BareVhd) and members.size is None:
            only = unsized.UnsizedVhd(members.name, members.data, bounds)
            try:
                one_pass.run(only, raw, self._progress, bounds)
            except unsized.NotVhd:
                if self._disk is not None:
                    raise detect.not_a_vhd(
                        opened.start, members.name) from None
                raise detect.not_an_archive(opened.start) from None
            return self._origin(only.size, only.vhds, only.notes)
        if surveyed is not None:
            # The size of the disk has been checked.
            bounds = dataclasses.replace(bounds, max_disk_size=None)
        vhds = image.VhdImage(
            members, bounds, surveyed.found if surveyed else None)
        try:
            one_pass.run(vhds, raw, self._progress, bounds)
        except chain.NoVhds:
            raise detect.no_vhd(vhds.ignored) from None
        opening.check_ignored(opened.content, vhds.ignored)
        return self._origin(
            vhds.size, vhds.vhds,
            (surveyed.notes if surveyed else []) + vhds.notes,
            _listed(vhds.ignored))

    def _origin(self, size: int, vhds: list[results.Vhd],
                notes: Sequence[str] = (),
                ignored: Sequence[results.Ignored] = ()) -> Origin:
        """Return the origin of the disk that has been read."""
        if self._disk is None:
            return Origin(size, vhds, notes=list(notes),
                          ignored=list(ignored))
        # What the descriptor says of the size may be wrong.
        disk = dataclasses.replace(self._disk, size=size)
        return Origin(size, [], disk, self._guest, list(notes))


def contradicts_itself(error: layers.NotInOrder) -> exceptions.DamagedVhd:
    """Make the error for a VHD that is out of order in the last pass, too."""
    return exceptions.DamagedVhd(
        'its structures contradict each other', member=error.member)


def _ignored_in(exported: export.XvaImage) -> list[results.Ignored]:
    """Return the files of an export that do not belong to its disks."""
    opening.check_ignored(detect.Content.EXPORT, exported.ignored)
    return _listed(exported.ignored)


def _listed(ignored: list[member.Skimmed]) -> list[results.Ignored]:
    """Return what a result says about the members that are ignored.

    :raises LimitExceeded: they are more than a result can hold
    """
    if len(ignored) > results.MOST_IGNORED:
        raise exceptions.LimitExceeded(
            f'more than {results.MOST_IGNORED} files in the archive do not '
            'belong to the disk')
    return [results.Ignored(item.name, item.size) for item in ignored]


def _in_order(disks: list[tuple[Origin, _T]]) -> list[tuple[Origin, _T]]:
    """Sort disks by their numbers."""
    def number(found: tuple[Origin, _T]) -> tuple[int, str]:
        disk = found[0].disk
        position = disk.position if disk is not None else ''
        return len(position), position

    return sorted(disks, key=number)

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


"""Converting, checking and inspecting an image: composition only."""

import dataclasses
from typing import BinaryIO
from typing import NamedTuple

from glance_xs_convert.converter.containers import detect
from glance_xs_convert.converter.containers import opening
from glance_xs_convert.converter.containers import ova_xml
from glance_xs_convert.converter.containers import xva
from glance_xs_convert.converter.disk import disk_map
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import file as disk_file
from glance_xs_convert.converter.disk import first_sectors
from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import one_pass
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert.converter.vhd import image
from glance_xs_convert.converter.vhd import survey
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress


@dataclasses.dataclass(frozen=True)
class ConversionResult:
    """The result of a conversion.

    :ivar virtual_size: size of the raw disk, in bytes
    :ivar layers: the chain of VHDs, from the leaf to the base; empty if the
                  disk comes from a XenServer export
    :ivar bytes_written: bytes written to the raw disk; the rest is holes
    :ivar source_size: size of the archive, in bytes
    :ivar source_sha256: SHA-256 of the archive in hexadecimal digits; empty if
                         it was not requested
    :ivar disk: the export's description of the disk; None for a chain
    :ivar guest: the export's description of the virtual machine; None for a
                 chain
    """

    virtual_size: int
    layers: list[chain.Vhd]
    bytes_written: int
    source_size: int
    source_sha256: str
    disk: ova_xml.Disk | None = None
    guest: ova_xml.Guest | None = None


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result that a conversion would have, and the space it would need.

    :ivar virtual_size: size of the raw disk, in bytes
    :ivar layers: see :class:`ConversionResult`
    :ivar source_size: size of the archive, in bytes
    :ivar allocated: bytes that the raw disk would occupy
    :ivar room: bytes of free space that the conversion requires
    :ivar disk_map: the layer that each sector comes from
    :ivar first_sectors: findings in the first sectors of the disk
    :ivar disk: see :class:`ConversionResult`
    :ivar guest: see :class:`ConversionResult`
    """

    virtual_size: int
    layers: list[chain.Vhd]
    source_size: int
    allocated: int
    room: int
    disk_map: disk_map.DiskMap
    first_sectors: first_sectors.FirstSectors
    disk: ova_xml.Disk | None = None
    guest: ova_xml.Guest | None = None


@dataclasses.dataclass(frozen=True)
class FoundDisk:
    """A disk in an image.

    :ivar virtual_size: size of the disk, in bytes
    :ivar stored: number of its bytes that are in the image; the rest is zeros
    :ivar first_sectors: findings in its first sectors
    :ivar disk: the export's description of the disk; None for a chain
    """

    virtual_size: int
    stored: int
    first_sectors: first_sectors.FirstSectors
    disk: ova_xml.Disk | None = None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The contents of an image.

    :ivar disks: the disk of a chain, or all disks of the virtual machine
    :ivar layers: see :class:`ConversionResult`
    :ivar guest: see :class:`ConversionResult`
    """

    disks: list[FoundDisk]
    layers: list[chain.Vhd]
    guest: ova_xml.Guest | None = None


def convert(source: BinaryIO, target: int, *,
            limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None,
            disk: str | None = None, digest: bool = False,
            ) -> ConversionResult:
    """Convert a XenServer image to a raw disk.

    :param source: the image, open for reading. If it is not seekable, images
                   that must be read twice are refused.
    :param target: descriptor of a new file, open for reading and writing
    :param limits: bounds on the image
    :param progress: is kept up to date
    :param disk: device or number of the disk to convert, if an export holds
                 several, for example xvdb or 1
    :param digest: whether to compute the source's SHA-256
    :raises XsConvertError: the image is refused, or a file cannot be read
                            or written
    """
    progress = progress or _new_progress()
    raw = sparse_file.SparseFile(target)
    with intake.opened(source, progress, digest) as archive:
        origin = _write(archive, raw, limits, progress, _Wanted(disk))
        return ConversionResult(
            origin.size, origin.layers, raw.bytes_written, archive.size_read,
            archive.sha256(), origin.disk, origin.guest)


def check(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
          progress: progress.Progress | None = None,
          disk: str | None = None) -> CheckResult:
    """Do everything that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :param disk: see :func:`convert`
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or _new_progress()
    raw = dry_run.DryRun()
    with intake.opened(source, progress) as archive:
        origin = _write(archive, raw, limits, progress, _Wanted(disk))
        return CheckResult(
            origin.size, origin.layers, archive.size_read, raw.allocated,
            raw.room, raw.layer_map(origin.size),
            first_sectors.examine(raw.start), origin.disk, origin.guest)


def inspect(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None) -> Inspection:
    """List the contents of an image, reading and verifying all of it.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or _new_progress()
    raw = dry_run.DryRun()
    with intake.opened(source, progress) as archive:
        origin = _write(archive, raw, limits, progress,
                        _Wanted(all_disks=True))
    disks = [FoundDisk(
        found.disk.size, found.stored, first_sectors.examine(found.start),
        found.disk) for found in origin.found]
    if origin.guest is None:
        disks.append(FoundDisk(origin.size, raw.allocated,
                               first_sectors.examine(raw.start)))
    return Inspection(disks, origin.layers, origin.guest)


def _new_progress() -> progress.Progress:
    return progress.Progress()


class _Origin(NamedTuple):
    """The origin of a disk, or all disks of an export."""

    size: int
    layers: list[chain.Vhd]
    disk: ova_xml.Disk | None = None
    guest: ova_xml.Guest | None = None
    found: list[xva.StoredDisk] = []


class _Wanted(NamedTuple):
    """The disks to read from an export.

    :ivar disk: device or number of one disk; None without a choice
    :ivar all_disks: whether to examine all disks and write none
    """

    disk: str | None = None
    all_disks: bool = False


def _write(source: intake.Source, raw: disk_file.DiskFile,
           limits: limits.Limits, progress: progress.Progress,
           wanted: _Wanted) -> _Origin:
    """Write a disk in one pass, or with a survey if it is out of order."""
    start = source.tell() if source.seekable() else None
    try:
        return _pass(source, raw, limits, progress, wanted)
    except layers.NotInOrder:
        if start is None:
            raise survey.not_seekable() from None
    except (exceptions.DamagedVhd, exceptions.NoVhd,
            exceptions.NotDifferencing):
        if start is None:
            raise
    source.seek(start)
    surveyed = survey.survey(source, limits)
    surveyed.layers(limits)
    source.seek(start)
    raw.restart()
    try:
        return _pass(source, raw, limits, progress, wanted, surveyed)
    except layers.NotInOrder as error:
        raise exceptions.DamagedVhd(
            'its structures contradict each other',
            member=error.member) from None


def _pass(source: intake.Source, raw: disk_file.DiskFile,
          limits: limits.Limits, progress: progress.Progress,
          wanted: _Wanted, surveyed: survey.Survey | None = None) -> _Origin:
    with opening.opened(source, limits) as opened:
        if opened.content is detect.Content.EXPORT:
            with xva.XvaImage(
                    opened.members, limits, wanted.disk) as export:
                return _read_export(export, raw, progress, wanted)
        if wanted.disk is not None:
            raise exceptions.NoSuchDisk(
                'the image is a chain of VHDs and has only one disk, so do '
                'not choose one')
        vhds = image.VhdImage(opened.members, limits, surveyed)
        one_pass.run(vhds, raw, progress)
        return _Origin(vhds.size, vhds.vhds)


def _read_export(export: xva.XvaImage, raw: disk_file.DiskFile,
                 progress: progress.Progress, wanted: _Wanted) -> _Origin:
    if wanted.all_disks:
        return _Origin(0, [], None, export.guest,
                       export.survey(first_sectors.SIZE))
    one_pass.run(export, raw, progress)
    return _Origin(export.size, [], export.chosen, export.guest)

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

from collections.abc import Sequence
import dataclasses
from typing import BinaryIO

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter import appliance
from glance_xs_convert.converter import detect
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import first_sectors
from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter import image_reader
from glance_xs_convert.converter import opening
from glance_xs_convert.converter import passes
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.xva import export
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results


def convert(source: BinaryIO, target: int, *,
            limits: image_limits.Limits = image_limits.DEFAULT,
            progress: conversion_progress.Progress | None = None,
            disk: str | None = None, digest: bool = False,
            ) -> results.ConversionResult:
    """Convert a XenServer image to a raw disk.

    :param source: the image, open for reading. If it is not seekable, images
                   that must be read twice are refused.
    :param target: descriptor of a new file, open for reading and writing
    :param limits: bounds on the image
    :param progress: is kept up to date
    :param disk: device, number or name of the disk to convert, if there are
                 several, for example xvdb or 1
    :param digest: whether to compute the source's SHA-256
    :raises XsConvertError: the image is refused, or a file cannot be read
                            or written
    """
    progress = progress or conversion_progress.Progress()
    raw = sparse_file.SparseFile(target)
    with intake.opened(source, progress, digest) as archive:
        origin = image_reader.ImageReader(
            archive, limits, progress).write(raw, disk)
        return results.ConversionResult(
            virtual_size=origin.size, layers=origin.layers,
            allocated=raw.allocated(), source_size=archive.size_read,
            source_sha256=archive.sha256(), disk=origin.disk,
            guest=origin.guest, notes=origin.notes, ignored=origin.ignored)


def convert_all(source: BinaryIO, targets: Sequence[int], *,
                limits: image_limits.Limits = image_limits.DEFAULT,
                progress: conversion_progress.Progress | None = None,
                ) -> results.AllDisks:
    """Convert all disks of an image to raw disks.

    :param source: see :func:`convert`
    :param targets: descriptors of new files, at least as many as there are
                    disks, open for reading and writing
    :param limits: bounds on each disk
    :param progress: is kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or conversion_progress.Progress()
    free = enumerate(targets)
    numbers: dict[sparse_file.SparseFile, int] = {}

    def new_file() -> sparse_file.SparseFile:
        number, target = next(free, (0, None))
        if target is None:
            raise exceptions.LimitExceeded(
                f'the image holds more than {len(targets)} disks: convert '
                'them one at a time')
        file = sparse_file.SparseFile(target)
        numbers[file] = number
        return file

    with intake.opened(source, progress) as archive:
        reader = image_reader.ImageReader(archive, limits, progress)
        written = reader.write_all(new_file)
        return results.AllDisks(
            [results.ConvertedDisk(
                numbers[raw], origin.size, raw.allocated(), origin.disk)
             for origin, raw in written],
            archive.size_read, reader.guests,
            _notes([origin for origin, _ in written]),
            written[0][0].ignored if written else [])


def check(source: BinaryIO, *,
          limits: image_limits.Limits = image_limits.DEFAULT,
          progress: conversion_progress.Progress | None = None,
          disk: str | None = None, with_map: bool = False,
          ) -> results.CheckResult:
    """Do everything that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :param disk: see :func:`convert`
    :param with_map: whether to make a map of the disk
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or conversion_progress.Progress()
    raw = dry_run.DryRun()
    with intake.opened(source, progress) as archive:
        origin = image_reader.ImageReader(
            archive, limits, progress).write(raw, disk)
        return results.CheckResult(
            virtual_size=origin.size, layers=origin.layers,
            allocated=raw.allocated, source_size=archive.size_read,
            room=raw.room, first_sectors=first_sectors.examine(raw.start),
            disk_map=raw.layer_map(origin.size) if with_map else None,
            disk=origin.disk, guest=origin.guest, notes=origin.notes,
            ignored=origin.ignored)


def inspect(source: BinaryIO, *,
            limits: image_limits.Limits = image_limits.DEFAULT,
            progress: conversion_progress.Progress | None = None,
            disk: str | None = None) -> results.Inspection:
    """List the contents of an image, reading and verifying all of it.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :param disk: device, number or name of the only disk to list
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or conversion_progress.Progress()
    with intake.opened(source, progress) as archive:
        reader = image_reader.ImageReader(archive, limits, progress)
        found = reader.examine(disk)
    if len(found) > results.MOST_DISKS:
        raise exceptions.LimitExceeded(
            f'the image holds more than {results.MOST_DISKS} disks')
    return results.Inspection(
        [results.FoundDisk(
            origin.size, contents.allocated,
            first_sectors.examine(contents.start), origin.disk)
         for origin, contents in found],
        [] if reader.guests else found[0][0].layers,
        reader.guests[0] if reader.guests else None,
        _notes([origin for origin, _ in found]),
        found[0][0].ignored if found else [], reader.guests[1:])


def describe(source: BinaryIO, *,
             limits: image_limits.Limits = image_limits.DEFAULT,
             progress: conversion_progress.Progress | None = None,
             ) -> results.Description:
    """Read what an image says about itself in its first file, and no more.

    :param source: the image, or its beginning, open for reading
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :raises XsConvertError: the image is none, or its first file is damaged
    """
    progress = progress or conversion_progress.Progress()
    with (intake.opened(source, progress) as archive,
          opening.opened(archive, limits) as opened):
        if opened.content is detect.Content.EXPORT:
            with export.XvaImage(opened.members, limits, None) as exported:
                disks = exported.manifest.disks
                guests = [exported.guest]
        elif opened.content is detect.Content.PACKAGE:
            with appliance.Appliance(opened, limits) as package:
                # Only a VHD itself tells how large its disk is.
                disks = [dataclasses.replace(disk, size=0)
                         for disk in package.disks]
                guests = package.package.guests
        else:
            return results.Description([], [])
    if max(len(disks), len(guests)) > results.MOST_DISKS:
        raise exceptions.LimitExceeded(
            f'the image holds more than {results.MOST_DISKS} disks')
    return results.Description(disks, guests)


def _notes(origins: Sequence[passes.Origin]) -> list[str]:
    """Return the notes on all disks, each of them once."""
    found = list(dict.fromkeys(
        note for origin in origins for note in origin.notes))
    return found[:results.MOST_NOTES]

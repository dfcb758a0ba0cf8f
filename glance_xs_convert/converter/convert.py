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


"""From an archive to a raw disk: composition, and nothing else."""

import dataclasses
from typing import BinaryIO

from glance_xs_convert.converter.containers import opening
from glance_xs_convert.converter.disk import disk_map
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import file as disk_file
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
    """What came out.

    :ivar virtual_size: of the raw disk, in bytes: the leaf's current_size
    :ivar layers: the chain, from the leaf to the base
    :ivar bytes_written: to the raw disk; the rest of it is holes
    :ivar source_size: bytes of the archive
    :ivar source_sha256: of the archive, in hexadecimal digits; empty if it
                         was not asked for
    """

    virtual_size: int
    layers: list[chain.Vhd]
    bytes_written: int
    source_size: int
    source_sha256: str


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What would come out, and what it would take.

    :ivar virtual_size: of the raw disk, in bytes: the leaf's current_size
    :ivar layers: the chain, from the leaf to the base
    :ivar source_size: bytes of the archive
    :ivar allocated: bytes that the raw disk would occupy
    :ivar room: bytes that have to be free for it, or it is not begun
    :ivar disk_map: which layer each sector comes from
    """

    virtual_size: int
    layers: list[chain.Vhd]
    source_size: int
    allocated: int
    room: int
    disk_map: disk_map.DiskMap


def convert(source: BinaryIO, target: int, *,
            limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None, bare: bool = False,
            digest: bool = False) -> ConversionResult:
    """Convert a XenServer archive to a raw disk.

    :param source: the archive, open for reading. Where it is not seekable,
                   archives that have to be read twice are refused.
    :param target: the descriptor of a new file, open for reading and
                   writing
    :param limits: what the image may ask for
    :param progress: kept up to date
    :param bare: whether the source is one VHD without an archive around it,
                 which must be seekable
    :param digest: whether the source's SHA-256 is wanted
    :raises XsConvertError: the archive is refused, or a file cannot be read
                            or written
    """
    opener = opening.open_bare_vhd if bare else opening.open_archive
    progress = progress or _new_progress()
    raw = sparse_file.SparseFile(target)
    with intake.opened(source, progress, digest) as archive:
        vhds = _write(archive, raw, limits, progress, opener)
        return ConversionResult(
            vhds[0].current_size, vhds, raw.bytes_written, archive.size_read,
            archive.sha256())


def check(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
          progress: progress.Progress | None = None) -> CheckResult:
    """Do all that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    progress = progress or _new_progress()
    raw = dry_run.DryRun()
    with intake.opened(source, progress) as archive:
        vhds = _write(archive, raw, limits, progress, opening.open_archive)
        size = vhds[0].current_size
        return CheckResult(size, vhds, archive.size_read, raw.allocated,
                           raw.room, raw.layer_map(size))


def inspect(source: BinaryIO, *, limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None) -> survey.Survey:
    """Find out what an archive holds; all of it is read.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: kept up to date
    :raises XsConvertError: see :func:`convert`
    """
    with intake.opened(source, progress or _new_progress()) as archive:
        return survey.survey(archive, limits)


def _new_progress() -> progress.Progress:
    return progress.Progress()


def _write(source: intake.Source, raw: disk_file.DiskFile,
           limits: limits.Limits, progress: progress.Progress,
           opener: opening.Opener) -> list[chain.Vhd]:
    """In one pass if the archive is in order, or else with a survey."""
    start = source.tell() if source.seekable() else None
    try:
        return _pass(source, raw, limits, progress, opener)
    except layers.NotInOrder:
        if start is None:
            raise survey.not_seekable() from None
    except (exceptions.DamagedVhd, exceptions.NoVhd,
            exceptions.NotDifferencing):
        if start is None:
            raise
    source.seek(start)
    surveyed = survey.survey(source, limits, opener)
    surveyed.layers(limits)
    source.seek(start)
    raw.restart()
    try:
        return _pass(source, raw, limits, progress, opener, surveyed)
    except layers.NotInOrder as error:
        raise exceptions.DamagedVhd(
            'its structures contradict each other',
            member=error.member) from None


def _pass(source: intake.Source, raw: disk_file.DiskFile,
          limits: limits.Limits, progress: progress.Progress,
          opener: opening.Opener, surveyed: survey.Survey | None = None,
          ) -> list[chain.Vhd]:
    with opener(source, limits) as opened:
        disk = image.VhdImage(opened, limits, surveyed)
        one_pass.run(disk, raw, progress)
        return disk.vhds

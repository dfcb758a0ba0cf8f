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

"""The public functions: convert, check and inspect, by path or open file.

They run in the calling process. Import them from the package itself.
"""

from collections.abc import Iterator
import contextlib
import os
from typing import BinaryIO

from glance_xs_convert.converter import convert as converter
from glance_xs_convert.converter.vhd import survey
from glance_xs_convert import files
from glance_xs_convert import limits
from glance_xs_convert import progress

Source = files.Path | BinaryIO

CheckResult = converter.CheckResult
ConversionResult = converter.ConversionResult
Survey = survey.Survey


def convert(source: Source, target: files.Path, *,
            limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None,
            overwrite: bool = False, bare: bool = False,
            digest: bool = False) -> ConversionResult:
    """Convert a XenServer archive to a raw disk.

    The disk is sparse. It is written under a temporary name beside the
    target, and gets its name after the archive's last checksum was right.

    :param source: the archive: a path, or a file open for reading. Where it
                   is not seekable, archives that have to be read twice are
                   refused.
    :param target: the path of the raw disk
    :param limits: what the image may ask for
    :param progress: kept up to date
    :param overwrite: whether the target may exist
    :param bare: whether the source is one VHD without an archive around it,
                 which must be seekable
    :param digest: whether the source's SHA-256 is wanted
    :returns: a :class:`ConversionResult`
    :raises XsConvertError: the archive is refused, or a file cannot be read
                            or written; nothing is left behind
    """
    with (_opened(source) as archive,
          files.new_file(target, overwrite, source=archive) as descriptor):
        return converter.convert(
            archive, descriptor, limits=limits, progress=progress, bare=bare,
            digest=digest)


def check(source: Source, *, limits: limits.Limits = limits.DEFAULT,
          progress: progress.Progress | None = None,
          ) -> CheckResult:
    """Do all that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: kept up to date
    :returns: a :class:`CheckResult`
    :raises XsConvertError: see :func:`convert`
    """
    with _opened(source) as archive:
        return converter.check(archive, limits=limits, progress=progress)


def inspect(source: Source, *, limits: limits.Limits = limits.DEFAULT,
            progress: progress.Progress | None = None) -> Survey:
    """Find out what an archive holds; all of it is read.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: kept up to date
    :returns: a :class:`Survey`
    :raises XsConvertError: see :func:`convert`
    """
    with _opened(source) as archive:
        return converter.inspect(archive, limits=limits, progress=progress)


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """Open the source if it is a path."""
    if isinstance(source, (str, os.PathLike)):
        with files.opened(source) as file:
            yield file
    else:
        yield source

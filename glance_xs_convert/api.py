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

"""The public functions convert, check and inspect, for paths and open files.

They run in the calling process. Import them from the package itself.
"""

from collections.abc import Iterator
import contextlib
import os
from typing import BinaryIO

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter import convert as converter
from glance_xs_convert import image_limits
from glance_xs_convert import publish
from glance_xs_convert import results

Source = publish.Path | BinaryIO


def convert(source: Source, target: publish.Path, *,
            limits: image_limits.Limits = image_limits.DEFAULT,
            progress: conversion_progress.Progress | None = None,
            overwrite: bool = False, disk: str | None = None,
            digest: bool = False) -> results.ConversionResult:
    """Convert a XenServer image to a raw disk.

    The image may be a tar archive with a chain of VHDs, a single VHD, or a
    XenServer export (.xva).

    The disk is sparse. It is written under a temporary name beside the target,
    and gets its own name once the whole image has been read and verified.

    :param source: the image: a path, or a file that is open for reading. If it
                   is not seekable, images that must be read twice are refused.
    :param target: path of the raw disk
    :param limits: bounds on the image
    :param progress: is kept up to date
    :param overwrite: whether to replace an existing target
    :param disk: device or number of the disk to convert, if an export holds
                 several, for example xvdb or 1
    :param digest: whether to compute the source's SHA-256
    :returns: a :class:`ConversionResult`
    :raises XsConvertError: the image is refused, or a file cannot be read or
                            written; nothing is left behind
    """
    with (_opened(source) as archive,
          publish.new_file(target, overwrite, source=archive) as descriptor):
        return converter.convert(
            archive, descriptor, limits=limits, progress=progress, disk=disk,
            digest=digest)


def check(source: Source, *,
          limits: image_limits.Limits = image_limits.DEFAULT,
          progress: conversion_progress.Progress | None = None,
          disk: str | None = None) -> results.CheckResult:
    """Do everything that ``convert`` does, but write nothing.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :param disk: see :func:`convert`
    :returns: a :class:`CheckResult`
    :raises XsConvertError: see :func:`convert`
    """
    with _opened(source) as archive:
        return converter.check(archive, limits=limits, progress=progress,
                               disk=disk, with_map=True)


def inspect(source: Source, *,
            limits: image_limits.Limits = image_limits.DEFAULT,
            progress: conversion_progress.Progress | None = None,
            disk: str | None = None) -> results.Inspection:
    """List the contents of an image, reading and verifying all of it.

    :param source: see :func:`convert`
    :param limits: see :func:`convert`
    :param progress: is kept up to date
    :param disk: device or number of the only disk to list
    :returns: an :class:`Inspection`
    :raises XsConvertError: see :func:`convert`
    """
    with _opened(source) as archive:
        return converter.inspect(archive, limits=limits, progress=progress,
                                 disk=disk)


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """Open the source if it is a path."""
    if isinstance(source, (str, os.PathLike)):
        with publish.open_source(source) as file:
            yield file
    else:
        yield source

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


"""Reading the disks of an image, in as many passes as that takes."""

from collections.abc import Callable
from typing import TypeVar

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter import appliance
from glance_xs_convert.converter.disk import dry_run
from glance_xs_convert.converter.disk import file as disk_file
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import passes
from glance_xs_convert.converter.streams import intake
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results

_T = TypeVar('_T')
_File = TypeVar('_File', bound=disk_file.DiskFile)

#: The errors of archives that may be packages whose descriptor comes late.
_MAY_BE_A_PACKAGE = (exceptions.BrokenChain, exceptions.DamagedVhd,
                     exceptions.ForeignDisk, exceptions.NoSuchDisk,
                     exceptions.NoVhd)


class ImageReader:
    """An image, which is read more than once if it is out of order.

    :param source: the image
    :param limits: bounds on the image
    :param progress: is kept up to date
    """

    def __init__(self, source: intake.Source, limits: image_limits.Limits,
                 progress: conversion_progress.Progress) -> None:
        self._passes = passes.Passes(source, limits, progress)

    @property
    def guests(self) -> list[results.Guest]:
        """The virtual machines, once they are known."""
        return self._passes.guests

    def write(self, raw: disk_file.DiskFile, choice: str | None,
              ) -> passes.Origin:
        """Write one disk."""
        return self._attempt(lambda: self._passes.write(raw, choice),
                             lambda: self._passes.write_surveyed(raw, choice))

    def write_all(self, new_file: Callable[[], _File],
                  ) -> list[tuple[passes.Origin, _File]]:
        """Write each disk to a file of its own, in one pass if possible."""
        files: list[_File] = []
        return self._attempt(
            lambda: self._passes.write_all(new_file, files),
            lambda: [(self._passes.write_surveyed(files[0], None), files[0])])

    def examine(self, choice: str | None,
                ) -> list[tuple[passes.Origin, passes.Contents]]:
        """Examine one disk, or each without a choice, and write none."""
        files: list[dry_run.DryRun] = []
        return self._attempt(
            lambda: self._passes.examine(files, choice),
            lambda: [(self._passes.write_surveyed(files[-1], choice),
                      passes.Contents(files[-1].allocated, files[-1].start))])

    def _attempt(self, first: Callable[[], _T], again: Callable[[], _T],
                 ) -> _T:
        """Read the image once, and again if it is out of order.

        :param first: reads it in one pass
        :param again: reads a disk that takes several passes
        """
        road = first
        while True:
            try:
                return road()
            except layers.NotInOrder as error:
                if road is again:
                    raise passes.contradicts_itself(error) from None
                road = again
            except appliance.LateDescriptor:
                self._passes.rewind()
                self._passes.look_for_descriptor()
                road = first
            except _MAY_BE_A_PACKAGE as error:
                if not self._passes.can_repeat:
                    raise
                self._passes.rewind()
                if self._passes.look_for_descriptor():
                    road = first
                elif road is first and isinstance(
                        error, exceptions.DamagedVhd):
                    road = again
                else:
                    raise
            self._passes.rewind()

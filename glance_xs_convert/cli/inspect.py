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

"""``glance-xs-convert inspect``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
from typing import Any
from typing import TextIO
from typing import TYPE_CHECKING

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli import picture
from glance_xs_convert.cli import tables
from glance_xs_convert import exceptions
from glance_xs_convert import files

if TYPE_CHECKING:
    from glance_xs_convert import api
    from glance_xs_convert.converter.disk import disk_map

_VISIBLE = 'Visible'
_EXTENTS = 'Extents'
#: The formats in which a field can be a list.
_STRUCTURED = ('json', 'yaml')


class Inspect(common.Command, lister.Lister):
    """Show the contents of a XenServer image.

    For a chain of VHDs, the command lists the layers from leaf to base; for an
    export (.xva), the disks of the virtual machine. It reads and verifies the
    whole archive.

    With a map of the disk, an additional column shows how many bytes of the
    disk come from each layer. Zeros that a layer has written belong to it;
    data that no layer has written is a hole. In JSON and YAML, the map is a
    list of the extents that come from each layer, with offset and size in
    bytes.
    """

    _picture: picture.Picture | None = None
    _below: Sequence[str] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        common.add_archive(parser)
        common.add_disk(parser)
        group = parser.add_argument_group('map')
        group.add_argument(
            '--map', action='store_true',
            help='draw a map below the table that shows which layer each '
                 'region of the disk comes from; with -f json or yaml, list '
                 'the extents of each layer')
        group.add_argument(
            '--svg', metavar='FILE',
            help='write the map to an SVG file')
        group.add_argument(
            '--force', action='store_true',
            help='overwrite the SVG file if it exists')
        return parser

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[tuple[Any, ...]]]:
        # All commands are loaded at once; only this one reads an image.
        from glance_xs_convert import api

        formatter = parsed_args.formatter
        if parsed_args.map and formatter not in ('table', *_STRUCTURED):
            raise exceptions.UnwritableTarget(
                f'a map cannot be shown in the format {formatter}, only as '
                'table, json or yaml')
        if parsed_args.map or parsed_args.svg is not None:
            return self._inspect_with_map(parsed_args)
        limits = common.limits(parsed_args)
        with common.source(
                parsed_args, self.app.stderr) as (source, progress):
            found = api.inspect(source, limits=limits, progress=progress)
        return self._show(parsed_args, tables.of_image(
            found.layers, found.disks, found.guest))

    def _inspect_with_map(self, parsed_args: argparse.Namespace,
                          ) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        from glance_xs_convert import api

        with (_drawing(parsed_args) as svg,
              common.source(parsed_args, self.app.stderr) as (
                  source, progress)):
            result = api.check(source, limits=common.limits(parsed_args),
                               progress=progress, disk=parsed_args.disk)
            drawing = picture.Picture(result.disk_map, _names(result))
            svg.write(drawing.svg())
        table = tables.of_image(result.layers, [api.FoundDisk(
            result.virtual_size, result.allocated, result.first_sectors,
            result.disk)], result.guest)
        table.add_column(_VISIBLE, [
            common.Size(size) for size in result.disk_map.sizes()])
        if parsed_args.map:
            if parsed_args.formatter in _STRUCTURED:
                table.add_column(_EXTENTS, [
                    _extents(result.disk_map, rank)
                    for rank in range(len(table.rows))])
            else:
                self._picture = drawing
        return self._show(parsed_args, table)

    def _show(self, parsed_args: argparse.Namespace, table: tables.Table,
              ) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Show the notes below a table as columns in other formats."""
        if parsed_args.formatter == 'table':
            self._below = table.below
        else:
            for name, value in table.aside.items():
                table.add_column(name, [value] * len(table.rows))
        return table.columns, table.rows

    def produce_output(self, parsed_args: argparse.Namespace,
                       column_names: Sequence[str],
                       data: Iterable[Sequence[Any]]) -> int:
        """Print the notes and the map below the table."""
        super().produce_output(parsed_args, column_names, data)
        stdout = self.app.stdout
        for sentence in self._below:
            print(sentence, file=stdout)
        if self._picture is not None:
            print(f'\n{self._picture.text(stdout)}', file=stdout)
        return 0


def _names(result: api.CheckResult) -> list[str]:
    """Return the names of a disk's layers."""
    if result.disk is not None:
        return [result.disk.label]
    return [layer.name for layer in result.layers]


def _extents(disk_map: disk_map.DiskMap, rank: int) -> list[dict[str, int]]:
    return [{'offset': offset, 'size': size}
            for offset, size in disk_map.extents(rank)]


@contextlib.contextmanager
def _drawing(parsed_args: argparse.Namespace) -> Iterator[TextIO]:
    """Yield the content of the SVG file, which is written on leaving.

    :raises TargetExists: the file exists and must not be overwritten
    :raises UnwritableTarget: the file is the archive, or the operating
                              system refuses
    """
    path = parsed_args.svg
    drawing = io.StringIO()
    if path is None:
        yield drawing
        return
    with contextlib.suppress(OSError):
        if os.path.samefile(path, parsed_args.archive):
            raise exceptions.UnwritableTarget(
                f'{path} is the archive and cannot be overwritten')
    with files.new_file(path, parsed_args.force) as descriptor:
        yield drawing
        try:
            with open(descriptor, 'w', encoding='utf-8',
                      closefd=False) as file:
                file.write(drawing.getvalue())
        except OSError as error:
            raise exceptions.UnwritableTarget(
                f'{path} cannot be written: {error.strerror}') from error

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
from collections.abc import Sequence
import contextlib
import io
from typing import Any
from typing import BinaryIO
from typing import TYPE_CHECKING

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli import confined
from glance_xs_convert.cli import picture
from glance_xs_convert.cli import progress_display
from glance_xs_convert.cli import tables
from glance_xs_convert import exceptions
from glance_xs_convert import files
from glance_xs_convert import progress

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

    _archive: BinaryIO
    _svg: int | None = None
    _picture: picture.Picture | None = None
    _below: Sequence[str] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        common.add_archive(parser)
        common.add_disk(parser)
        common.add_sandbox(parser)
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

    def run(self, parsed_args: argparse.Namespace) -> int:
        formatter = parsed_args.formatter
        if parsed_args.map and formatter not in ('table', *_STRUCTURED):
            raise exceptions.UnwritableTarget(
                f'a map cannot be shown in the format {formatter}, only as '
                'table, json or yaml')
        with (common.opened(parsed_args) as self._archive,
              self._new_svg(parsed_args) as self._svg):
            # A stranger made the image, so only the files that the work needs
            # are open when it begins.
            self._warm_up(parsed_args)
            return confined.run(
                parsed_args.sandbox,
                lambda: super(Inspect, self).run(parsed_args),
                [self._archive.fileno(), *filter(None, [self._svg])],
                modules=['glance_xs_convert.api',
                         *(['tqdm'] if self.app.stderr.isatty() else [])],
                debug=self.app.options.debug)

    def _new_svg(self, parsed_args: argparse.Namespace,
                 ) -> contextlib.AbstractContextManager[int | None]:
        """Return the descriptor of the SVG file, if one is wanted."""
        if parsed_args.svg is None:
            return contextlib.nullcontext()
        return files.new_file(parsed_args.svg, parsed_args.force,
                              source=self._archive)

    def _warm_up(self, parsed_args: argparse.Namespace) -> None:
        """Let the formatter load what it loads on demand."""
        formatter: Any = self._formatter_plugins[parsed_args.formatter].obj
        formatter.emit_list(('Name',), [('\u00e4',)], io.StringIO(),
                            parsed_args)

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[tuple[Any, ...]]]:
        from glance_xs_convert import api

        wants_map = parsed_args.map or self._svg is not None
        seen = progress.Progress()
        limits = common.limits(parsed_args)
        with progress_display.shown(seen, self.app.stderr, None):
            if not wants_map:
                found = api.inspect(self._archive, limits=limits,
                                    progress=seen)
                return self._show(parsed_args, tables.of_image(
                    found.layers, found.disks, found.guest))
            result = api.check(self._archive, limits=limits, progress=seen,
                               disk=parsed_args.disk)
            drawing = picture.Picture(result.disk_map, _names(result))
            if self._svg is not None:
                _write(self._svg, drawing.svg())
        return self._show(parsed_args, self._with_map(
            parsed_args, result, drawing))

    def _with_map(self, parsed_args: argparse.Namespace,
                  result: api.CheckResult, drawing: picture.Picture,
                  ) -> tables.Table:
        from glance_xs_convert import api

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
        return table

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


def _write(descriptor: int, content: str) -> None:
    """:raises UnwritableTarget: the operating system refuses"""
    try:
        with open(descriptor, 'w', encoding='utf-8', closefd=False) as file:
            file.write(content)
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'the SVG file cannot be written: {error.strerror}') from error

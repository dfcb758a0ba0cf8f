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

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
import os
import sys
from typing import Any

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli import findings
from glance_xs_convert.cli import picture
from glance_xs_convert.cli import tables
from glance_xs_convert.cli import text_file
from glance_xs_convert import exceptions
from glance_xs_convert import maps
from glance_xs_convert import results
from glance_xs_convert.worker import parent

_VISIBLE = 'Visible'
_EXTENTS = 'Extents'
#: The formats in which a field can be a list.
_STRUCTURED = ('json', 'yaml')


class Inspect(common.Command, lister.Lister):
    """Show the contents of a XenServer image.

    For a chain of VHDs, the command lists the layers from leaf to base; for an
    export (.xva), the disks of the virtual machine. It reads and verifies the
    whole archive.

    Below the table, or as further columns in other formats, are notes on the
    order of the layers, and the members of the archive that do not belong to a
    disk.

    With a map of the disk, an additional column shows how many bytes of the
    disk come from each layer. Zeros that a layer has written belong to it;
    data that no layer has written is a hole. In JSON and YAML, the map is a
    list of the extents that come from each layer, with offset and size in
    bytes.
    """

    _picture: picture.Picture | None = None
    _below: Sequence[str] = ()

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        common.add_image(parser)
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

    def run(self, parsed_args: argparse.Namespace) -> int:
        formatter = parsed_args.formatter
        if parsed_args.map and formatter not in ('table', *_STRUCTURED):
            raise exceptions.UnwritableTarget(
                f'a map cannot be shown in the format {formatter}, only as '
                'table, json or yaml')
        return super().run(parsed_args)

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[tuple[Any, ...]]]:
        with common.open_archive(parsed_args) as archive:
            if not parsed_args.map and parsed_args.svg is None:
                found = self._inspect(archive.fileno(), parsed_args)
                guests = [*filter(None, [found.guest]), *found.other_guests]
                return self._show(parsed_args, tables.of_image(
                    found.layers, found.disks, guests), found)
            with text_file.new(parsed_args.svg, parsed_args.force,
                               archive) as svg:
                result = self._check(archive.fileno(), parsed_args)
                drawing = picture.Picture(
                    _map(result), _names(result),
                    _source(parsed_args.archive))
                if svg is not None:
                    svg.write(drawing.svg())
        return self._show(parsed_args, self._with_map(
            parsed_args, result, drawing), result)

    def _inspect(self, archive: int, parsed_args: argparse.Namespace,
                 ) -> results.Inspection:
        with common.reported(self.app.stderr) as on_progress:
            return parent.inspect(
                archive, common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)

    def _check(self, archive: int, parsed_args: argparse.Namespace,
               ) -> results.CheckResult:
        with common.reported(self.app.stderr) as on_progress:
            return parent.check(
                archive, common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress, with_map=True)

    def _with_map(self, parsed_args: argparse.Namespace,
                  result: results.CheckResult, drawing: picture.Picture,
                  ) -> tables.Table:
        table = tables.of_image(result.layers, [results.FoundDisk(
            result.virtual_size, result.allocated, result.first_sectors,
            result.disk)], [*filter(None, [result.guest])])
        found = _map(result)
        table.add_column(_VISIBLE, map(common.Size, found.sizes()))
        if parsed_args.map:
            if parsed_args.formatter in _STRUCTURED:
                table.add_column(_EXTENTS, _extents(found))
            else:
                self._picture = drawing
        return table

    def _show(self, parsed_args: argparse.Namespace, table: tables.Table,
              found: results.Inspection | results.CheckResult,
              ) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """Show the notes below a table as columns in other formats."""
        if parsed_args.formatter == 'table':
            self._below = [*table.below, *findings.describe_members(
                found.notes, found.ignored)]
        else:
            for field, value in findings.members(
                    found.notes, found.ignored,
                    parsed_args.formatter in _STRUCTURED).items():
                table.add_aside(field.capitalize(),
                                [value] * len(table.rows))
            for name, values in table.aside.items():
                table.add_column(name, values)
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


def _map(result: results.CheckResult) -> maps.DiskMap:
    """Return the map that was requested."""
    if result.disk_map is None:
        raise ValueError('no map was requested')
    return result.disk_map


def _source(archive: str) -> str:
    """Return the name of the archive, for people."""
    return ('standard input' if archive == common.STANDARD_INPUT
            else os.path.basename(archive))


def _names(result: results.CheckResult) -> list[str]:
    """Return the names of a disk's layers."""
    if result.disk is not None:
        return [result.disk.label]
    return [layer.name for layer in result.layers]


def _extents(found: maps.DiskMap) -> list[list[dict[str, int]]]:
    """Return the extents of each layer."""
    extents: list[list[dict[str, int]]] = [[] for _ in range(found.layers)]
    for offset, size, rank in found:
        extents[rank].append({'offset': offset, 'size': size})
    return extents

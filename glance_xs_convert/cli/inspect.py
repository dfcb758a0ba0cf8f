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
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
from typing import Any
from typing import TextIO

from cliff import lister

from glance_xs_convert import api
from glance_xs_convert.cli import common
from glance_xs_convert.cli import picture
from glance_xs_convert.converter.disk import disk_map
from glance_xs_convert.converter.vhd import chain
from glance_xs_convert import exceptions
from glance_xs_convert import files
from glance_xs_convert import text

_COLUMNS = ('Name', 'Type', 'Virtual Size', 'Allocated', 'File Size',
            'Creator', 'UUID', 'Parent UUID', 'Hidden')
_VISIBLE = 'Visible'
_EXTENTS = 'Extents'
#: The formats that have room for a list in a field.
_STRUCTURED = ('json', 'yaml')


class Inspect(common.Command, lister.Lister):
    """Show the chain of VHDs in a XenServer image, from leaf to base.

    The raw disk that comes out has the virtual size of the first one. All
    of the archive is read.

    With a map of the disk, a further column shows how many bytes of the disk
    come from each layer. Zeros that a layer has written belong to it; what no
    layer has written is a hole. In JSON and YAML, the map is a list of the
    extents that come from each layer, as offset and size in bytes.
    """

    _picture: picture.Picture | None = None
    _virtual_size = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        common.add_archive(parser)
        group = parser.add_argument_group('map')
        group.add_argument(
            '--map', action='store_true',
            help='find out which layer each region of the disk comes from, '
                 'and draw it below the table; with -f json or yaml, list '
                 'the extents of each layer')
        group.add_argument(
            '--svg', metavar='FILE',
            help='write the drawing to an SVG file')
        group.add_argument(
            '--force', action='store_true',
            help='overwrite an existing SVG file')
        return parser

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[tuple[Any, ...]]]:
        formatter = parsed_args.formatter
        if parsed_args.map and formatter not in ('table', *_STRUCTURED):
            raise exceptions.UnwritableTarget(
                f'a map cannot be written as {formatter}, only as table, '
                'json or yaml')
        if parsed_args.map or parsed_args.svg is not None:
            return self._inspect_with_map(parsed_args)
        limits = common.limits(parsed_args)
        with common.source(
                parsed_args, self.app.stderr) as (source, progress):
            layers = api.inspect(
                source, limits=limits, progress=progress).layers(limits)
        self._virtual_size = layers[0].current_size
        return _COLUMNS, [_row(layer) for layer in layers]

    def _inspect_with_map(self, parsed_args: argparse.Namespace,
                          ) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        with (_drawing(parsed_args) as svg,
              common.source(parsed_args, self.app.stderr) as (
                  source, progress)):
            result = api.check(source, limits=common.limits(parsed_args),
                               progress=progress)
            drawing = picture.Picture(
                result.disk_map, [layer.name for layer in result.layers])
            svg.write(drawing.svg())
        self._virtual_size = result.virtual_size
        rows = [(*_row(layer), common.Size(size)) for layer, size in zip(
            result.layers, result.disk_map.sizes(), strict=True)]
        if not parsed_args.map:
            return (*_COLUMNS, _VISIBLE), rows
        if parsed_args.formatter in _STRUCTURED:
            return (*_COLUMNS, _VISIBLE, _EXTENTS), [
                (*row, _extents(result.disk_map, rank))
                for rank, row in enumerate(rows)]
        self._picture = drawing
        return (*_COLUMNS, _VISIBLE), rows

    def produce_output(self, parsed_args: argparse.Namespace,
                       column_names: Sequence[str],
                       data: Iterable[Sequence[Any]]) -> int:
        """Below the table, say what it amounts to; data stay data."""
        super().produce_output(parsed_args, column_names, data)
        if parsed_args.formatter == 'table':
            size = self._virtual_size
            stdout = self.app.stdout
            print(f'The raw disk has {text.size(size)} '
                  f'({size} bytes).', file=stdout)
            if self._picture is not None:
                print(f'\n{self._picture.text(stdout)}', file=stdout)
        return 0


def _row(layer: chain.Vhd) -> tuple[Any, ...]:
    footer = layer.footer
    creator = text.printable(footer.creator_application.decode(
        'ascii', 'backslashreplace').strip('\0 '))
    version = (f'{footer.creator_version >> 16}.'
               f'{footer.creator_version & 0xFFFF}')
    return (layer.name, layer.disk_type, common.Size(layer.current_size),
            common.Size(layer.allocated_size), common.Size(layer.file_size),
            f'{creator} {version}',
            str(layer.unique_id), str(layer.parent_unique_id or ''),
            bool(footer.hidden))


def _extents(disk_map: disk_map.DiskMap, rank: int) -> list[dict[str, int]]:
    return [{'offset': offset, 'size': size}
            for offset, size in disk_map.extents(rank)]


@contextlib.contextmanager
def _drawing(parsed_args: argparse.Namespace) -> Iterator[TextIO]:
    """What is written to the SVG file on leaving, if one is wanted.

    :raises TargetExists: the file exists, and may not be overwritten
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

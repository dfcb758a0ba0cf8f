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

"""A map of the disk that shows which layer each region comes from.

The disk is cut into cells that are laid out like text, line by line. A cell
shows the layer that most of it comes from, and how much of it has been
written. The colors are those of Okabe and Ito, which people can tell apart
however they see colors.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import html
import itertools
import os
import shutil
import string
from typing import TextIO

from glance_xs_convert import maps
from glance_xs_convert import text

_SMALLEST_CELL = 4096

#: The characters for the layers where there are no colors.
_LETTERS = string.digits + string.ascii_lowercase + string.ascii_uppercase
_ANY_OTHER = '+'
_HOLE = '.'
_HOLES = 'holes'
#: The characters for cells by how much of them is written, in equal steps.
_SHADES = '░▒▓█'
_FULL = len(_SHADES) - 1

#: Vermilion, orange, yellow, bluish green, sky blue, blue, reddish purple.
_COLORS = ((213, 94, 0), (230, 159, 0), (240, 228, 66), (0, 158, 115),
           (86, 180, 233), (0, 114, 178), (204, 121, 167))

_TEXT_LINES = 16
_TEXT_COLUMNS = (16, 128)
_LABEL_WIDTH = 9

_SVG_LINES, _SVG_COLUMNS = 64, 128
_SVG_CELL = 8
_SVG_MARGIN = 80
_SVG_LINE = 20

#: Names are repeated for each stretch, so longer ones are cut.
_LONGEST_NAME = 80

#: Draws a number of cells of a layer, or of a hole, in one of the shades.
_Paint = Callable[[int | None, int, int], str]


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run of equal cells in one line.

    :ivar first: number of the first cell
    :ivar count: number of cells
    :ivar rank: rank of the layer that most of each cell comes from; None for a
                hole
    :ivar shade: how much of each cell is written, from 0 to ``_FULL``
    """

    first: int
    count: int
    rank: int | None
    shade: int


class Picture:
    """A map of a disk.

    :param names: names of the layers, from the leaf to the base
    :param source: name of the archive
    """

    def __init__(self, disk_map: maps.DiskMap, names: Sequence[str],
                 source: str) -> None:
        self._map = disk_map
        self._source = text.printable(source, _LONGEST_NAME)
        self._names = [text.printable(name, _LONGEST_NAME) for name in names]
        self._sizes = disk_map.sizes()

    def text(self, stream: TextIO) -> str:
        """Return the map in letters, or in colors if the stream can."""
        width = _text_width(stream)
        paint = self._paint_for(stream)
        cell_size = self._cell_size(width * _TEXT_LINES)
        lines = []
        for runs in self._lines(cell_size, width):
            label = text.size(runs[0].first * cell_size)
            row = ''.join(paint(run.rank, run.shade, run.count)
                          for run in runs)
            lines.append(f'{label:>{_LABEL_WIDTH}} {row}')
        lines += ['', f'One cell is {text.size(cell_size)}, one line '
                      f'{text.size(width * cell_size)}.', '']
        width = max(len(name) for name in (*self._names, _HOLES))
        for rank, name, size, share in self._legend():
            lines.append(f'{paint(rank, _FULL, 1)} {name:{width}} '
                         f'{size:>{_LABEL_WIDTH}} {share:>7.1%}')
        return '\n'.join(lines)

    def svg(self) -> str:
        """Return the map as an SVG document."""
        cell_size = self._cell_size(_SVG_COLUMNS * _SVG_LINES)
        lines = self._lines(cell_size, _SVG_COLUMNS)
        width = _SVG_MARGIN + _SVG_COLUMNS * _SVG_CELL + _SVG_LINE
        bottom = _SVG_LINE + len(lines) * _SVG_CELL
        height = bottom + _SVG_LINE * (len(self._names) + 6)
        source = html.escape(self._source)
        return '\n'.join([
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" role="img" '
            'font-family="sans-serif" font-size="12">',
            f'<title>{source}: which layer each region of the disk comes from'
            '</title>',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<text x="{_SVG_MARGIN}" y="{_SVG_LINE - 6}" '
            f'font-weight="bold">{source}</text>',
            *self._svg_disk(lines, cell_size),
            *self._svg_legend(bottom + 2 * _SVG_LINE, cell_size),
            '</svg>', ''])

    def _cell_size(self, most: int) -> int:
        """Return the smallest cell size for at most so many cells."""
        cell_size = _SMALLEST_CELL
        while -(-self._map.size // cell_size) > most:
            cell_size *= 2
        return cell_size

    def _lines(self, cell_size: int, width: int) -> list[list[_Run]]:
        cells = [_rank_and_shade(sizes, cell_size)
                 for sizes in self._map.cells(cell_size)]
        lines = []
        for start in range(0, len(cells), width):
            runs = []
            first = start
            for (rank, shade), same in itertools.groupby(
                    cells[start:start + width]):
                count = len(list(same))
                runs.append(_Run(first, count, rank, shade))
                first += count
            lines.append(runs)
        return lines

    def _legend(self) -> Iterator[tuple[int | None, str, str, float]]:
        """Yield rank, name, size and share of each layer and the holes."""
        holes = self._map.size - sum(self._sizes)
        ranks = [*range(len(self._names)), None]
        for rank, name, size in zip(ranks, (*self._names, _HOLES),
                                    (*self._sizes, holes), strict=True):
            yield rank, name, text.size(size), size / self._map.size

    def _paint_for(self, stream: TextIO) -> _Paint:
        if not _shows_colors(stream):
            return _letters
        can_shade = _can_encode(stream, _SHADES)

        def paint(rank: int | None, shade: int, count: int) -> str:
            symbols = _letters(rank, shade, count)
            if rank is None:
                return symbols
            if can_shade:
                symbols = _SHADES[shade] * count
            return f'{_escape(self._color(rank))}{symbols}\x1b[0m'

        return paint

    def _color(self, rank: int) -> tuple[int, int, int]:
        """Return a layer's color: one of its own, if there are enough."""
        layers = len(self._names)
        if 1 < layers <= len(_COLORS):
            rank = rank * (len(_COLORS) - 1) // (layers - 1)
        return _COLORS[rank % len(_COLORS)]

    def _svg_disk(self, lines: list[list[_Run]], cell_size: int,
                  ) -> Iterator[str]:
        for number, runs in enumerate(lines):
            top = _SVG_LINE + number * _SVG_CELL
            if number % 8 == 0:
                label = text.size(runs[0].first * cell_size)
                yield (f'<text x="{_SVG_MARGIN - 8}" y="{top + _SVG_CELL}" '
                       f'text-anchor="end">{label}</text>')
            for run in runs:
                yield self._svg_run(run, top, cell_size)

    def _svg_run(self, run: _Run, top: int, cell_size: int) -> str:
        left = _SVG_MARGIN + run.first % _SVG_COLUMNS * _SVG_CELL
        start = run.first * cell_size
        end = min(start + run.count * cell_size, self._map.size)
        name = _HOLES if run.rank is None else self._names[run.rank]
        return (f'<rect x="{left}" y="{top}" '
                f'width="{run.count * _SVG_CELL}" height="{_SVG_CELL}" '
                f'{self._svg_fill(run.rank, run.shade)}>'
                f'<title>{html.escape(name)}: '
                f'{text.size(start)} to {text.size(end)}'
                '</title></rect>')

    def _svg_fill(self, rank: int | None, shade: int) -> str:
        if rank is None:
            return 'fill="#eeeeee"'
        red, green, blue = self._color(rank)
        return (f'fill="#{red:02x}{green:02x}{blue:02x}" '
                f'fill-opacity="{(shade + 1) / len(_SHADES)}"')

    def _svg_legend(self, top: int, cell_size: int) -> Iterator[str]:
        for rank, name, size, share in self._legend():
            yield (f'<rect x="{_SVG_MARGIN}" y="{top - 10}" width="12" '
                   f'height="12" {self._svg_fill(rank, _FULL)}/>')
            yield (f'<text x="{_SVG_MARGIN + _SVG_LINE}" y="{top}">'
                   f'{html.escape(name)}: {size}, {share:.1%}</text>')
            top += _SVG_LINE
        yield (f'<text x="{_SVG_MARGIN}" y="{top}">One cell is '
               f'{text.size(cell_size)}, one line '
               f'{text.size(_SVG_COLUMNS * cell_size)}.</text>')
        yield from self._svg_shades(top + _SVG_LINE)
        if len(self._names) > len(_COLORS):
            top += 2 * _SVG_LINE
            yield (f'<text x="{_SVG_MARGIN}" y="{top}">The colors repeat '
                   f'after {len(_COLORS)} layers.</text>')

    def _svg_shades(self, top: int) -> Iterator[str]:
        """Yield what explains how opaque the cells are."""
        left = _SVG_MARGIN
        for shade in range(len(_SHADES)):
            yield (f'<rect x="{left}" y="{top - 10}" width="12" height="12" '
                   f'{self._svg_fill(0, shade)}/>')
            yield (f'<text x="{left + _SVG_LINE}" y="{top}">up to '
                   f'{(shade + 1) / len(_SHADES):.0%}</text>')
            left += 5 * _SVG_LINE
        yield (f'<text x="{left}" y="{top}">of a cell written: the more, the '
               'stronger its color.</text>')


def _rank_and_shade(sizes: list[int], cell_size: int,
                    ) -> tuple[int | None, int]:
    """Return the rank of a cell's layer and the cell's shade.

    :param sizes: number of bytes from each layer
    """
    written = sum(sizes)
    if not written:
        return None, 0
    return sizes.index(max(sizes)), (written * len(_SHADES) - 1) // cell_size


def _letters(rank: int | None, shade: int, count: int) -> str:
    if rank is None:
        return _HOLE * count
    return (_LETTERS[rank:rank + 1] or _ANY_OTHER) * count


def _text_width(stream: TextIO) -> int:
    """Return the cells per line, a power of two that fits the terminal."""
    columns = shutil.get_terminal_size().columns
    if stream.isatty():
        columns = os.get_terminal_size(stream.fileno()).columns or columns
    least, most = _TEXT_COLUMNS
    space = max(least, min(most, columns - _LABEL_WIDTH - 1))
    return 1 << (space.bit_length() - 1)


def _shows_colors(stream: TextIO) -> bool:
    return (stream.isatty() and not os.environ.get('NO_COLOR')
            and os.environ.get('TERM', 'dumb') != 'dumb')


def _can_encode(stream: TextIO, symbols: str) -> bool:
    try:
        symbols.encode(stream.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escape(color: tuple[int, int, int]) -> str:
    """Return the terminal's code for a color (ECMA-48, ISO 8613-6)."""
    if os.environ.get('COLORTERM') in ('truecolor', '24bit'):
        return '\x1b[38;2;{};{};{}m'.format(*color)
    red, green, blue = (round(part * 5 / 255) for part in color)
    return f'\x1b[38;5;{16 + 36 * red + 6 * green + blue}m'

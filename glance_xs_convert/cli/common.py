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

"""Code that the commands share."""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import io
import logging
import signal
import sys
from typing import Any
from typing import BinaryIO
from typing import TextIO
from typing import TYPE_CHECKING

from cliff import columns
from cliff import command

from glance_xs_convert.cli import progress_display
from glance_xs_convert.cli import safe_output
from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import publish
from glance_xs_convert import text
from glance_xs_convert import units
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

if TYPE_CHECKING:
    _IntColumn = columns.FormattableColumn[int]
    TextColumn = columns.FormattableColumn[str]
    ListColumn = columns.FormattableColumn[Sequence[str]]
    DictColumn = columns.FormattableColumn[Mapping[str, str]]
else:
    _IntColumn = TextColumn = ListColumn = DictColumn = (
        columns.FormattableColumn)

STANDARD_INPUT = '-'

#: The names of a table's columns, and its rows.
Listing = tuple[Sequence[str], Iterable[Sequence[Any]]]


class Command(command.Command):
    """A command of this package."""

    def get_epilog(self) -> str:
        """Return nothing, instead of the package that provides the command.

        To find it, cliff would read the metadata of all installed packages.
        """
        return ''

    def _load_hooks(self) -> None:
        """Look for no hooks, which cliff would do in the same way."""
        self._hooks = []

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        self.add_options(parser)
        return parser

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options."""

    def produce_output(self, parsed_args: argparse.Namespace,
                       column_names: Sequence[str], data: Iterable[Any],
                       ) -> int:
        """Output a table or an object in a form that is safe to show."""
        display: Any = super()
        return int(display.produce_output(
            parsed_args, column_names,
            safe_output.cells(data, parsed_args.formatter)))


class Size(_IntColumn):
    """A number of bytes: plain for programs, with a unit for people."""

    def human_readable(self) -> str:
        return text.size(self._value)


def add_archive(parser: argparse.ArgumentParser,
                otherwise: str = f'{STANDARD_INPUT} for standard input',
                ) -> None:
    """Add the options for the archive and its limits.

    :param otherwise: what else the command takes
    """
    defaults = image_limits.Limits()
    parser.add_argument(
        'archive', metavar='ARCHIVE',
        help='the XenServer image: a tar archive of VHDs, an export (.xva), '
             'an OVF package (.ova) or a single VHD, plain or compressed with '
             f'gzip, bzip2, xz or zstandard; {otherwise}')
    group = parser.add_argument_group(
        'limits', 'The command refuses images beyond these limits. The '
                  'defaults are those of the import plugin.')
    group.add_argument(
        '--max-virtual-size', metavar='GIB', type=positive,
        default=defaults.max_virtual_size // units.GIB,
        help='the size of the largest disk, in GiB (default: '
             f'{defaults.max_virtual_size // units.GIB})')
    group.add_argument(
        '--max-chain-length', metavar='LAYERS', type=positive,
        default=defaults.max_chain_length,
        help='the length of the longest chain of VHDs (default: '
             f'{defaults.max_chain_length})')


def add_image(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that reads an image on this computer."""
    add_archive(parser)
    parser.add_argument(
        '--disk', metavar='DISK',
        help='the disk to read if there are several: its device or its '
             'number, for example xvdb or 1; in an OVF package also its name')
    add_sandbox(parser)


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Add the option for the converter's sandbox."""
    parser.add_argument(
        '--sandbox', choices=protocol.SANDBOXES,
        default=protocol.BEST_EFFORT,
        help='how strictly to confine the process that reads the image: '
             'required fails if the host cannot confine it fully, best_effort '
             'confines it as far as the host can, and off does not confine '
             f'it (default: {protocol.BEST_EFFORT})')


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the options for Glance's configuration."""
    parser.add_argument(
        '--config-file', metavar='PATH', action='append', default=[],
        help='a configuration file of Glance, instead of those in '
             '/etc/glance or $OS_GLANCE_CONFIG_DIR; can be repeated')
    parser.add_argument(
        '--config-dir', metavar='DIR', action='append', default=[],
        help='a directory of such files, instead of glance.conf.d and '
             'glance-api.conf.d; can be repeated')


def positive(argument: str) -> int:
    """Convert an argument to a positive number.

    :raises ArgumentTypeError: it is not a positive number
    """
    if not _is_number(argument) or not int(argument):
        raise argparse.ArgumentTypeError(
            f'{argument!r} is not a positive whole number')
    return int(argument)


def whole_number(argument: str) -> int:
    """Convert an argument to a number that is not negative.

    :raises ArgumentTypeError: it is not such a number
    """
    if not _is_number(argument):
        raise argparse.ArgumentTypeError(f'{argument!r} is not a whole number')
    return int(argument)


def _is_number(argument: str) -> bool:
    """Whether an argument is ASCII digits, as many as a number has."""
    return argument.isascii() and argument.isdecimal() and len(argument) < 30


def limits(parsed_args: argparse.Namespace) -> image_limits.Limits:
    return image_limits.Limits(
        max_virtual_size=parsed_args.max_virtual_size * units.GIB,
        max_chain_length=parsed_args.max_chain_length)


def request(parsed_args: argparse.Namespace) -> protocol.Request:
    """Make the request to the process that reads the image."""
    return protocol.Request(
        limits(parsed_args), disk=parsed_args.disk,
        sandbox=parsed_args.sandbox)


def open_archive(parsed_args: argparse.Namespace) -> BinaryIO:
    """Open the archive.

    :raises UnreadableSource: it cannot be opened
    """
    if parsed_args.archive == STANDARD_INPUT:
        return _standard_input()
    return publish.open_source(parsed_args.archive)


@contextlib.contextmanager
def reported(stream: TextIO, wanted: bool | None = None,
             ) -> Iterator[parent.OnProgress]:
    """Show the progress of the process that reads the archive.

    :param stream: stream on which to show the progress
    :param wanted: whether to show it; None to show it if the stream is a
                   terminal
    :returns: a function to call with the progress
    """
    seen = conversion_progress.Progress()
    keep_silent()
    with progress_display.shown(seen, stream, wanted):
        yield lambda latest: vars(seen).update(dataclasses.asdict(latest))


def keep_silent() -> None:
    """Do not log what the sandbox lacks here, which ``status`` reports."""
    logging.getLogger(parent.__name__).setLevel(logging.ERROR)


def flush() -> int:
    """Flush standard output at the end of a command.

    :returns: exit status: not 0 if the output cannot be written
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f'standard output cannot be written: {error.strerror}',
              file=sys.stderr)
        return 1
    return 0


def _standard_input() -> BinaryIO:
    """Return standard input without Python's own buffered reader.

    A thread may still be reading from it when the process ends.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        raise exceptions.UnreadableSource(
            'standard input is a terminal, not an archive')
    try:
        return io.FileIO(0, closefd=False)
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'standard input cannot be read: {error.strerror}') from error

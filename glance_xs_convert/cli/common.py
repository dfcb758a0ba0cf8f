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
from collections.abc import Iterator
import contextlib
import dataclasses
import io
import logging
import signal
import sys
from typing import BinaryIO
from typing import TextIO
from typing import TYPE_CHECKING

from cliff import columns
from cliff import command

from glance_xs_convert.cli import progress_display
from glance_xs_convert import exceptions
from glance_xs_convert import files
from glance_xs_convert import limits as limits_
from glance_xs_convert import progress
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

if TYPE_CHECKING:
    _IntColumn = columns.FormattableColumn[int]
else:
    _IntColumn = columns.FormattableColumn

_STANDARD_INPUT = '-'


class Command(command.Command):
    """A command of this package."""

    def get_epilog(self) -> str:
        """Return nothing, instead of the package that provides the command.

        To find it, cliff would read the metadata of all installed packages.
        """
        return ''


class Size(_IntColumn):
    """A number of bytes: plain for programs, with a unit for people."""

    def human_readable(self) -> str:
        return text.size(self._value)


def add_archive(parser: argparse.ArgumentParser) -> None:
    """Add the options for the archive and its limits."""
    defaults = limits_.Limits()
    parser.add_argument(
        'archive', metavar='ARCHIVE',
        help='the XenServer image: a tar archive of VHDs or an export '
             '(.xva), plain or compressed with gzip or zstandard, or a '
             f'single VHD; {_STANDARD_INPUT} for standard input')
    group = parser.add_argument_group(
        'limits', 'The command refuses images beyond these limits. The '
                  'defaults are those of the import plugin.')
    group.add_argument(
        '--max-virtual-size', metavar='GIB', type=_positive,
        default=defaults.max_virtual_size // limits_.GIB,
        help='the size of the largest disk, in GiB (default: %(default)s)')
    group.add_argument(
        '--max-chain-length', metavar='LAYERS', type=_positive,
        default=defaults.max_chain_length,
        help='the length of the longest chain of VHDs (default: '
             '%(default)s)')


def add_disk(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses a disk."""
    parser.add_argument(
        '--disk', metavar='DISK',
        help='the disk to read if an export holds several: its device or its '
             'number, for example xvdb or 1')


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Add the option for the converter's sandbox."""
    parser.add_argument(
        '--sandbox', choices=protocol.SANDBOXES,
        default=protocol.BEST_EFFORT,
        help='how strictly to confine the process that reads the image: '
             'required fails if the host cannot confine it fully, best_effort '
             'confines it as far as the host can, and off does not confine '
             'it (default: %(default)s)')


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add where Glance's configuration is."""
    parser.add_argument(
        '--config-file', metavar='PATH', action='append', default=[],
        help='a configuration file of Glance, instead of those in '
             '/etc/glance or $OS_GLANCE_CONFIG_DIR; can be repeated')
    parser.add_argument(
        '--config-dir', metavar='DIR', action='append', default=[],
        help='a directory of such files, instead of glance.conf.d and '
             'glance-api.conf.d; can be repeated')


def _positive(argument: str) -> int:
    """Convert an argument to a positive number.

    :raises ArgumentTypeError: it is not a positive number
    """
    try:
        number = int(argument)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f'{argument!r} is not a positive whole number')
    return number


def limits(parsed_args: argparse.Namespace) -> limits_.Limits:
    return limits_.Limits(
        max_virtual_size=parsed_args.max_virtual_size * limits_.GIB,
        max_chain_length=parsed_args.max_chain_length)


def request(parsed_args: argparse.Namespace) -> protocol.Request:
    """Make the request to the process that reads the image."""
    return protocol.Request(
        limits(parsed_args), disk=parsed_args.disk,
        sandbox=parsed_args.sandbox)


@contextlib.contextmanager
def opened(parsed_args: argparse.Namespace) -> Iterator[BinaryIO]:
    """Open the archive.

    :raises UnreadableSource: it cannot be opened
    """
    if parsed_args.archive == _STANDARD_INPUT:
        yield _standard_input()
    else:
        with files.opened(parsed_args.archive) as archive:
            yield archive


@contextlib.contextmanager
def reported(stream: TextIO, wanted: bool | None = None,
             ) -> Iterator[parent.OnProgress]:
    """Show the progress of the process that reads the archive.

    :param stream: stream on which to show the progress
    :param wanted: whether to show it; None to show it if the stream is a
                   terminal
    :returns: a function to call with the progress
    """
    seen = progress.Progress()
    keep_silent()
    with progress_display.shown(seen, stream, wanted):
        yield lambda latest: vars(seen).update(dataclasses.asdict(latest))


def keep_silent() -> None:
    """Do not log what the host lacks for the sandbox: ``status`` reports."""
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

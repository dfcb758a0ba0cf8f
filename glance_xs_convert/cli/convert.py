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

"""``glance-xs-convert convert``."""

import argparse
import os
import signal
import stat
import sys
import time
from typing import BinaryIO
from typing import IO

from glance_xs_convert.cli import all_disks
from glance_xs_convert.cli import common
from glance_xs_convert.cli import findings
from glance_xs_convert.cli import guest_options
from glance_xs_convert import exceptions
from glance_xs_convert import publish
from glance_xs_convert import results
from glance_xs_convert import text
from glance_xs_convert import units
from glance_xs_convert.worker import parent

#: How the files of all disks can be listed.
_LIST_FORMATS = ('table', 'json')
_STANDARD_OUTPUT = '-'
_COPY_SIZE = units.MIB


class Convert(common.Command):
    """Convert a XenServer image to a raw disk, or to one for each disk.

    The raw disk is sparse, and exactly as large as the disk that the guest
    saw. It gets its name once the whole archive has been read and verified.
    To standard output, the command writes it after that, with zeros for holes.
    Notes on what the disk rests on, such as an order of layers that their
    names alone give, go to standard error.

    With --all-disks, the command converts every disk of an export or an OVA in
    one pass. It names each file after its device, for example xvda.raw, and
    lists the files in a table, or as JSON with -f json. Either all files get
    their names, or none does.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        common.add_image(parser)
        parser.add_argument(
            'raw', metavar='RAW', nargs='?',
            help='the raw disk to write; - for standard output, which must '
                 'not be a terminal')
        parser.add_argument(
            '--all-disks', metavar='DIR',
            help='write all disks to this directory, instead of RAW')
        parser.add_argument(
            '--force', action='store_true',
            help='overwrite RAW, or the files in DIR, if they exist')
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            '--progress', action='store_true', default=None,
            help='show the progress even if standard error is not a terminal: '
                 'one line every few seconds')
        group.add_argument(
            '--quiet', dest='progress', action='store_false',
            help='show neither the progress nor the result')
        parser.add_argument(
            '--adapt', action='store_true',
            help='adapt the guest on RAW to KVM afterwards, see the command '
                 'adapt; if that fails, RAW is the disk as it was')
        parser.add_argument(
            '-f', '--format', choices=('table', 'json', 'yaml', 'value'),
            default='table',
            help='how to show what adapting found and did, or to list the '
                 'files of all disks, for which there are only table and json '
                 '(default: table)')
        guest_options.add_options(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        _check_arguments(parsed_args)
        if not self.app.options.verbose_level:
            parsed_args.progress = False
        if parsed_args.raw == _STANDARD_OUTPUT:
            return self._convert_to_output(parsed_args)
        self._convert(parsed_args)
        if parsed_args.adapt:
            self._adapt(parsed_args)
        return 0

    def _convert_to_output(self, parsed_args: argparse.Namespace) -> int:
        """Convert a disk to a scratch file, and copy that to the output.

        :returns: exit status: not 0 if nobody reads the output any more
        """
        output = _standard_output()
        wanted = parsed_args.progress
        with (common.open_archive(parsed_args) as archive,
              publish.scratch_file() as scratch):
            _check_not_same(archive, output)
            with common.reported(self.app.stderr, wanted) as on_progress:
                result = parent.convert(
                    archive.fileno(), scratch.fileno(),
                    common.request(parsed_args),
                    python=parent.interpreter(sys.executable),
                    on_progress=on_progress)
            if wanted is not False:
                self._print_notes(result)
            return _copy(scratch, output, result.virtual_size)

    def _print_notes(self, result: results.ConversionResult) -> None:
        """Print the notes on what the disk rests on."""
        for sentence in findings.describe_members(result.notes, ()):
            print(sentence, file=self.app.stderr)

    def _adapt(self, parsed_args: argparse.Namespace) -> None:
        """Adapt the guest on the raw disk, and show what was done."""
        from glance_xs_convert.cli import adapt

        command = adapt.Adapt(self.app, None)
        chosen = command.get_parser('adapt').parse_args(
            [parsed_args.raw, '-f', parsed_args.format])
        for name, value in vars(parsed_args).items():
            if name in chosen and name not in ('disk', 'formatter'):
                setattr(chosen, name, value)
        command.run(chosen)

    def _convert(self, parsed_args: argparse.Namespace) -> None:
        wanted = parsed_args.progress
        if parsed_args.all_disks is not None:
            self._convert_all(parsed_args, wanted)
            return
        start = time.monotonic()
        with (common.open_archive(parsed_args) as archive,
              common.reported(self.app.stderr, wanted) as on_progress,
              publish.new_file(parsed_args.raw, parsed_args.force,
                               source=archive) as target):
            result = parent.convert(
                archive.fileno(), target, common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)
        if wanted is not False:
            self._print_notes(result)
        # What adapting prints may be for a program.
        is_mine = not (parsed_args.adapt and (
            parsed_args.properties or parsed_args.format != 'table'))
        if wanted is not False and is_mine:
            seconds = time.monotonic() - start
            print(_summary(parsed_args.raw, result, seconds),
                  file=self.app.stdout)

    def _convert_all(self, parsed_args: argparse.Namespace,
                     wanted: bool | None) -> None:
        with (common.open_archive(parsed_args) as archive,
              common.reported(self.app.stderr, wanted) as on_progress,
              publish.NewFiles(parsed_args.all_disks, results.MOST_DISKS,
                               parsed_args.force, archive) as files):
            result = parent.convert_all(
                archive.fileno(), files.descriptors,
                common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)
            names = all_disks.file_names(result.disks)
            files.publish({disk.target: name for disk, name in zip(
                result.disks, names)})
        if wanted is not False:
            print(all_disks.listed(result, names, parsed_args.format),
                  file=self.app.stdout)


def _check_arguments(parsed_args: argparse.Namespace) -> None:
    """Check that the arguments do not contradict each other.

    :raises UnwritableTarget: they do
    """
    if '' in (parsed_args.raw, parsed_args.all_disks):
        raise exceptions.UnwritableTarget(
            'the target has an empty name: give the name of a '
            + ('directory' if parsed_args.raw is None else 'file'))
    if (parsed_args.raw is None) == (parsed_args.all_disks is None):
        raise exceptions.UnwritableTarget(
            'give either a file for the raw disk or, with --all-disks, a '
            'directory for the raw disks')
    if parsed_args.all_disks is not None and parsed_args.disk is not None:
        raise exceptions.UnwritableTarget(
            '--disk chooses one disk, and --all-disks means all of them: give '
            'only one of the two')
    if parsed_args.raw == _STANDARD_OUTPUT and parsed_args.adapt:
        raise exceptions.UnwritableTarget(
            '--adapt changes the guest on a disk in a file, not on standard '
            'output')
    if parsed_args.all_disks is not None and parsed_args.adapt:
        raise exceptions.UnwritableTarget(
            '--adapt adapts the guest on RAW, and --all-disks writes other '
            'files: give the command adapt the one to boot from afterwards')
    if parsed_args.all_disks is not None and (
            parsed_args.format not in _LIST_FORMATS):
        raise exceptions.UnwritableTarget(
            f'the files cannot be listed in the format {parsed_args.format}, '
            'so give table or json')


def _standard_output() -> int:
    """Return the descriptor of standard output.

    :raises UnwritableTarget: it is closed, or a terminal
    """
    descriptor = 1
    if sys.stdout is None:
        raise exceptions.UnwritableTarget('standard output is closed')
    if os.isatty(descriptor):
        raise exceptions.UnwritableTarget(
            'standard output is a terminal, which cannot show a disk: send it '
            'to a pipe or a file')
    return descriptor


def _check_not_same(archive: BinaryIO, output: int) -> None:
    """Check that the archive is not the file to write.

    :raises UnwritableTarget: it is
    """
    status = os.fstat(output)
    if stat.S_ISREG(status.st_mode) and os.path.samestat(
            status, os.fstat(archive.fileno())):
        raise exceptions.UnwritableTarget(
            'standard output is the archive itself')


def _copy(scratch: IO[bytes], output: int, size: int) -> int:
    """Copy a disk from its beginning to its end, holes as zeros.

    :returns: exit status: that of a broken pipe if nobody reads any more
    :raises UnwritableTarget: the operating system refuses
    """
    offset = 0
    try:
        while offset < size:
            data = memoryview(os.pread(scratch.fileno(), _COPY_SIZE, offset))
            offset += len(data)
            while data:
                data = data[os.write(output, data):]
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        raise exceptions.UnwritableTarget(
            'standard output, to which part of the disk was written, cannot '
            f'be written: {error.strerror}') from error
    return 0


def _summary(raw: str, result: results.ConversionResult,
             seconds: float) -> str:
    size = result.virtual_size
    allocated = os.stat(raw).st_blocks * units.STAT_BLOCK
    return (f'{raw}: {text.exact_size(size)}, '
            f'{text.size(allocated)} of it allocated\n'
            f'made from {_origin(result)} in {seconds:.1f} seconds')


def _origin(result: results.ConversionResult) -> str:
    if result.disk is not None:
        return f'disk {result.disk.label} of an export'
    return text.count(result.layer_count, 'layer')

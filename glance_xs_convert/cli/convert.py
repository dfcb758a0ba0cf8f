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
import sys
import time

from glance_xs_convert.cli import common
from glance_xs_convert import files
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

#: The unit of ``st_blocks``, whatever the file system's block size.
_STAT_BLOCK = 512


class Convert(common.Command):
    """Convert a XenServer image to a raw disk.

    The raw disk is sparse, and exactly as large as the disk that the guest
    saw. It gets its name once the whole archive has been read and verified.
    """

    def get_epilog(self) -> str:
        return ''

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        common.add_archive(parser)
        common.add_disk(parser)
        common.add_sandbox(parser)
        parser.add_argument(
            'raw', metavar='RAW', help='the raw disk to write')
        parser.add_argument(
            '--force', action='store_true', help='overwrite RAW if it exists')
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            '--progress', action='store_true', default=None,
            help='show the progress even if standard error is not a terminal: '
                 'one line every few seconds')
        group.add_argument(
            '--quiet', dest='progress', action='store_false',
            help='show neither the progress nor the result')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        wanted = parsed_args.progress
        if not self.app.options.verbose_level:
            wanted = False
        start = time.monotonic()
        with (common.opened(parsed_args) as archive,
              common.reported(self.app.stderr, wanted) as on_progress,
              files.new_file(parsed_args.raw, parsed_args.force,
                             source=archive) as target):
            result = parent.convert(
                archive.fileno(), target, common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)
        if wanted is not False:
            seconds = time.monotonic() - start
            print(_summary(parsed_args.raw, result, seconds),
                  file=self.app.stdout)


def _summary(raw: str, result: protocol.Outcome, seconds: float,
             ) -> str:
    size = result.virtual_size
    allocated = os.stat(raw).st_blocks * _STAT_BLOCK
    return (f'{raw}: {text.size(size)} ({size} bytes), '
            f'{text.size(allocated)} of it allocated\n'
            f'made from {_origin(result)} in {seconds:.1f} seconds')


def _origin(result: protocol.Outcome) -> str:
    if result.disk is not None:
        return f'disk {result.disk} of an export'
    return text.count(result.layers, 'layer')

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

from cliff import command

from glance_xs_convert import convert


class Convert(command.Command):
    """Convert a XenServer image to a raw disk.

    The raw disk is sparse, and exactly as large as the disk that the guest
    saw. It gets its name when all of the archive was found to be sound.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'archive', metavar='ARCHIVE',
            help='the XenServer image: a tar archive of VHDs, gzipped or not')
        parser.add_argument(
            'raw', metavar='RAW', help='the raw disk to be written')
        parser.add_argument(
            '--force', action='store_true', help='overwrite an existing RAW')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        convert.convert(parsed_args.archive, parsed_args.raw,
                        overwrite=parsed_args.force)

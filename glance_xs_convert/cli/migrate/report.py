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

"""``glance-xs-convert migrate report``."""

import argparse
import datetime
from typing import Any

from glance_xs_convert.cli import common
from glance_xs_convert.cli.migrate import command
from glance_xs_convert.cli import text_file
from glance_xs_convert.migrate import page
from glance_xs_convert.migrate import report

#: How many characters of a checksum are shown to people.
_SHOWN_SUM = 16


class Report(command.ImagesCommand):
    """Report the migrated images: IDs, sizes, times and checksums.

    The command takes all of this from Glance, so it covers all runs from all
    computers.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            '--html', metavar='FILE',
            help='write a self-contained HTML page, which also has the images '
                 'that are not converted, and the reasons')
        parser.add_argument(
            '--force', action='store_true',
            help='overwrite the HTML page if it exists')

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        with text_file.new(parsed_args.html, parsed_args.force) as target:
            cloud = self.connect(parsed_args)
            rows = command.inventory_of(cloud, parsed_args).rows()
            if target is not None:
                now = datetime.datetime.now().astimezone()
                page.write(target, rows, cloud.name,
                           now.strftime('%Y-%m-%d %H:%M %Z'))
        return report.FIELDS, [
            tuple(_shown(name, getattr(line, name))
                  for name in report.FIELDS) for line in report.lines(rows)]


class _Sum(common.TextColumn):
    """An algorithm and a checksum, of which people see the beginning."""

    def human_readable(self) -> str:
        return self._value[:_SHOWN_SUM] + '…' if self._value else ''


def _shown(name: str, value: Any) -> Any:
    if name.endswith('sum'):
        return _Sum(value)
    if name in ('archive', 'disk') and value is not None:
        return common.Size(value)
    return value

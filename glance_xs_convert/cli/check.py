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

"""``glance-xs-convert check``."""

import argparse
import sys
from typing import Any

from cliff import show

from glance_xs_convert.cli import common
from glance_xs_convert.cli import findings
from glance_xs_convert import units
from glance_xs_convert.worker import parent


class Check(common.Command, show.ShowOne):
    """Check whether Glance can import a XenServer image.

    The command reads the whole archive and writes nothing. The exit status is
    1 if the image would be refused.

    The staging space is the space that an import needs for the archive and the
    raw disk together. It can be more than they occupy at the end, because the
    converter does not begin a layer unless there is space for all of its
    blocks. The members of the archive that do not belong to the disk are
    listed as ignored.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        common.add_image(parser)

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        with (common.open_archive(parsed_args) as archive,
              common.reported(self.app.stderr) as on_progress):
            result = parent.check(
                archive.fileno(), common.request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)
        fields = {
            'importable': True,
            'layers': result.layer_count,
            'virtual_size': common.Size(result.virtual_size),
            'min_disk': -(-result.virtual_size // units.GIB),
            'archive_size': common.Size(result.source_size),
            'raw_allocated': common.Size(result.allocated),
            'staging_space': common.Size(result.source_size + result.room),
            **findings.first_sectors(result.first_sectors),
        }
        hints = [*findings.hints_on_disk(result.first_sectors),
                 *findings.hints_on_guest(result.guest)]
        if hints:
            fields['hint'] = '; '.join(hints)
        fields.update(findings.members(
            result.notes, result.ignored,
            parsed_args.formatter in ('json', 'yaml')))
        return tuple(fields), tuple(fields.values())

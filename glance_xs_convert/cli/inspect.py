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
from typing import Any

from cliff import lister

from glance_xs_convert import chain
from glance_xs_convert import convert
from glance_xs_convert import limits

_COLUMNS = ('Name', 'Type', 'Virtual Size', 'Allocated', 'File Size',
            'Creator', 'UUID', 'Parent UUID', 'Hidden')


class Inspect(lister.Lister):
    """Show the chain of VHDs in a XenServer image, from leaf to base.

    The raw disk that comes out has the virtual size of the first one. All
    of the archive is read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'archive', metavar='ARCHIVE',
            help='the XenServer image: a tar archive of VHDs, gzipped or not')
        return parser

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        survey = convert.inspect(parsed_args.archive)
        layers = survey.layers(limits.Limits())
        return _COLUMNS, [_row(layer) for layer in layers]


def _row(layer: chain.Layer) -> tuple[Any, ...]:
    footer = layer.footer
    creator = footer.creator_application.decode('ascii', 'backslashreplace')
    version = (f'{footer.creator_version >> 16}.'
               f'{footer.creator_version & 0xFFFF}')
    return (layer.name, layer.disk_type, layer.current_size,
            layer.allocated_size, layer.file_size,
            f'{creator.strip(chr(0) + " ")} {version}',
            str(layer.unique_id), str(layer.parent_unique_id or ''),
            bool(footer.hidden))

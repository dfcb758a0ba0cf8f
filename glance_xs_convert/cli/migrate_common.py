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

"""What the commands that migrate have in common."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import logging
import sys
from typing import Any
from typing import TYPE_CHECKING

from glance_xs_convert.cli import common
from glance_xs_convert import exceptions
from glance_xs_convert import text

if TYPE_CHECKING:
    from glance_xs_convert.migrate import candidates
    from glance_xs_convert.migrate import cloud as cloud_

COLUMNS = ('id', 'name', 'project', 'size', 'state', 'new_id', 'reason')

#: These log every repeated request.
_CHATTY = ('keystoneauth', 'openstack', 'urllib3')


_CLOUD_HELP = (
    'Like other OpenStack clients, the command finds the cloud through '
    'clouds.yaml and environment variables such as OS_CLOUD. It takes the '
    'same options as they do, such as --os-cloud, --os-region-name, '
    '--os-project-name and --insecure.')


class CloudCommand(common.Command):
    """A command that talks to a cloud."""

    status = 0

    def get_epilog(self) -> str:
        return _CLOUD_HELP

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        self._cloud_options: set[str] = set()
        try:
            from openstack import config
        except ImportError:
            return parser
        # A separate parser shows the names of openstacksdk's options, because
        # some of our own options have the same names.
        for each in (parser, own := argparse.ArgumentParser()):
            config.OpenStackConfig().register_argparse_arguments(
                each, sys.argv[1:], ['image'])
        self._cloud_options = set(vars(own.parse_known_args([])[0]))
        _hide(parser, self._cloud_options)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        return int(super().run(parsed_args) or self.status)

    def connect(self, parsed_args: argparse.Namespace) -> 'cloud_.Cloud':
        """Connect to the cloud from the options, environment or file.

        :raises XsConvertError: the cloud is unknown or refuses the login
        """
        try:
            from openstack import config
            from openstack import connection
            from openstack import exceptions as sdk_exceptions
        except ImportError:
            raise exceptions.XsConvertError(
                'openstacksdk is not installed: pip install '
                'glance-xs-convert[migrate]') from None
        from glance_xs_convert.migrate import cloud as cloud_
        from glance_xs_convert.migrate import patience

        if not self.app.options.debug:
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        options = argparse.Namespace(**{
            name: value for name, value in vars(parsed_args).items()
            if name in self._cloud_options})
        try:
            region = config.OpenStackConfig().get_one(argparse=options)
            cloud = cloud_.Cloud(connection.Connection(
                config=region, app_name='glance-xs-convert'),
                patience.Clock())
        except (sdk_exceptions.SDKException, OSError) as error:
            raise exceptions.XsConvertError(
                f'cannot find the cloud: {" ".join(str(error).split())}'
            ) from error
        cloud.log_in()
        return cloud

    def say(self, sentence: str) -> None:
        """Print a line on standard error, for the operator."""
        if self.app.options.verbose_level:
            line = ''.join(c if c.isprintable() else '?' for c in sentence)
            print(line, file=self.app.stderr, flush=True)


def _hide(parser: argparse.ArgumentParser, options: set[str]) -> None:
    """Leave options out of the help, because there are so many."""
    for action in parser._actions:
        if action.dest in options:
            action.help = argparse.SUPPRESS
    for group in parser._action_groups:
        if group._group_actions and all(
                action.help == argparse.SUPPRESS
                for action in group._group_actions):
            group.description = None


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select images."""
    parser.add_argument(
        'images', metavar='IMAGE', nargs='*',
        help='the ID or name of an image (default: all XenServer images that '
             'you may change, which are those of your project or, for an '
             'administrator, of all projects)')
    parser.add_argument(
        '--project', metavar='PROJECT',
        help='only images of this project, given by its ID or, for an '
             'administrator, by its name')
    parser.add_argument(
        '--name', metavar='GLOB',
        help='only images whose name matches this shell pattern')
    parser.add_argument(
        '--property', metavar='KEY=VALUE', action='append', default=[],
        dest='properties', type=_property,
        help='only images with this property; can be repeated')
    parser.add_argument(
        '--bare', action='store_true',
        help='also bare VHDs, which the plugin converts if convert_bare_vhd '
             'is set')


def positive(argument: str) -> int:
    """Convert an argument to a positive number.

    :raises ArgumentTypeError: it is not a positive number
    """
    if not argument.isdigit() or not int(argument):
        raise argparse.ArgumentTypeError(
            f'{argument} is not a positive number')
    return int(argument)


def _property(argument: str) -> tuple[str, str]:
    key, equals, value = argument.partition('=')
    if not key or not equals:
        raise argparse.ArgumentTypeError(f'{argument} is not KEY=VALUE')
    return key, value


def selection(parsed_args: argparse.Namespace, cloud: 'cloud_.Cloud',
              ) -> 'candidates.Selection':
    from glance_xs_convert.migrate import candidates

    project = parsed_args.project
    return candidates.Selection(
        images=tuple(parsed_args.images),
        project=project and candidates.project_id(cloud, project),
        name=parsed_args.name, properties=dict(parsed_args.properties),
        bare=parsed_args.bare,
        drop_signature=getattr(parsed_args, 'drop_signature', False))


def table(rows: 'Sequence[candidates.Row]',
          ) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Return images as a table."""
    return COLUMNS, (
        (row.id, text.printable(row.name), row.project, row.size
         if row.size is None else common.Size(row.size), row.state,
         row.new_id, row.reason) for row in rows)


def agreed(question: str, yes: bool) -> bool:
    """Ask the operator for consent, on a terminal only.

    :param yes: whether the command line gives consent
    """
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        return False
    print(f'{question} [y/N] ', end='', file=sys.stderr, flush=True)
    with contextlib.suppress(EOFError):
        return input().strip().lower() in ('y', 'yes')
    return False

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

"""Code that the commands for migrations share."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import logging
import sys
from typing import Any

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli import safe_output
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import preflight
from glance_xs_convert.migrate import selection as selection_

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

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        self._cloud_options: set[str] = set()
        try:
            from openstack import config
        except ImportError:
            return
        # A separate parser shows the names of openstacksdk's options, because
        # some of our own options have the same names.
        for each in (parser, own := argparse.ArgumentParser()):
            config.OpenStackConfig().register_argparse_arguments(
                each, sys.argv[1:], ['image'])
        self._cloud_options = set(vars(own.parse_known_args([])[0]))
        _hide(parser, self._cloud_options)

    def run(self, parsed_args: argparse.Namespace) -> int:
        return int(super().run(parsed_args) or self.status)

    def connect(self, parsed_args: argparse.Namespace) -> cloud_.Cloud:
        """Connect to the cloud from the options, environment or file.

        :raises XsConvertError: the cloud is unknown or refuses the login
        """
        try:
            from glance_xs_convert.migrate import sdk
        except ImportError:
            raise exceptions.XsConvertError(
                'openstacksdk is not installed: install it where this command '
                'is, with "pip install openstacksdk"') from None
        if not self.app.options.debug:
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        return sdk.connect(argparse.Namespace(**{
            name: value for name, value in vars(parsed_args).items()
            if name in self._cloud_options}), self.say)

    def say(self, sentence: str) -> None:
        """Print a line on standard error, for the operator."""
        if self.app.options.verbose_level:
            print(safe_output.line(sentence), file=self.app.stderr,
                  flush=True)

    def say_findings(self, cloud: cloud_.Cloud, rows: Sequence[inventory.Row],
                     method: str) -> bool:
        """Show whether the cloud can migrate images.

        :returns: False if there is an obstacle
        """
        findings = preflight.check(cloud, rows, method)
        for finding in findings:
            self.say(f'{"ok" if finding.ok else "OBSTACLE"}: '
                     f'{finding.sentence}')
        return all(finding.ok for finding in findings)


class ImagesCommand(CloudCommand, lister.Lister):
    """A command that lists the images that the operator selects."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            'images', metavar='IMAGE', nargs='*',
            help='the ID or name of an image; a name must be that of one '
                 'image only, and a UUID is always an ID (default: all '
                 'XenServer images that you may change, which are those of '
                 'your project or, for an administrator, of all projects)')
        parser.add_argument(
            '--project', metavar='PROJECT',
            help='only images of this project, given by its ID or, for an '
                 'administrator, by its name')
        parser.add_argument(
            '--name', metavar='GLOB',
            help='only images whose name matches this shell pattern')
        parser.add_argument(
            '--property', metavar='KEY=VALUE', action='append', default=[],
            dest='properties', type=key_value,
            help='only images with this property; can be repeated')
        parser.add_argument(
            '--bare', action='store_true',
            help='also bare VHDs, which the plugin converts if '
                 'convert_bare_vhd is set')


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


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that imports archives."""
    parser.add_argument(
        '--stores', metavar='STORE[,STORE]', default=(),
        type=lambda names: tuple(filter(None, names.split(','))),
        help='the stores for new images (default: the default store)')
    parser.add_argument(
        '--deadline', metavar='SECONDS', type=common.positive,
        default=choices.DEADLINE,
        help='the time without progress after which to give up an import and '
             f'begin it again (default: {choices.DEADLINE})')
    common.add_sandbox(parser)


def key_value(argument: str) -> tuple[str, str]:
    """Split an argument at its first equals sign.

    :raises ArgumentTypeError: it has no key, or no equals sign
    """
    key, equals, value = argument.partition('=')
    if not key or not equals:
        raise argparse.ArgumentTypeError(f'{argument!r} is not KEY=VALUE')
    return key, value


def inventory_of(cloud: cloud_.Cloud, parsed_args: argparse.Namespace,
                 ) -> inventory.Inventory:
    """Return the images that are selected.

    :raises WrongArguments: an image does not exist, or its name is ambiguous
    """
    project = parsed_args.project
    return inventory.Inventory(cloud, selection_.Selection(
        images=tuple(parsed_args.images),
        project=project and cloud.find_project(project),
        name=parsed_args.name, properties=dict(parsed_args.properties),
        bare=parsed_args.bare,
        drop_signature=getattr(parsed_args, 'drop_signature', False)))


def table(rows: Sequence[inventory.Row],
          ) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Return images as a table."""
    return COLUMNS, (
        (row.id, row.name, row.project, row.size
         if row.size is None else common.Size(row.size), row.state,
         row.new_id, _remarks(row)) for row in rows)


def _remarks(row: inventory.Row) -> str:
    """Return the reason for a state, and what became of the guest."""
    adapting = row.new.notes.adapting if row.new else ''
    return '; '.join(filter(None, (row.reason, adapting)))


def has_consent(question: str, yes: bool) -> bool:
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

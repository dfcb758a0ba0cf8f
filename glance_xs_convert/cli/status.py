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

"""``glance-xs-convert status``."""

import argparse
import os
import textwrap

from cliff import lister

from glance_xs_convert.cli import common

#: The exit status of oslo.upgradecheck's commands if a check cannot run.
_BROKEN = 255
_WIDTH = 60


class Details(common.TextColumn):
    """A sentence, wrapped for people as oslo.upgradecheck does."""

    def human_readable(self) -> str:
        # A path or an option that is broken could not be copied.
        return textwrap.fill(self._value, _WIDTH, break_on_hyphens=False,
                             break_long_words=False)


class Status(common.Command, lister.Lister):
    """Check whether Glance is set up to convert XenServer images.

    The command reads Glance's configuration as Glance does. Run it in Glance's
    Python environment, as the user that Glance runs as. If root runs it, it
    runs the checks as the user that the staging area belongs to.

    The exit status is that of an upgrade check: 0 if all is well, 1 for
    warnings, 2 for failures, and 255 if a check could not run.
    """

    _status = 0

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        common.add_configuration(parser)
        parser.add_argument(
            '--before-removal', action='store_true',
            help='show instead what still refers to this package on this '
                 'host, in the order in which to remove it')
        parser.add_argument(
            '--try-guest', action='store_true',
            help='also start the virtual machine in which guests are adapted, '
                 'which takes a while')

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            super().run(parsed_args)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            self.app.LOG.error(error, exc_info=self.app.options.debug)
            return _BROKEN
        return self._status

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        # These take a while to load, so load them only when needed.
        from oslo_upgradecheck import upgradecheck

        from glance_xs_convert.deployment import configuration
        from glance_xs_convert.deployment import report

        results = report.make(
            lambda: configuration.Deployment(
                parsed_args.config_file, parsed_args.config_dir, os.environ),
            parsed_args.before_removal, parsed_args.try_guest)
        self._status = max(code for _, code, _ in results)
        return ('Check', 'Result', 'Details'), [
            (name,
             str(upgradecheck.UPGRADE_CHECK_MSG_MAP[upgradecheck.Code(code)]),
             Details(details)) for name, code, details in results]

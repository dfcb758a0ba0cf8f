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
from collections.abc import Iterable
from collections.abc import Sequence
import os
import textwrap
from typing import TYPE_CHECKING

from cliff import columns
from cliff import lister

from glance_xs_convert.cli import common

#: The exit status of oslo.upgradecheck's commands if a check cannot run.
_BROKEN = 255
_WIDTH = 60

if TYPE_CHECKING:
    _TextColumn = columns.FormattableColumn[str]
else:
    _TextColumn = columns.FormattableColumn


class Details(_TextColumn):
    """A sentence, wrapped for people as oslo.upgradecheck does."""

    def human_readable(self) -> str:
        return textwrap.fill(self._value, _WIDTH)


class Status(common.Command, lister.Lister):
    """Check whether Glance is set up to convert XenServer images.

    The command reads Glance's configuration as Glance does. Run it in Glance's
    Python environment, as the user that Glance runs as.

    The exit status is that of an upgrade check: 0 if all is well, 1 for
    warnings, 2 for failures, and 255 if a check could not run.
    """

    _status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        common.add_configuration(parser)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            super().run(parsed_args)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            self.app.LOG.error(error, exc_info=self.app.options.debug)
            return _BROKEN
        return self._status

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        # These take a while to load, so load them only when needed.
        from oslo_upgradecheck import upgradecheck

        from glance_xs_convert.deployment import checks
        from glance_xs_convert.deployment import configuration

        name = 'Configuration'
        try:
            glance = configuration.Deployment(
                parsed_args.config_file, parsed_args.config_dir, os.environ)
        except configuration.BadSetting as error:
            results = [(name, upgradecheck.Result(
                upgradecheck.Code.FAILURE, str(error)))]
        else:
            results = [(name, upgradecheck.Result(
                upgradecheck.Code.SUCCESS,
                f'read {", ".join(glance.sources())}')),
                *checks.run_all(glance)]
        self._status = max(result.code for _, result in results)
        return ('Check', 'Result', 'Details'), [
            (name, str(upgradecheck.UPGRADE_CHECK_MSG_MAP[result.code]),
             Details(result.details or '')) for name, result in results]

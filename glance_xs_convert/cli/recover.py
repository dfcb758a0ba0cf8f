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

"""``glance-xs-convert recover``."""

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
import os
import sys
from typing import Any
import warnings

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert import exceptions

#: Where the package's part that needs Glance is found.
_NAMESPACE = 'glance_xs_convert.recovery'
_NAME = 'host'


class Recover(common.Command, lister.Lister):
    """Set back imports that were interrupted on this host.

    Glance does not take up an import again when its process was stopped or
    killed. The image is queued again, with nothing of it left in the staging
    area or the stores, so that it can be imported anew; or, if all of it was
    stored already, its import is completed. Imports that are going on are
    left alone, also those of other hosts.

    Glance does this itself while it runs. Run the command by the user that
    Glance runs as, in Glance's Python environment, when Glance is not to
    start again.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--dry-run', action='store_true',
            help='show what would be done, and do nothing')
        common.add_configuration(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace,
                    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        # Not before they are needed: they take a while.
        from glance_xs_convert.deployment import configuration

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            recover = _load()
        return ('Image', 'Task', 'Result'), recover(
            parsed_args.config_file, parsed_args.config_dir,
            configuration.default_files(os.environ), parsed_args.dry_run)


def _load() -> Any:
    """The function that does it.

    :raises XsConvertError: Glance is not installed
    """
    from stevedore import driver

    def fail(manager: object, entry_point: object, error: BaseException,
             ) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name == 'glance':
            raise exceptions.XsConvertError(
                f'Glance is not installed for {sys.executable}: run this '
                "command in Glance's own Python environment") from None
        raise error

    manager: driver.DriverManager[Any] = driver.DriverManager(
        _NAMESPACE, _NAME, on_load_failure_callback=fail)
    return manager.driver

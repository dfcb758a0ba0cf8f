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
import os
import sys
from typing import Any
import warnings

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert import exceptions

#: The entry point of the code that needs Glance.
_NAMESPACE = 'glance_xs_convert.recovery'
_NAME = 'host'


class Recover(common.Command, lister.Lister):
    """Recover imports that were interrupted on this host.

    Glance does not resume an import whose process was stopped or killed. This
    command removes the image's data from the staging area and the stores and
    returns the image to queued, so that it can be imported again. If all of
    the image was stored already, it completes the import. It does not touch
    running imports, or those of other hosts. If a store still considers the
    stopped process alive, the command waits for up to 45 seconds. It names the
    command that removes what it cannot remove itself.

    The plugin does this itself while Glance runs. If Glance will not start
    again on this host, run the command in Glance's Python environment, as the
    user that Glance runs as.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--dry-run', action='store_true',
            help='show what the command would do, without doing it')
        common.add_configuration(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        # This takes a while to load, so load it only when needed.
        from glance_xs_convert.deployment import configuration

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            recover = _load()
        return ('Image', 'Task', 'Result'), recover(
            parsed_args.config_file, parsed_args.config_dir,
            configuration.default_files(os.environ), parsed_args.dry_run)


def _load() -> Any:
    """Load the function that recovers imports.

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

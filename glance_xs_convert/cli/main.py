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

"""The command ``glance-xs-convert``."""

from collections.abc import Sequence
import signal
import sys

from cliff import app
from cliff import commandmanager
import pbr.version


class Shell(app.App):
    """Inspect and convert XenServer images offline."""

    def __init__(self) -> None:
        version = pbr.version.VersionInfo('glance_xs_convert')
        super().__init__(
            description=self.__doc__,
            version=version.version_string(),
            command_manager=commandmanager.CommandManager(
                'glance_xs_convert.cli'))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :returns: 0 if all went well, 1 for an error, 2 for wrong arguments
    """
    signal.signal(signal.SIGTERM, _end)
    return int(Shell().run(sys.argv[1:] if argv is None else list(argv)))


def _end(signal_number: int, frame: object) -> None:
    """End by an exception, so that what was begun is removed."""
    sys.exit(128 + signal_number)


if __name__ == '__main__':
    sys.exit(main())

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
import importlib.metadata
import io
import logging
import os
import signal
import sys

from cliff import app
from cliff import commandmanager

from glance_xs_convert.cli import common


_DISTRIBUTION = 'glance-xs-convert'
_NAMESPACE = 'glance_xs_convert.cli'


class _Commands(commandmanager.CommandManager):
    """The commands of this package; only the one that is run is loaded."""

    def load_commands(self, namespace: str) -> None:
        """Find the commands where stevedore would load all of them."""
        self.group_list.append(namespace)
        package = importlib.metadata.distribution(_DISTRIBUTION)
        self.commands |= {
            point.name: point for point in package.entry_points
            if point.group == namespace}


class Shell(app.App):
    """Inspect and convert XenServer images offline."""

    def __init__(self) -> None:
        super().__init__(
            description=self.__doc__,
            version=importlib.metadata.version(_DISTRIBUTION),
            command_manager=_Commands(_NAMESPACE),
            deferred_help=True)

    def configure_logging(self) -> None:
        """Show other packages' messages only on request, unlike cliff."""
        super().configure_logging()
        console = logging.root.handlers[-1]
        console.setFormatter(_OneLine(self.CONSOLE_MESSAGE_FORMAT))
        if self.options.verbose_level <= self.DEFAULT_VERBOSE_LEVEL:
            console.setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """Formats a message on one line, whatever names it contains."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return ''.join(
            c if c.isprintable() else c.encode('unicode_escape').decode()
            for c in super().formatMessage(record))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :returns: the exit status: 0 for success, 1 for an error, 2 for wrong
              arguments; for ``status``, its result
    """
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signal_number) is not signal.SIG_IGN:
            signal.signal(signal_number, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    arguments = sys.argv[1:] if argv is None else list(argv)
    status = int(Shell().run(arguments or ['help']))
    failure = common.flush()
    if failure:
        # Python would flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status or failure


def _end(signal_number: int, frame: object) -> None:
    """End with an exception, so that unfinished files are removed."""
    sys.exit(128 + signal_number)


if __name__ == '__main__':
    sys.exit(main())

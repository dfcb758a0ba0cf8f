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

"""Taking turns: so many at once on a host, first come, first served.

Everybody who comes draws a ticket. The oldest tickets have their turn; those
whose process has ended do not count.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import time

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import tickets

#: How often somebody who waits looks, in seconds.
_INTERVAL = 0.5
_SUFFIX = '.turn'


@contextlib.contextmanager
def turn(limit: int, waiting: Callable[[int], None],
         directory: str | None = None) -> Iterator[None]:
    """Wait for a turn, and have it.

    :param limit: how many may have their turn at once; 0 for any number
    :param waiting: called again and again while waiting, with the number of
                    those who came before; what it raises ends the wait
    :param directory: where the tickets are
    :raises ConverterStopped: no ticket can be written
    """
    box = tickets.Box(directory, _SUFFIX)
    try:
        ticket = box.draw()
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'{box.directory}, where conversions take their turns, cannot '
            f'be used: {error.strerror or error}') from error
    try:
        while limit and (ahead := _ahead(box, ticket)) >= limit:
            waiting(ahead)
            time.sleep(_INTERVAL)
        yield
    finally:
        ticket.release()


def remove_left(directory: str | None) -> None:
    """Remove the tickets of those whose process has ended.

    :raises OSError: they cannot be read, or are not to be trusted
    """
    tickets.Box(directory, _SUFFIX).collect(lambda text: True)


def _ahead(box: tickets.Box, ticket: tickets.Ticket) -> int:
    """How many that came before are still there."""
    return sum(box.is_held(name) for name in box.names()
               if name < ticket.name)

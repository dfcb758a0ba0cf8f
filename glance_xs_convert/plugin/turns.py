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

"""Taking turns: a limited number at once on a host, first come, first served.

Every conversion draws a ticket, and the oldest tickets have their turn.
Tickets whose process has ended do not count.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import time

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import tickets

#: The interval of checks while waiting, in seconds.
_INTERVAL = 0.5
_SUFFIX = '.turn'


@contextlib.contextmanager
def turn(limit: int, waiting: Callable[[int], None],
         directory: str | None = None) -> Iterator[None]:
    """Wait for a turn, and hold it.

    :param limit: number of turns at a time; 0 for no limit
    :param waiting: called repeatedly while waiting, with the number of those
                    ahead; an error that it raises ends the wait
    :param directory: directory of the tickets
    :raises ConverterStopped: the ticket cannot be written
    """
    box = tickets.Box(directory, _SUFFIX)
    try:
        ticket = box.draw()
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'the directory {box.directory}, in which conversions take turns, '
            f'cannot be used: {error.strerror or error}') from error
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
    """Count the holders of earlier tickets."""
    return sum(box.is_held(name) for name in box.names()
               if name < ticket.name)

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
"""Taking turns: a limited number at once on a host, fair between projects.

Every conversion draws a ticket, and the first tickets have their turn. Tickets
whose process has ended do not count.

The order is that of start-time fair queueing: a ticket belongs to a round, and
a project has one ticket in each round, so that the turns go round the
projects, and a project's own tickets come in the order in which they were
drawn. A round never begins before that of the tickets that have their turn,
so no new ticket gets ahead of these.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
import json
import re
import time

from glance_xs_convert import exceptions
from glance_xs_convert.recovery import tickets
from glance_xs_convert import text

#: The interval of checks while waiting, in seconds.
_INTERVAL = 0.5
#: The version of the tickets' texts.
_VERSION = 1
#: The highest round that is believed.
_MAX_ROUND = 10 ** 12
_PROJECT = re.compile('[0-9a-f]{16}')


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How many may have their turn, and how many may wait for one.

    :ivar at_once: number of turns at a time; 0 for no limit
    :ivar waiting: number of those that wait
    :ivar waiting_per_project: number of those that wait for one project
    """

    at_once: int
    waiting: int
    waiting_per_project: int


@dataclasses.dataclass(frozen=True, order=True)
class _Place:
    """A place in the line; the order is that of the turns.

    :ivar round: round that the ticket belongs to
    :ivar name: name of the ticket, in the order of drawing
    :ivar project: key of the project; empty if it is not known
    :ivar rounds: latest round of each project when the ticket was drawn, by
                  its key; rounds that are past are left out
    """

    round: int
    name: str
    project: str = dataclasses.field(compare=False)
    rounds: dict[str, int] = dataclasses.field(compare=False)


@contextlib.contextmanager
def turn(bounds: Bounds, project: str | None,
         waiting: Callable[[int], None], directory: str) -> Iterator[None]:
    """Wait for a turn, and hold it.

    :param project: ID of the project whose image waits
    :param waiting: called repeatedly while waiting, with the number of those
                    ahead; an error that it raises ends the wait
    :param directory: directory of the tickets
    :raises TooManyWaiting: there is no place to wait
    :raises ConverterStopped: the ticket cannot be written
    """
    box = tickets.Box(directory, tickets.TURN_SUFFIX)
    key = _key(project)
    try:
        ticket = box.draw(lambda: _queue(box, bounds, key))
    except OSError as error:
        raise exceptions.ConverterStopped(
            f'the directory {box.directory}, in which conversions take turns, '
            f'cannot be used: {error.strerror or error}') from error
    try:
        while bounds.at_once and (
                ahead := _ahead(box, ticket)) >= bounds.at_once:
            waiting(ahead)
            time.sleep(_INTERVAL)
        yield
    finally:
        ticket.release()


def _key(project: str | None) -> str:
    """Return a project's key; its ID may have characters of any kind."""
    return hashlib.sha256((project or '').encode()).hexdigest()[:16]


def _queue(box: tickets.Box, bounds: Bounds, project: str) -> str:
    """Find a place for a new ticket, while nobody else draws.

    :param project: the project's key
    :returns: the text for the ticket
    :raises TooManyWaiting: there is no place
    """
    line = _line(box)
    _check_room(line, bounds, project)
    having_turns = line[:bounds.at_once or None]
    current = having_turns[-1].round if having_turns else 0
    rounds = {one: latest for one, latest in _rounds(line).items()
              if latest >= current}
    rounds[project] = max(current, rounds.get(project, -1) + 1)
    return json.dumps({
        'version': _VERSION, 'project': project, 'rounds': rounds}) + '\n'


def _rounds(line: list[_Place]) -> dict[str, int]:
    """Return the latest round of each project.

    A ticket tells the rounds of tickets that are gone by now.
    """
    rounds: dict[str, int] = {}
    for place in line:
        for project, latest in place.rounds.items():
            rounds[project] = max(latest, rounds.get(project, 0))
    return rounds


def _check_room(line: list[_Place], bounds: Bounds, project: str) -> None:
    if not bounds.at_once or len(line) < bounds.at_once:
        return
    waiting = line[bounds.at_once:]
    own = sum(place.project == project for place in waiting)
    for count, limit, whose in (
            (own, bounds.waiting_per_project, 'of this project '),
            (len(waiting), bounds.waiting, '')):
        if count >= limit:
            raise exceptions.TooManyWaiting(
                f'{text.count(count, "other image")} {whose}'
                f'wait{"s" if count == 1 else ""} to be converted, and no '
                'more may wait; import the image again later')


def _line(box: tickets.Box) -> list[_Place]:
    """Return the tickets in the order of their turns."""
    return sorted(_place(name, written) for name, written in box.held())


def _ahead(box: tickets.Box, ticket: tickets.Ticket) -> int:
    """Count the holders of tickets that come first."""
    names = [place.name for place in _line(box)]
    return names.index(ticket.name) if ticket.name in names else 0


def _place(name: str, written: str) -> _Place:
    """Return a ticket's place; one that cannot be read comes first."""
    try:
        fields = json.loads(written)
        project, rounds = fields['project'], fields['rounds']
        if fields['version'] == _VERSION and all(
                _PROJECT.fullmatch(key) and _is_round(number)
                for key, number in rounds.items()):
            return _Place(rounds[project], name, project, rounds)
    except (AttributeError, LookupError, RecursionError, TypeError,
            ValueError):
        pass
    return _Place(0, name, '', {})


def _is_round(number: object) -> bool:
    return type(number) is int and 0 <= number <= _MAX_ROUND

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

"""The pauses before a request or a question is repeated."""

from collections.abc import Iterator
import random
import threading

#: How often a request is repeated before the cloud counts as unreachable.
RETRIES = 8
#: The same of services that a migration can do without.
RETRIES_OF_OTHERS = 4
_FIRST = 0.5
_LONGEST = 30.0
#: How often an import is asked about, in seconds.
_POLL_FIRST = 0.2
_POLL_LONGEST = 3.0
_POLL_GROWTH = 1.25
#: How long to wait before hosts are asked again that have enough to convert,
#: in seconds.
_TURN_FIRST = 5.0
_TURN_LONGEST = 60.0

_random = random.SystemRandom()


class Interrupted(Exception):
    """Raised instead of waiting, because the command must end at once."""


class Clock:
    """Waits, unless the command must end at once.

    :param scale: a factor for every pause, for tests
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._end = threading.Event()
        self._scale = scale

    def end(self) -> None:
        """Interrupt all present and future pauses."""
        self._end.set()

    @property
    def ended(self) -> bool:
        """Whether the command ends at once."""
        return self._end.is_set()

    def pause(self, seconds: float) -> None:
        """Wait.

        :raises Interrupted: the command ends
        """
        if self._end.wait(seconds * self._scale):
            raise Interrupted


def back_off(retries: int = RETRIES) -> Iterator[float]:
    """Yield growing pauses before repetitions, in seconds.

    Each is random within a factor of two, so that clients that were turned
    away at the same time do not come back at the same time.
    """
    longest = _FIRST
    for _ in range(retries):
        yield longest * _random.uniform(0.5, 1.0)
        longest = min(2 * longest, _LONGEST)


def polls() -> Iterator[float]:
    """Yield pauses between questions about an import, in seconds."""
    pause = _POLL_FIRST
    while True:
        yield pause * _random.uniform(0.8, 1.2)
        pause = min(_POLL_GROWTH * pause, _POLL_LONGEST)


def turns() -> Iterator[float]:
    """Yield pauses before hosts are asked again to convert an image."""
    pause = _TURN_FIRST
    while True:
        yield pause * _random.uniform(0.5, 1.0)
        pause = min(2 * pause, _TURN_LONGEST)

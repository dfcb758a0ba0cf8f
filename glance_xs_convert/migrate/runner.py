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

"""Migrating many images, a few at a time."""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import logging
import threading
import time

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import patience
from glance_xs_convert import text

LOG = logging.getLogger(__name__)

#: How many images may fail because the cloud does not answer, without a
#: migrated image in between, before the runner begins no others.
_MOST_UNREACHABLE = 3
#: How long to wait for the threads to abandon their images, in seconds.
_LEAVING = 5.0
_TURN = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The result for an image in this run.

    :ivar row: the image afterwards
    :ivar seconds: time that it took
    :ivar disk: size of the disk in bytes, if the image was migrated
    :ivar notes: notes for the operator
    """

    row: inventory.Row
    seconds: float = 0.0
    disk: int = 0
    notes: tuple[str, ...] = ()


class Watch:
    """An observer of the progress, which several threads call.

    A subclass shows what it chooses.
    """

    def started(self, row: inventory.Row) -> None:
        """An image has begun."""

    def advanced(self, row: inventory.Row, stage: str,
                 fraction: float | None) -> None:
        """An image has reached a stage, with a progress from 0 to 1."""

    def ended(self, outcome: Outcome) -> None:
        """An image has ended."""

    def said(self, sentence: str) -> None:
        """There is something to tell that concerns all images."""


def to_do(rows: Iterable[inventory.Row], settings: migration.Settings,
          ) -> Iterator[inventory.Row]:
    """Yield the images that a run processes.

    Those of earlier runs belong to them if the operator has chosen what
    happens to old images, or if their members had to accept the new ones.
    """
    for row in rows:
        if row.state == inventory.DONE:
            if not row.old_is_gone and (settings.old or row.is_awaiting):
                yield row
        elif row.state != inventory.SKIPPED and (
                settings.retry or not row.is_refused):
            yield row


class Runner:
    """Migrates images in several threads.

    :param cloud: the cloud
    :param settings: how to migrate
    :param jobs: the most images at a time
    :param watch: an observer of the progress
    """

    def __init__(self, cloud: cloud_.Cloud, settings: migration.Settings,
                 jobs: int, watch: Watch) -> None:
        self._cloud = cloud
        self._settings = settings
        self._jobs = jobs
        self._watch = watch
        settings.methods.say = watch.said
        self._lock = threading.Lock()
        self._rows: Iterator[inventory.Row] = iter(())
        self._outcomes: list[Outcome] = []
        self._stopped = threading.Event()
        self._unreachable = 0
        #: The error that stopped the run, unless the operator stopped it.
        self.problem: errors.MigrationError | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the operator or an error has stopped the run."""
        return self._stopped.is_set()

    def interrupt(self) -> bool:
        """Begin no more images; on the second call, abandon those begun.

        :returns: whether this was the first call
        """
        if not self._stopped.is_set():
            self._stopped.set()
            return True
        self._cloud.clock.end()
        return False

    def run(self, rows: Iterable[inventory.Row]) -> list[Outcome]:
        """Migrate images, and return the result of each that has begun."""
        self._rows = iter(rows)
        threads = [threading.Thread(target=self._work, daemon=True,
                                    name=f'job {number}')
                   for number in range(self._jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not self._cloud.clock.ended:
                thread.join(_TURN)
        deadline = time.monotonic() + _LEAVING
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        with self._lock:
            return list(self._outcomes)

    def _work(self) -> None:
        while row := self._next():
            start = time.monotonic()
            self._watch.started(row)
            outcome = dataclasses.replace(
                self._migrate(row), seconds=time.monotonic() - start)
            with self._lock:
                self._outcomes.append(outcome)
            self._watch.ended(outcome)

    def _next(self) -> inventory.Row | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self._rows, None)

    def _migrate(self, row: inventory.Row) -> Outcome:
        def on_progress(stage: str, fraction: float | None) -> None:
            self._watch.advanced(row, stage, fraction)

        task = migration.Migration(
            self._cloud, self._settings, row.id, row.new_id, on_progress)
        state, reason = inventory.FAILED, ''
        try:
            result = (task.retire() if row.state == inventory.DONE
                      else task.run())
        except patience.Interrupted:
            state = inventory.RUNNING
            reason = 'interrupted: the next run continues it'
        except errors.Skipped as error:
            state, reason = inventory.SKIPPED, str(error)
        except errors.MigrationError as error:
            reason = str(error)
            self._stop_for(error)
        except Exception as error:  # One image must not end the others.
            LOG.exception('Image %s', row.id)
            reason = (f'unexpected {type(error).__name__}: '
                      f'{text.one_line(error)}')
        else:
            self._unreachable = 0
            return Outcome(
                dataclasses.replace(row, state=inventory.DONE, reason='',
                                    new_id=result.new_id),
                disk=result.size, notes=result.notes)
        return Outcome(dataclasses.replace(row, state=state, reason=reason))

    def _stop_for(self, error: errors.MigrationError) -> None:
        """Stop if other images would fail like this one."""
        with self._lock:
            if isinstance(error, errors.Unreachable):
                self._unreachable += 1
            if (isinstance(error, errors.CannotMigrate | errors.LoginFailed)
                    or self._unreachable >= _MOST_UNREACHABLE):
                self.problem = self.problem or error
                self._stopped.set()

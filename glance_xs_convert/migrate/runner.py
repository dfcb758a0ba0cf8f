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
from typing import Protocol

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import patience

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

    row: candidates.Row
    seconds: float = 0.0
    disk: int = 0
    notes: tuple[str, ...] = ()


class Watch(Protocol):
    """An observer of the progress, which several threads call."""

    def started(self, row: candidates.Row) -> None:
        """An image has begun."""

    def told(self, row: candidates.Row, stage: str, fraction: float | None,
             ) -> None:
        """An image has reached a stage, with a progress from 0 to 1."""

    def ended(self, outcome: Outcome) -> None:
        """An image has ended."""


def to_do(rows: Iterable[candidates.Row], settings: migration.Settings,
          bring_up: bool) -> Iterator[candidates.Row]:
    """Yield the images that a run processes.

    :param bring_up: whether to apply the settings for old images to those of
                     earlier runs, too
    """
    wanted = {candidates.WAITING, candidates.RUNNING, candidates.FAILED}
    if bring_up:
        wanted.add(candidates.DONE)
    for row in rows:
        if row.state in wanted and not (
                (row.refused and not settings.retry)
                or (row.state == candidates.DONE and row.old_is_gone)):
            yield row


class Runner:
    """Migrates images in several threads.

    :param cloud: the cloud
    :param settings: how
    :param jobs: the most images at a time
    :param watch: is told what goes on
    """

    def __init__(self, cloud: cloud_.Cloud, settings: migration.Settings,
                 jobs: int, watch: Watch) -> None:
        self._cloud = cloud
        self._settings = settings
        self._jobs = jobs
        self._watch = watch
        self._lock = threading.Lock()
        self._rows: Iterator[candidates.Row] = iter(())
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

    def run(self, rows: Iterable[candidates.Row]) -> list[Outcome]:
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
                self._migrated(row), seconds=time.monotonic() - start)
            with self._lock:
                self._outcomes.append(outcome)
            self._watch.ended(outcome)

    def _next(self) -> candidates.Row | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self._rows, None)

    def _migrated(self, row: candidates.Row) -> Outcome:
        def told(stage: str, fraction: float | None) -> None:
            self._watch.told(row, stage, fraction)

        task = migration.Migration(
            self._cloud, self._settings, row.id, row.new_id, told)
        state, reason = candidates.FAILED, ''
        try:
            result = (task.retire() if row.state == candidates.DONE
                      else task.run())
        except patience.Interrupted:
            state = candidates.RUNNING
            reason = 'interrupted: the next run continues it'
        except errors.Skipped as error:
            state, reason = candidates.SKIPPED, str(error)
        except errors.MigrationError as error:
            reason = str(error)
            self._consider(error)
        except Exception as error:  # One image must not end the others.
            LOG.exception('Image %s', row.id)
            reason = f'unexpected {type(error).__name__}: {error}'
        else:
            self._unreachable = 0
            return Outcome(
                dataclasses.replace(row, state=candidates.DONE, reason='',
                                    new_id=result.new_id),
                disk=result.size, notes=result.notes)
        return Outcome(dataclasses.replace(row, state=state, reason=reason))

    def _consider(self, error: errors.MigrationError) -> None:
        """Stop if other images would fail like this one."""
        with self._lock:
            if isinstance(error, errors.Unreachable):
                self._unreachable += 1
            if (isinstance(error, errors.CannotMigrate | errors.LoginFailed)
                    or self._unreachable >= _MOST_UNREACHABLE):
                self.problem = self.problem or error
                self._stopped.set()

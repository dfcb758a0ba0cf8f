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

"""Recovering the imports whose process on this host is gone.

Each recovery of an import is an attempt: it may have to wait, or fail, and is
then repeated. Other imports do not wait for it, and nothing is logged again
and again.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import os
import time

from glance import housekeeping
from oslo_log import log as logging

from glance_xs_convert.recovery import claims
from glance_xs_convert.recovery import remedies
from glance_xs_convert.recovery import tickets

LOG = logging.getLogger(__name__)

#: The time until the second attempt and the longest time between two
#: attempts, after one has failed, in seconds.
_RETRY = 30.0
_LONGEST_RETRY = 3600.0
#: The time between two attempts while one has to wait, in seconds.
_WAIT = 3.0
#: The number of failures in a row after which the rest has to wait, because
#: the fault is hardly the tickets'.
_MANY = 5


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found on a ticket, and what became of it.

    :ivar image_id: ID of the image; empty if the ticket does not tell
    :ivar task_id: ID of the task, likewise
    :ivar result: words for operators
    """

    image_id: str
    task_id: str
    result: str


@dataclasses.dataclass
class _Attempt:
    """The last attempt to recover an import.

    :ivar reason: why it did not succeed
    :ivar since: when this was the reason for the first time
    :ivar due: when to try again
    :ivar failures: the number of attempts that failed in a row
    """

    reason: str
    since: float
    due: float
    failures: int = 0


Report = Callable[[str, Found], None]


class Recovery:
    """The recovery of imports with the tickets in one directory.

    :param directory: function that returns the directory of the tickets
    """

    def __init__(self, directory: Callable[[], str]) -> None:
        self._directory = directory
        self._attempts: dict[str, _Attempt] = {}
        #: The names of the tickets that this version does not understand.
        self._foreign: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether an import can only be recovered later."""
        return any(not attempt.failures
                   for attempt in self._attempts.values())

    def recover(self, *, dry_run: bool = False,
                report: Report = lambda name, found: None) -> bool:
        """Recover the imports whose process is gone, as far as possible.

        Their images return to queued without data in the staging area, and
        their tasks' messages give the reason. Errors are logged.

        :param dry_run: whether to report only
        :param report: called with the name of each ticket and what was found
        :returns: whether there were no errors
        :raises OSError: the tickets cannot be read or trusted
        """
        box = tickets.Box(self._directory(), claims.SUFFIX)
        names = box.names()
        if names:
            box.check_owner()
        self._attempts = {name: self._attempts[name] for name in names
                          if name in self._attempts}
        self._foreign.intersection_update(names)
        pass_ = _Pass(self, box, dry_run, report)
        for name in names:
            attempt = self._attempts.get(name)
            if name not in self._foreign and (
                    attempt is None or attempt.due <= time.monotonic()):
                pass_.recover_ticket(name)
            if pass_.failed_in_a_row >= _MANY:
                break
        pass_.tell()
        if not dry_run:
            for suffix in (tickets.TURN_SUFFIX, tickets.UPLOAD_SUFFIX):
                tickets.Box(box.directory, suffix).remove_abandoned()
        return not pass_.failed

    def wait(self, name: str, reason: str) -> None:
        """Note that an import can only be recovered later."""
        self._put_off(name, reason, 0, _WAIT)

    def fail(self, name: str, reason: str) -> bool:
        """Note that an import could not be recovered.

        :returns: whether the reason is a new one
        """
        last = self._attempts.get(name)
        failures = 1 + (last.failures if last else 0)
        self._put_off(name, reason, failures, min(
            _RETRY * 2 ** min(failures - 1, 10), _LONGEST_RETRY))
        return last is None or last.reason != reason

    def _put_off(self, name: str, reason: str, failures: int, delay: float,
                 ) -> None:
        now = time.monotonic()
        last = self._attempts.get(name)
        since = last.since if last and last.reason == reason else now
        self._attempts[name] = _Attempt(reason, since, now + delay, failures)

    def waited(self, name: str, reason: str) -> float:
        """Return for how long an import has waited for a reason."""
        last = self._attempts.get(name)
        if last is None or last.reason != reason:
            return 0.0
        return time.monotonic() - last.since

    def ignore(self, name: str) -> None:
        """Leave a ticket alone from now on."""
        self._foreign.add(name)

    def succeed(self, name: str) -> None:
        """Forget earlier attempts to recover an import."""
        self._attempts.pop(name, None)


class _Pass:
    """One pass over the tickets.

    :ivar failed: the number of imports that could not be recovered
    :ivar failed_in_a_row: the number of them since the last other one
    """

    def __init__(self, recovery: Recovery, box: tickets.Box, dry_run: bool,
                 report: Report) -> None:
        self._recovery = recovery
        self._box = box
        self._dry_run = dry_run
        self._report = report
        self._foreign: list[str] = []
        self.failed = 0
        self.failed_in_a_row = 0

    def recover_ticket(self, name: str) -> None:
        """Recover the import of a ticket unless its holder is alive."""
        with (contextlib.suppress(FileNotFoundError, BlockingIOError),
              self._box.take(name) as ticket):
            try:
                self._recover(name, ticket)
                self.failed_in_a_row = 0
            except Exception as error:
                self._fail(name, error)

    def tell(self) -> None:
        """Log what concerns many tickets in one line."""
        if self._foreign:
            LOG.warning(
                'Tickets of interrupted imports are left alone, because '
                'another version of this package has written them: '
                '%(count)d in %(directory)s, for example %(name)s',
                {'count': len(self._foreign), 'name': self._foreign[0],
                 'directory': self._box.directory})
        if self.failed > 1:
            LOG.error('Cannot recover %d interrupted imports', self.failed)

    def _recover(self, name: str, ticket: tickets.Taken) -> None:
        try:
            claim = claims.parsed(ticket.text)
        except claims.NothingWritten:
            LOG.error('An import was interrupted, but the ticket %s does not '
                      'say which one', name)
            self._report(name, Found(
                '', '', 'removing its ticket, which is empty'))
            if not self._dry_run:
                ticket.remove()
            return
        except claims.NotUnderstood as error:
            self._leave_alone(name, str(error))
            return
        if claim.staging != housekeeping.staging_store_path().rstrip('/'):
            self._leave_alone(name, 'the ticket is that of another Glance')
            return
        self._recover_import(name, ticket, remedies.ClaimedImport(claim))

    def _leave_alone(self, name: str, reason: str) -> None:
        self._foreign.append(name)
        self._recovery.ignore(name)
        self._report(name, Found('', '', (
            f'leaving it alone, because {reason}: '
            f'{os.path.join(self._box.directory, name)}')))

    def _recover_import(self, name: str, ticket: tickets.Taken,
                        found: remedies.ClaimedImport) -> None:
        def tell(result: str) -> None:
            self._report(name, Found(
                found.claim.image_id, found.claim.task_id or '', result))

        result = found.remedy.value
        if self._dry_run:
            tell(result)
            return
        try:
            left = found.finish(
                lambda reason: self._recovery.waited(name, reason))
        except remedies.NotYet as error:
            LOG.debug('The import of image %(image)s is recovered later: '
                      '%(reason)s', {'image': found.claim.image_id,
                                     'reason': error})
            self._recovery.wait(name, str(error))
            tell(f'{result}, but not yet: {error}')
            return
        ticket.remove()
        self._recovery.succeed(name)
        result = '. '.join([result, *left])
        if found.remedy is not remedies.Remedy.NOT_BEGUN:
            LOG.warning('The import of image %(image)s was interrupted; '
                        '%(result)s', {'image': found.claim.image_id,
                                       'result': result})
        tell(result)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        self.failed_in_a_row += 1
        reason = f'{type(error).__name__}: {error}'
        if self._recovery.fail(name, reason) and self.failed == 1:
            LOG.exception('Cannot recover an interrupted import, with the '
                          'ticket %s', name)
        else:
            LOG.debug('Cannot recover an interrupted import, with the ticket '
                      '%(name)s: %(reason)s',
                      {'name': name, 'reason': reason})

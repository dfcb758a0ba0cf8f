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

"""Keeping the tickets of this process's imports, and recovering others.

Glance does not tell a plugin when an import ends. Therefore a thread checks
from time to time whether the imports claimed by this process have ended. It
also recovers the imports of this host's processes that are gone.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import threading

from oslo_log import log as logging

from glance_xs_convert.recovery import claims
from glance_xs_convert.recovery import interrupted
from glance_xs_convert.recovery import records
from glance_xs_convert.recovery import remedies
from glance_xs_convert.recovery import runs
from glance_xs_convert.recovery import tickets

LOG = logging.getLogger(__name__)

#: The interval of the thread's checks, in seconds.
_INTERVAL = 3.0
#: The interval after an error, in seconds.
_RETRY_INTERVAL = 60.0


@dataclasses.dataclass
class _Held:
    """An import of this process.

    :ivar run: Glance's call that runs the import; None before there is one
    :ivar is_accepted: whether Glance has accepted the request for the import
    """

    claim: claims.Claim
    ticket: tickets.Ticket
    run: runs.Run | None = None
    is_accepted: bool = False


class Keeper:
    """The tickets of one process, and the thread that checks them.

    :param directory: function that returns the directory of the tickets
    """

    _held: dict[str, _Held]
    _thread: threading.Thread | None

    def __init__(self, directory: Callable[[], str]) -> None:
        self._directory = directory
        self._begin()

    def _begin(self) -> None:
        self._held = {}
        self._lock = threading.Lock()
        self._thread = None
        self._wake = threading.Event()
        self._recovery = interrupted.Recovery(self._directory)

    def expect(self, claim: claims.Claim) -> None:
        """Hold a ticket for an import that is about to be requested.

        Call ``accept``, ``release`` or ``leave`` when the request is answered.

        :raises OSError: the ticket cannot be written
        """
        self._draw(claim)

    def accept(self, claim: claims.Claim) -> None:
        """Note that Glance has accepted the request for an import."""
        held = self._held.get(claim.token)
        if held is not None:
            held.is_accepted = True

    def release(self, claim: claims.Claim) -> None:
        """Release the ticket for an import that Glance has refused."""
        held = self._held.get(claim.token)
        if held is not None and held.run is None:
            self._let_go(held, held.ticket.release)

    def leave(self, claim: claims.Claim) -> None:
        """Let the ticket be found, because the request failed half-way."""
        held = self._held.get(claim.token)
        if held is not None and held.run is None:
            self._let_go(held, held.ticket.drop)

    def claim(self, image_id: str, staged: str, task_id: str,
              stores: Sequence[str | None], run: runs.Run) -> None:
        """Hold a ticket until an import ends.

        :param staged: path of the image's staged data
        :param task_id: ID of the task that imports the image
        :param stores: see :class:`.claims.Claim`
        :param run: Glance's call that runs the import
        :raises OSError: the ticket cannot be written
        """
        held = self._of_task(task_id) or self._expected(image_id, task_id)
        if held is None:
            held = self._draw(claims.Claim(
                image_id=image_id, staged=staged, task_id=task_id,
                stores=list(stores)))
        elif held.claim.task_id is None:
            held.ticket.add(claims.task_addition(task_id, stores))
            held.claim = dataclasses.replace(
                held.claim, task_id=task_id, stores=list(stores))
        held.run = run
        held.is_accepted = True

    def record(self, task_id: str, undo: records.RecordChange) -> None:
        """Write on an import's ticket how to undo the next change.

        :raises OSError: the ticket cannot be written
        """
        held = self._of_task(task_id)
        if held is not None:
            with self._lock:
                held.ticket.add(claims.undo_addition(undo))

    def give_up(self, task_id: str) -> None:
        """Release an import's ticket, because the plugin is not involved."""
        held = self._of_task(task_id)
        if held is not None:
            self._let_go(held, held.ticket.release)

    def start(self) -> None:
        """Start the thread unless it is alive, and make it check now.

        It is no reason for an import to fail if the thread cannot be started.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name='import-keeper', daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    LOG.exception('Interrupted imports are not recovered')
                    self._thread = None
        self._wake.set()

    def forget(self) -> None:
        """Drop all tickets, because this process is a copy of its parent."""
        for held in self._held.values():
            held.ticket.drop()
        self._begin()

    def check(self) -> bool:
        """Release the tickets of imports that have ended, and recover others.

        :returns: whether all of them could be checked
        """
        try:
            for held in list(self._held.values()):
                self._check_import(held)
            self._recovery.recover()
            return True
        except Exception:
            LOG.exception('Cannot check the tickets of imports')
            return False

    def _check_import(self, held: _Held) -> None:
        if not held.is_accepted:
            return
        found = remedies.ClaimedImport(held.claim)
        is_over = found.is_over()
        if is_over and (held.run is None
                        or found.remedy is not remedies.Remedy.DELETED):
            self._let_go(held, held.ticket.release)
        elif held.run is not None and held.run.is_over():
            # Glance has ended it improperly, or has left data of an image that
            # was deleted during it; anyone may recover it.
            self._let_go(held, held.ticket.drop)

    def _draw(self, claim: claims.Claim) -> _Held:
        box = tickets.Box(self._directory(), claims.SUFFIX)
        held = _Held(claim, box.draw(claim.text()))
        with self._lock:
            self._held[claim.token] = held
        return held

    def _of_task(self, task_id: str) -> _Held | None:
        with self._lock:
            return next((held for held in self._held.values()
                         if held.claim.task_id == task_id), None)

    def _expected(self, image_id: str, task_id: str) -> _Held | None:
        """Return what is held for the request that has begun a task."""
        with self._lock:
            expected = [held for held in self._held.values()
                        if held.claim.image_id == image_id
                        and held.claim.task_id is None]
        if not expected:
            return None
        request_id = remedies.request_id_of(task_id)
        return next((held for held in expected
                     if held.claim.request_id == request_id), None)

    def _let_go(self, held: _Held, how: Callable[[], None]) -> None:
        with self._lock:
            if self._held.pop(held.claim.token, None) is not None:
                how()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            interval = _INTERVAL if self.check() else _RETRY_INTERVAL
            self._wake.wait(interval)

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
from time to time, by the tasks and the locks on the images, whether the
imports claimed by this process have ended. It also recovers the imports of
this host's processes that are gone.
"""

from collections.abc import Callable
import dataclasses
import gc
import os
import threading
from typing import Any
import weakref

from oslo_config import cfg
from oslo_log import log as logging

from glance_xs_convert.plugin import claims
from glance_xs_convert.plugin import image_record
from glance_xs_convert.plugin import opts
from glance_xs_convert.plugin import recovery
from glance_xs_convert.plugin import tickets

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)

#: The interval of the thread's checks, in seconds.
_INTERVAL = 3.0
#: The interval after an error, in seconds.
_RETRY_INTERVAL = 60.0


@dataclasses.dataclass
class _Held:
    """An import of this process.

    :ivar flow: a weak reference to an object that lives as long as Glance may
                continue the import; None before it exists
    :ivar is_answered: whether the request for the import has been answered
    """

    claim: claims.Claim
    ticket: tickets.Ticket
    flow: 'weakref.ref[Any] | None'
    is_answered: bool


class Keeper:
    """The tickets of one process, and the thread that checks them."""

    _held: dict[str, _Held]
    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._held = {}
        self._lock = threading.Lock()
        self._thread = None
        self._wake = threading.Event()

    def expect(self, claim: claims.Claim) -> None:
        """Hold a ticket for an import that has been requested.

        :raises OSError: the ticket cannot be written
        """
        self._hold(claim, None, is_answered=False)

    def answered(self, request_id: str, is_accepted: bool) -> None:
        """Note the answer to the request for an expected import.

        :param is_accepted: whether Glance has accepted the request
        """
        if not is_accepted:
            self.release(request_id)
        held = self._held.get(request_id)
        if held is not None:
            held.is_answered = True

    def claim(self, claim: claims.Claim, flow: Any) -> None:
        """Hold a ticket until an import ends.

        :param flow: an object that lives as long as Glance may continue the
                     import
        :raises OSError: the ticket cannot be written
        """
        self._hold(claim, weakref.ref(flow), is_answered=True)

    def _hold(self, claim: claims.Claim, flow: 'weakref.ref[Any] | None',
              is_answered: bool) -> None:
        box = tickets.Box(CONF[opts.GROUP].lock_path, claims.SUFFIX)
        ticket = box.draw(claim.text())
        with self._lock:
            before = self._held.pop(claim.request_id, None)
            self._held[claim.request_id] = _Held(claim, ticket, flow,
                                                 is_answered)
        if before is not None:
            before.ticket.release()

    def record(self, request_id: str, undo: image_record.Change) -> None:
        """Write on an import's ticket how to undo the next change.

        :raises OSError: the ticket cannot be written
        """
        with self._lock:
            held = self._held.get(request_id)
            if held is not None:
                held.ticket.add(claims.addition(undo))

    def release(self, request_id: str) -> None:
        """Release an import's ticket, because the plugin is not involved."""
        held = self._held.get(request_id)
        if held is not None:
            self._let_go(held, held.ticket.release)

    def start(self) -> None:
        """Start the thread if necessary, and make it check now."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='xs-convert-keeper', daemon=True)
                self._thread.start()
        self._wake.set()

    def forget(self) -> None:
        """Drop all tickets, because this process is a copy of its parent."""
        for held in self._held.values():
            held.ticket.drop()
        self._begin()

    def look(self) -> bool:
        """Release the tickets of imports that have ended, and recover others.

        :returns: whether there were no errors
        """
        try:
            for held in list(self._held.values()):
                self._look_at(held)
            return recovery.recover(CONF[opts.GROUP].lock_path)
        except Exception:
            LOG.exception('Cannot check the tickets of imports')
            return False

    def _look_at(self, held: _Held) -> None:
        if not held.is_answered:
            return
        found = recovery.Import(held.claim)
        progress = found.progress()
        is_over = progress is recovery.Progress.OVER
        if is_over and found.rest is not recovery.Rest.DELETED:
            self._let_go(held, held.ticket.release)
        elif held.flow is not None and held.flow() is None:
            # Glance has ended it improperly, or left data of an image that
            # was deleted meanwhile; anyone may recover it.
            self._let_go(held, held.ticket.drop)
        elif is_over and held.flow is None:
            self._let_go(held, held.ticket.release)
        elif progress is not recovery.Progress.GOING_ON:
            # If this lasts, the flow may only be waiting for collection.
            gc.collect()

    def _let_go(self, held: _Held, how: Callable[[], None]) -> None:
        with self._lock:
            if self._held.get(held.claim.request_id) is held:
                del self._held[held.claim.request_id]
                how()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            interval = _INTERVAL if self.look() else _RETRY_INTERVAL
            self._wake.wait(interval)


keeper = Keeper()
os.register_at_fork(after_in_child=keeper.forget)

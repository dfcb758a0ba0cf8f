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

"""Taking turns: who is next, and what becomes of those who are gone."""

from concurrent import futures
import contextlib
import os
import sys
import threading
import time
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import tickets
from glance_xs_convert.plugin import turns

from tests.unit import cases

#: So long may it take until something has come about, in seconds.
SOON = 20

#: Has its turn until it is killed; its argument is the directory.
HOLDER = '''
import sys
import time

from glance_xs_convert.plugin import turns

with turns.turn(1, print, sys.argv[1]):
    print('begun', flush=True)
    time.sleep(600)
'''


class Stop(Exception):
    """Somebody who waits has had enough."""


def stop(ahead):
    """Do not wait."""
    raise Stop(ahead)


class TurnsCase(cases.ScratchCase):
    """Takes turns in a directory of its own."""

    def turn(self, limit, waiting=stop):
        return turns.turn(limit, waiting, str(self.scratch))

    def tickets(self):
        return os.listdir(self.scratch)


class Order(TurnsCase):
    """First come, first served."""

    def test_any_number(self):
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(self.turn(0))
            self.assertEqual(20, len(self.tickets()))
        self.assertEqual([], self.tickets())

    def test_no_more_than_that(self):
        with self.turn(2), self.turn(2):
            with self.assertRaises(Stop) as caught, self.turn(2):
                self.fail('three have their turn')
            self.assertEqual((2,), caught.exception.args)
            self.assertEqual(2, len(self.tickets()))
        with self.turn(2):
            pass
        self.assertEqual([], self.tickets())

    def test_turn_that_fails(self):
        for error in (ValueError, KeyboardInterrupt):
            with self.assertRaises(error), self.turn(1):
                raise error
        self.assertEqual([], self.tickets())

    def test_in_the_order_in_which_they_came(self):
        """Each waits for all who came before, and is told how many."""
        count = 6
        order, told = [], {number: [] for number in range(count)}
        arrived = [threading.Event() for _ in range(count)]

        def take(number):
            def wait(ahead):
                told[number].append(ahead)
                arrived[number].set()
            with self.turn(1, waiting=wait):
                order.append(number)

        with futures.ThreadPoolExecutor(count) as pool:
            with self.turn(1):
                taken = []
                for number in range(count):
                    taken.append(pool.submit(take, number))
                    self.assertTrue(arrived[number].wait(SOON))
            for future in taken:
                future.result(SOON)
        self.assertEqual(list(range(count)), order)
        for number, counts in told.items():
            self.assertEqual(number + 1, counts[0])
            self.assertEqual(sorted(counts, reverse=True), counts)
        self.assertEqual([], self.tickets())

    def test_many_at_once(self):
        """However they race, no more than two have their turn."""
        lock = threading.Lock()
        inside, most = 0, 0

        def take(_):
            nonlocal inside, most
            with self.turn(2, waiting=lambda ahead: None):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.002)
                with lock:
                    inside -= 1

        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)
        self.addCleanup(setattr, turns, '_INTERVAL', turns._INTERVAL)
        turns._INTERVAL = 0.001
        with futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(take, range(600)))
        self.assertEqual(2, most)
        self.assertEqual([], self.tickets())

    def test_ticket_that_is_late(self):
        """Somebody else comes while a ticket is about to be seen."""
        drawing, second = threading.Event(), threading.Event()
        rename = os.rename

        def late(source, target):
            if not drawing.is_set():
                drawing.set()
                second.wait(1)
            rename(source, target)

        def take():
            with self.turn(1):
                second.set()
                time.sleep(2)

        with (mock.patch.object(tickets.os, 'rename', late),
              futures.ThreadPoolExecutor(2) as pool):
            taken = [pool.submit(take)]
            self.assertTrue(drawing.wait(SOON))
            taken.append(pool.submit(take))
            errors = [type(future.exception(SOON)) for future in taken]
        self.assertCountEqual([Stop, type(None)], errors)


class Dead(TurnsCase):
    """Those whose process has ended do not count."""

    def test_process_that_lives(self):
        self.begin_program(HOLDER)
        with self.assertRaises(Stop), self.turn(1):
            self.fail('two have their turn')

    def kill(self, process):
        process.kill()
        process.wait()

    def test_process_that_was_killed(self):
        self.kill(self.begin_program(HOLDER))
        with self.turn(1):
            self.assertEqual(2, len(self.tickets()))
            turns.remove_left(str(self.scratch))
            self.assertEqual(1, len(self.tickets()))
        self.assertEqual([], self.tickets())

    def test_process_that_is_killed_while_somebody_waits(self):
        process = self.begin_program(HOLDER)
        with self.turn(1, lambda ahead: self.kill(process)):
            pass


class Directory(TurnsCase):

    def test_cannot_be_used(self):
        self.scratch.chmod(0o707)
        with (self.assertRaisesRegex(
                exceptions.ConverterStopped,
                f'{self.scratch}, .*: other users can write to it'),
              self.turn(1)):
            self.fail('it can be used')

    def test_is_full(self):
        with (mock.patch.object(tickets.os, 'write', autospec=True,
                                side_effect=OSError(28, 'No space')),
              self.assertRaisesRegex(exceptions.ConverterStopped,
                                     'No space'), self.turn(1)):
            self.fail('there is no ticket')
        self.assertEqual([], self.tickets())

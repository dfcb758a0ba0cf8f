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
import json
import os
import sys
import threading
import time
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import turns
from glance_xs_convert.recovery import tickets

from tests.unit import cases

#: So long may it take until something has come about, in seconds.
SOON = cases.PATIENCE

#: Has its turn until it is killed; its argument is the directory.
HOLDER = '''
import sys
import time

from glance_xs_convert.plugin import turns

with turns.turn(turns.Bounds(1, 9, 9), 'holder', print, sys.argv[1]):
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

    #: How many may wait, and for one project.
    WAITING = (100, 100)

    def turn(self, limit, waiting=stop, project='one'):
        return turns.turn(turns.Bounds(limit, *self.WAITING), project,
                          waiting, str(self.scratch))

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
        over = threading.Event()
        rename = os.rename

        def late(source, target):
            if not drawing.is_set():
                drawing.set()
                second.wait(1)
            rename(source, target)

        def take():
            try:
                with self.turn(1):
                    second.set()
                    # Who has a turn keeps it until the other one has seen it.
                    over.wait(SOON)
            finally:
                over.set()

        with (mock.patch.object(tickets.os, 'rename', late),
              futures.ThreadPoolExecutor(2) as pool):
            taken = [pool.submit(take)]
            self.assertTrue(drawing.wait(SOON))
            taken.append(pool.submit(take))
            errors = [type(future.exception(SOON)) for future in taken]
        self.assertCountEqual([Stop, type(None)], errors)


class Waiting(TurnsCase):
    """Several wait in threads of their own."""

    def setUp(self):
        super().setUp()
        interval = mock.patch.object(turns, '_INTERVAL', 0.01)
        interval.start()
        self.addCleanup(interval.stop)
        self.pool = futures.ThreadPoolExecutor(20)
        self.addCleanup(self.pool.shutdown)
        self.order = []

    def queue(self, project, then=lambda: None):
        """Wait for the only turn in a thread.

        :param then: is called in the turn
        :returns: the future, once it waits
        """
        waits = threading.Event()

        def take():
            with self.turn(1, lambda ahead: waits.set(), project):
                self.order.append(project)
                then()

        taken = self.pool.submit(take)
        self.assertTrue(waits.wait(SOON))
        return taken


class Fair(Waiting):
    """Turns go round the projects."""

    def test_turns_go_round(self):
        with self.turn(1, project='first'):
            taken = [self.queue(project) for project in 'aaaabbc']
        for future in taken:
            future.result(SOON)
        self.assertEqual(list('abcabaa'), self.order)

    def test_who_comes_later_does_not_wait_for_a_whole_project(self):
        with self.turn(1, project='a'):
            taken = [self.queue(project) for project in 'aaaaab']
        for future in taken:
            future.result(SOON)
        self.assertEqual('b', self.order[0])

    def test_two_that_come_again_and_again(self):
        """They do not keep a third one from its turn for ever."""
        taken = []

        def come_again(project):
            if len(self.order) < 20:
                taken.append(self.queue(
                    project, lambda: come_again(project)))

        with self.turn(1, project='a'):
            waits = self.queue('a')
            for project in 'bc':
                come_again(project)
        waits.result(SOON)
        self.assertLessEqual(self.order.index('a'), 2)
        while taken:
            taken.pop(0).result(SOON)

    def test_new_ticket_never_overtakes_one_that_has_its_turn(self):
        with (self.turn(2, project='a'), self.turn(2, project='a'),
              self.assertRaises(Stop) as caught,
              self.turn(2, project='b')):
            self.fail('three have their turn')
        self.assertEqual((2,), caught.exception.args)

    def test_memory_does_not_grow(self):
        """Projects whose rounds are past are forgotten."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.turn(1, project='a'))
            for number in range(30):
                held = contextlib.ExitStack()
                held.enter_context(self.turn(0, project='a'))
                held.enter_context(self.turn(0, project=str(number)))
                stack.close()
                stack = held
                newest = max(self.tickets())
                written = json.loads((self.scratch / newest).read_text())
                self.assertLess(len(written['rounds']), 5)

    def test_ids_that_look_like_paths(self):
        """Nothing that a client chooses gets into a name."""
        for project in ('../../etc/x', 'a\0b', '\n', '', None, 'x' * 5000):
            with self.turn(1, project=project):
                self.assertEqual(1, len(self.tickets()))
                name, = self.tickets()
                self.assertRegex(name, r'\A[0-9]{20}-[0-9a-f-]{36}\.turn\Z')


class Damage(TurnsCase):
    """What another version has written does no harm."""

    def test_ticket(self):
        """A ticket of another version holds its turn."""
        box = tickets.Box(str(self.scratch), tickets.TURN_SUFFIX)
        key = '0123456789abcdef'
        for content in (
                '', 'x', '[]', '1', '[' * 100000, '{"version": 2}',
                f'{{"version": 2, "project": "{key}", '
                f'"rounds": {{"{key}": 7}}}}',
                f'{{"version": 1, "project": "{key}", '
                f'"rounds": {{"{key}": true}}}}',
                f'{{"version": 1, "project": "{key}", "rounds": {{}}}}',
                f'{{"version": 1, "project": [], '
                f'"rounds": {{"{key}": 7}}}}',
                '{"version": 1, "project": "../x", "rounds": {"../x": 7}}'):
            ticket = box.draw(content)
            with self.assertRaises(Stop), self.turn(1):
                self.fail('two have their turn')
            ticket.release()


class Full(Waiting):
    """A limited number may wait."""

    WAITING = (3, 2)

    def assert_refused(self, project, words):
        with (self.assertRaisesRegex(exceptions.TooManyWaiting, words),
              self.turn(1, project=project)):
            self.fail('there is a place')

    def test_full(self):
        with self.turn(1, project='a'):
            taken = [self.queue(project) for project in 'aab']
            self.assert_refused('c', '^3 other images wait to be converted')
            self.assertEqual(4, len(self.tickets()))
        for future in taken:
            future.result(SOON)
        with self.turn(1, project='c'):
            pass

    def test_one_project_leaves_places_for_others(self):
        with self.turn(1, project='a'):
            taken = [self.queue('a'), self.queue('a')]
            self.assert_refused('a', '^2 other images of this project wait')
            taken.append(self.queue('b'))
        for future in taken:
            future.result(SOON)

    def test_who_has_a_turn_does_not_wait(self):
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(self.turn(10, project='a'))

    def test_nobody_may_wait(self):
        self.WAITING = (0, 0)
        with self.turn(1):
            self.assert_refused('a', 'to be converted')
        with self.turn(1):
            pass

    def test_dead_do_not_count(self):
        process = self.begin_program(HOLDER)
        process.kill()
        process.wait()
        self.WAITING = (0, 0)
        with self.turn(1):
            pass


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
            tickets.Box(str(self.scratch), '.turn').remove_abandoned()
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

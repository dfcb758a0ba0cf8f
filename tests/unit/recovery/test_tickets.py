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

"""Tickets: who holds one, and what becomes of those whose holder is gone."""

from concurrent import futures
import contextlib
import os
from unittest import mock

from glance_xs_convert.recovery import tickets

from tests.unit import cases

#: Holds a ticket until it is killed; its argument is the directory.
HOLDER = '''
import sys
import time

from glance_xs_convert.recovery import tickets

ticket = tickets.Box(sys.argv[1], '.test').draw('of another process')
ticket.add(', and more')
print('drawn', flush=True)
time.sleep(600)
'''


class TicketsCase(cases.ScratchCase):
    """Has a box of tickets in a directory of its own."""

    def setUp(self):
        super().setUp()
        self.box = tickets.Box(str(self.scratch), '.test')

    def draw(self, text='', box=None):
        ticket = (box or self.box).draw(text)
        self.addCleanup(ticket.drop)
        return ticket

    def collected(self, remove=True):
        """The texts of the tickets that nobody holds."""
        texts = []
        for name in self.box.names():
            with (contextlib.suppress(FileNotFoundError, BlockingIOError),
                  self.box.take(name) as ticket):
                texts.append(ticket.text)
                if remove:
                    ticket.remove()
        return texts


class Held(TicketsCase):

    def test_nobody_else_can_read_it(self):
        ticket = self.draw()
        mode = self.scratch.joinpath(ticket.name).stat().st_mode
        self.assertEqual(0o600, mode & 0o777)

    def test_order(self):
        names = [self.draw().name for _ in range(10)]
        self.assertEqual(names, self.box.names())

    def test_order_when_the_clock_is_turned_back(self):
        first = self.draw()
        with mock.patch.object(tickets.time, 'time_ns', autospec=True,
                               return_value=1):
            self.assertLess(first.name, self.draw().name)

    def test_held_and_released(self):
        ticket = self.draw()
        self.assertIn(ticket.name, dict(self.box.held()))
        self.assertEqual([], self.collected())
        ticket.release()
        self.assertNotIn(ticket.name, dict(self.box.held()))
        self.assertEqual([], os.listdir(self.scratch))

    def test_kinds_do_not_meet(self):
        other = tickets.Box(str(self.scratch), '.other')
        self.draw('one').drop()
        self.draw('two', other).drop()
        self.assertEqual(['one'], self.collected())
        self.assertEqual(1, len(other.names()))

    def test_other_files_are_left_alone(self):
        names = {'README', '.0-hidden.test', 'x.test'}
        for name in names:
            self.scratch.joinpath(name).touch()
        self.draw().release()
        self.assertEqual([], self.collected())
        self.assertEqual(names, set(os.listdir(self.scratch)))


class Unfinished(TicketsCase):

    def test_addition_that_has_no_room(self):
        """The next addition begins where this one began."""
        ticket = self.draw('one,')
        write = os.write
        with (mock.patch.object(
                tickets.os, 'write', autospec=True,
                side_effect=lambda file, data: write(file, data[:2])),
              self.assertRaisesRegex(OSError, 'No space left')):
            ticket.add('two,')
        ticket.add('three')
        ticket.drop()
        self.assertEqual(['one,three'], self.collected())

    def test_cannot_be_written(self):
        for name in ('write', 'fsync', 'rename'):
            with (mock.patch.object(tickets.os, name, autospec=True,
                                    side_effect=OSError(28, 'No space')),
                  self.assertRaises(OSError)):
                self.draw('x')
            self.assertEqual([], os.listdir(self.scratch))

    def test_process_was_killed_before_its_ticket_was_seen(self):
        ticket = self.draw()
        self.scratch.joinpath('.' + ticket.name).touch()
        other = self.draw()
        self.assertEqual(sorted([ticket.name, other.name]),
                         sorted(os.listdir(self.scratch)))


class Left(TicketsCase):
    """The holder is gone."""

    def test_process_that_was_killed(self):
        process = self.begin_program(HOLDER)
        name, = self.box.names()
        self.assertIn(name, dict(self.box.held()))
        self.assertEqual([], self.collected())
        process.kill()
        process.wait()
        self.assertNotIn(name, dict(self.box.held()))
        self.assertEqual(['of another process, and more'], self.collected())
        self.assertEqual([], os.listdir(self.scratch))

    def test_dropped(self):
        self.draw('a label').drop()
        self.assertEqual(['a label'], self.collected())

    def test_stays_until_it_is_removed(self):
        for text in ('one', 'two'):
            self.draw(text).drop()
        for _ in range(2):
            self.assertEqual(['one', 'two'], self.collected(remove=False))
        self.assertEqual(['one', 'two'], self.collected())
        self.assertEqual([], self.collected())

    def test_one_at_a_time_takes_it(self):
        ticket = self.draw()
        ticket.drop()
        with self.box.take(ticket.name):
            self.assertEqual([], self.collected())
            self.box.remove_abandoned()
        self.assertEqual(1, len(self.box.names()))

    def test_abandoned(self):
        held = self.draw()
        self.draw().drop()
        self.box.remove_abandoned()
        self.assertEqual([held.name], self.box.names())

    def test_those_who_are_through_are_not_left(self):
        """However they race, no ticket that was released is collected."""
        def take(_):
            self.box.draw('x').release()
            return self.collected()
        with futures.ThreadPoolExecutor(6) as pool:
            self.assertEqual([[]] * 300, list(pool.map(take, range(300))))


class Directory(cases.ScratchCase):
    """Whom it must belong to."""

    def setUp(self):
        super().setUp()
        self.directory = self.scratch / 'above' / 'tickets'
        self.box = tickets.Box(str(self.directory), '.test')

    def assert_not_used(self, reason):
        for use in (self.box.draw, self.box.check_owner,
                    self.box.remove_abandoned):
            with self.assertRaisesRegex(PermissionError, reason):
                use()

    def test_made_when_needed(self):
        self.assertEqual([], self.box.names())
        self.box.remove_abandoned()
        for _ in range(2):
            self.box.draw().release()
            for path in (self.directory, self.directory.parent):
                self.assertEqual(0o700, path.stat().st_mode & 0o777)

    def test_of_somebody_else(self):
        self.directory.mkdir(parents=True)
        if os.geteuid():
            self.skipTest('only root can give a directory away')
        os.chown(self.directory, 12345, 12345)
        self.assert_not_used('another user')

    def test_others_may_write(self):
        for mode in (0o770, 0o707):
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(mode)
            self.assert_not_used('other users can write to it')
            self.directory.rmdir()

    def test_others_may_write_above(self):
        """They could put another directory in its place."""
        self.directory.mkdir(0o700, parents=True)
        self.directory.parent.chmod(0o777)
        self.assert_not_used('other users can write to the directory above')
        self.directory.parent.chmod(0o1777)
        self.box.draw().release()

    def test_no_directory(self):
        self.directory.parent.mkdir()
        target = self.scratch / 'target'
        target.mkdir()
        for make in (self.directory.touch,
                     lambda: self.directory.symlink_to(target),
                     lambda: self.directory.symlink_to('nowhere')):
            make()
            self.assert_not_used('another user')
            self.directory.unlink()
        self.assertEqual([], os.listdir(target))

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

"""Recovering imports: which tickets, when, and what is logged."""

import json
import logging
import os
import time
from unittest import mock

from tests.unit.plugin import base
from tests.unit.recovery import leftovers

if base.HAS_GLANCE:
    from glance.common import exception

    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import interrupted
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert.recovery import tickets


class InterruptedCase(leftovers.RecoveryCase):

    def setUp(self):
        super().setUp()
        self.recovery = interrupted.Recovery(keeping.tickets)
        self.log = self.useFixture(
            base.fixture.fixtures.FakeLogger(
                interrupted.__name__, level=logging.INFO))

    def write(self, text):
        """Leave a ticket with a text."""
        box = tickets.Box(keeping.tickets(), claims.SUFFIX)
        ticket = box.draw(text)
        ticket.drop()
        return ticket.name

    def newer(self):
        fields = json.loads(self.claim.text())
        return json.dumps(fields | {'version': 2}) + '\n'

    def lines(self):
        return self.log.output.splitlines()


class LeftAlone(InterruptedCase):
    """What is not understood, or does not belong to this Glance."""

    def test_newer_version(self):
        self.leave()
        self.ticket.release()
        name = self.write(self.newer())
        result, = self.recover()
        self.assertEqual(
            'leaving it alone, because the ticket has version 2: '
            + os.path.join(keeping.tickets(), name), result)
        self.assertEqual([name], self.tickets())
        self.assertEqual('importing', self.image().status)
        self.assertEqual(2, len(self.staged()))

    def test_it_is_told_once(self):
        self.leave()
        self.ticket.release()
        for _ in range(3):
            self.write(self.newer())
        for _ in range(5):
            self.assertTrue(self.recovery.recover())
        line, = self.lines()
        self.assertIn('left alone', line)
        self.assertIn(': 3 in ' + keeping.tickets(), line)

    def test_imports_beside_them_are_recovered(self):
        self.leave()
        self.write(self.newer())
        self.ticket.drop()
        self.assertTrue(self.recovery.recover())
        self.assertEqual('queued', self.image().status)
        self.assertEqual(1, len(self.tickets()))

    def test_staging_area_of_another(self):
        """Two have the same directory, which should not happen."""
        self.leave()
        self.ticket.release()
        text = self.claim.text().replace(
            str(self.staging), str(self.scratch / 'other'))
        self.write(text)
        self.assertIn('another Glance', self.recover()[0])
        self.assertEqual(1, len(self.tickets()))
        self.assertEqual('importing', self.image().status)

    def test_another_glance_on_the_host(self):
        """Its tickets are not even read."""
        self.leave()
        self.delete(self.image_id)
        other = self.scratch / 'other'
        other.mkdir()
        before = keeping.tickets()
        base.cfg.CONF.set_override('filesystem_store_datadir', str(other),
                                   'os_glance_staging_store')
        base.glance_store.create_multi_stores(
            base.cfg.CONF, reserved_stores=base.wsgi_app.RESERVED_STORES)
        self.assertEqual([], self.recover())
        self.assertEqual(1, len(os.listdir(before)))
        self.assertEqual(2, len(self.staged()))

    def test_thousands_cost_nothing(self):
        """Neither time nor lines in the log."""
        self.leave()
        self.ticket.release()
        directory = keeping.tickets()
        text = self.newer()
        for number in range(2000):
            name = f'{number:020d}-{self.image_id}.import'
            with open(os.path.join(directory, name), 'w') as file:
                file.write(text)
        self.assertTrue(self.recovery.recover())
        with mock.patch.object(tickets.Box, 'take', autospec=True,
                               side_effect=AssertionError):
            self.assertTrue(self.recovery.recover())
        before = time.thread_time()
        for _ in range(10):
            self.recovery.recover()
        self.assertLess((time.thread_time() - before) / 10, 0.1)
        self.assertEqual(1, len(self.lines()))


class Tickets(InterruptedCase):

    def test_import_that_is_going_on(self):
        self.leave()
        self.assertTrue(self.recovery.recover())
        self.assertEqual('importing', self.image().status)
        self.assertEqual(2, len(self.staged()))
        self.assertEqual([], self.lines())

    def test_ticket_that_was_not_written(self):
        """Its host broke down before its data was on the disk."""
        for text in ('', '\0' * 99):
            self.write(text)
        self.leave()
        self.assertEqual(
            2 * ['removing its ticket, which is empty']
            + [remedies.Remedy.SET_BACK.value], self.recover(dry_run=True))
        self.assertEqual(3, len(self.tickets()))
        self.recover()
        self.assert_set_back()

    def test_turns_and_uploads_of_processes_that_are_gone(self):
        for suffix in (tickets.TURN_SUFFIX, tickets.UPLOAD_SUFFIX):
            tickets.Box(keeping.tickets(), suffix).draw().drop()
        self.assertTrue(self.recovery.recover(dry_run=True))
        self.assertEqual(2, len(self.tickets()))
        self.assertTrue(self.recovery.recover())
        self.assertEqual([], self.tickets())

    def test_two_imports_with_one_request_id(self):
        """A client may use its ID for any number of requests."""
        images = []
        for _ in range(2):
            self.leave(request_id='req-1')
            self.ticket.drop()
            images.append(self.image_id)
        self.assertTrue(self.recovery.recover())
        self.assertEqual(['queued', 'queued'], [
            self.image_repo.get(image_id).status for image_id in images])
        self.assertEqual(([], []), (self.staged(), self.tickets()))

    def test_refused_requests_are_not_logged(self):
        self.leave()
        self.draw(request_id='req-8')
        self.ticket.drop()
        self.assertTrue(self.recovery.recover())
        self.assertEqual([], self.lines())
        self.assertEqual(1, len(self.tickets()))


class Failures(InterruptedCase):

    def setUp(self):
        super().setUp()
        clock = self.useFixture(
            base.fixture.fixtures.MockPatchObject(
                interrupted, 'time', autospec=True)).mock
        self.monotonic = clock.monotonic
        self.monotonic.return_value = 1000.0

    def fail_for(self, *image_ids):
        find = remedies.ClaimedImport._find_remedy
        self.tried = []

        def find_remedy(found):
            self.tried.append(found.claim.image_id)
            if found.claim.image_id in image_ids:
                raise exception.NotFound
            return find(found)
        self.useFixture(base.fixture.fixtures.MonkeyPatch(
            'glance_xs_convert.recovery.remedies.ClaimedImport._find_remedy',
            find_remedy))

    def leave_some(self, count):
        images = []
        for _ in range(count):
            self.leave()
            self.ticket.drop()
            images.append(self.image_id)
        return images

    def test_one_failure_does_not_hinder_others(self):
        first, second = self.leave_some(2)
        self.fail_for(first)
        self.assertFalse(self.recovery.recover())
        self.assertEqual('queued', self.image_repo.get(second).status)
        self.assertEqual(1, len(self.tickets()))

    def test_it_is_tried_again_more_and_more_seldom(self):
        image_id, = self.leave_some(1)
        self.fail_for(image_id)
        for _ in range(3600):
            self.recovery.recover()
            self.monotonic.return_value += 3
        # After 0, 30, 90, 210, 450, 930, 1890 and 3810 s, then each hour.
        self.assertEqual(9, len(self.tried))
        self.assertEqual(1, len([line for line in self.lines()
                                 if line.startswith('Cannot recover')]))

    def test_many_failures(self):
        """Perhaps the database does not answer: do not ask for each."""
        images = self.leave_some(8)
        self.fail_for(*images)
        self.assertFalse(self.recovery.recover())
        self.assertEqual(images[:5], self.tried)
        self.assertEqual(1, self.log.output.count('Traceback'))
        self.assertIn('Cannot recover 5 interrupted imports', self.log.output)
        self.assertFalse(self.recovery.recover())
        self.assertEqual(images, self.tried)

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

"""Keeping the tickets of imports that are going on."""

import gc
import os
import time
from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import claims
    from glance_xs_convert.plugin import keeper
    from glance_xs_convert.plugin import recovery
    from glance_xs_convert.plugin import tickets


class Flow:
    """Stands for what an import consists of."""


class KeeperCase(base.GlanceCase):

    def claim(self, method='web-download'):
        self.image_id = self.new_image()
        self.task_id = self.new_import(self.image_id, method)
        self.begin(self.image_id, self.task_id)
        self.flow = Flow()
        self.keeper.claim(self.claimed(), self.flow)

    def claimed(self):
        return claims.Claim(
            image_id=self.image_id, request_id='req-1',
            staged=str(self.staging / self.image_id), task_id=self.task_id,
            stores=['fast'])

    def end_task(self, end='fail'):
        task = self.task_repo.get(self.task_id)
        getattr(task, end)({'fail': 'why', 'succeed': {}}[end])
        self.task_repo.save(task)

    def unlock(self):
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()

    def status(self):
        return self.image_repo.get(self.image_id).status


class Held(KeeperCase):

    def test_import_that_is_going_on(self):
        self.claim()
        for _ in range(2):
            self.assertTrue(self.keeper.look())
            self.assertEqual(1, len(self.tickets()))
        self.assertEqual('importing', self.status())

    def test_import_that_is_over(self):
        for end in ('fail', 'succeed'):
            self.claim()
            self.end_task(end)
            self.keeper.look()
            self.assertEqual(1, len(self.tickets()))
            self.unlock()
            self.keeper.look()
            self.assertEqual([], self.tickets())

    def test_task_that_is_gone(self):
        """Glance cannot end it any more."""
        self.claim()
        self.task_repo.remove(self.task_repo.get(self.task_id))
        self.unlock()
        self.keeper.look()
        self.assertEqual(1, len(self.tickets()))
        del self.flow
        self.keeper.look()
        self.assertEqual([], self.tickets())

    def test_image_that_is_gone(self):
        """What Glance does for it may go on for a while."""
        self.claim()
        self.delete(self.image_id)
        self.keeper.look()
        self.assertEqual(1, len(self.tickets()))
        self.end_task()
        self.store_path('fast').joinpath(self.image_id).write_bytes(b'data')
        self.keeper.look()
        self.assertEqual(1, len(self.tickets()))
        del self.flow
        self.keeper.look()
        self.assertEqual([], self.tickets())
        # Glance had just copied it, and leaves it.
        self.assertEqual([], os.listdir(self.store_path('fast')))

    def test_flow_that_is_gone(self):
        """Glance has let go of it, but not of the image."""
        self.claim()
        self.stage(self.image_id, b'data')
        del self.flow
        gc.collect()
        self.keeper.look()
        self.assertEqual([], self.tickets())
        self.assertEqual('queued', self.status())
        self.assertEqual([], self.staged())
        self.assertEqual(recovery.MESSAGE,
                         self.task_repo.get(self.task_id).message)

    def test_flow_that_is_garbage(self):
        self.claim()
        self.end_task()
        self.flow.itself = self.flow
        del self.flow
        for _ in range(2):
            self.keeper.look()
        self.assertEqual('queued', self.status())
        self.assertEqual([], self.tickets())

    def test_claimed_again(self):
        """Glance may ask for the flow again when the database was busy."""
        self.claim()
        self.keeper.claim(self.claimed(), self.flow)
        self.assertEqual(1, len(self.tickets()))

    def test_given_up(self):
        self.claim()
        self.keeper.release('req-1')
        self.keeper.release('another')
        self.assertEqual([], self.tickets())

    def test_database_does_not_answer(self):
        self.claim()
        with mock.patch.object(recovery, 'Import', autospec=True,
                               side_effect=RuntimeError):
            self.assertFalse(self.keeper.look())
        self.assertEqual(1, len(self.tickets()))

    def test_copy_of_the_process(self):
        """A child has the descriptors, but the tickets are its parent's."""
        self.claim()
        child = os.fork()
        if not child:
            self.keeper.forget()
            os._exit(len(self.keeper._held))
        self.assertEqual(0, os.waitstatus_to_exitcode(
            os.waitpid(child, 0)[1]))
        box = tickets.Box(str(self.scratch / 'lock'), claims.SUFFIX)
        self.assertTrue(box.is_held(self.tickets()[0]))


class Expected(KeeperCase):
    """The import was asked for, but may never begin."""

    def expect(self):
        self.image_id = self.new_image()
        self.keeper.expect(claims.Claim(
            image_id=self.image_id, request_id='req-1',
            staged=str(self.staging / self.image_id)))

    def assert_held(self, count=1):
        self.assertTrue(self.keeper.look())
        self.assertEqual(count, len(self.tickets()))

    def test_request_that_is_not_answered_yet(self):
        self.expect()
        self.assert_held()
        self.task_id = self.new_import(self.image_id, status='pending')
        self.assert_held()

    def test_refused(self):
        self.expect()
        self.keeper.answered('req-1', is_accepted=False)
        self.assertEqual([], self.tickets())

    def test_accepted(self):
        """It waits for a thread, and then is claimed with its flow."""
        self.expect()
        self.task_id = self.new_import(self.image_id, status='pending')
        self.keeper.answered('req-1', is_accepted=True)
        self.assert_held()
        self.flow = Flow()
        self.keeper.claim(self.claimed(), self.flow)
        self.assert_held()

    def test_claimed_before_it_was_answered(self):
        self.expect()
        self.task_id = self.new_import(self.image_id)
        self.flow = Flow()
        self.keeper.claim(self.claimed(), self.flow)
        self.keeper.answered('req-1', is_accepted=True)
        self.assert_held()

    def test_over_before_it_was_answered(self):
        self.expect()
        self.task_id = self.new_import(self.image_id)
        self.flow = Flow()
        self.keeper.claim(self.claimed(), self.flow)
        self.end_task()
        self.unlock()
        self.assert_held(0)
        self.keeper.answered('req-1', is_accepted=True)
        self.assert_held(0)

    def test_another_host_does_it(self):
        """Glance hands it to the host that has the data in staging."""
        self.expect()
        self.new_import(self.image_id, request_id='of the other host')
        self.keeper.answered('req-1', is_accepted=True)
        self.assert_held(0)


class Thread(KeeperCase):

    def test_looks_at_once_and_again(self):
        self.useFixture(base.fixture.fixtures.MockPatchObject(
            keeper, '_INTERVAL', 0.01))
        looks = []

        def look(_):
            looks.append(time.monotonic())
            if len(looks) == 3:
                # It ends the thread, and nothing else.
                raise SystemExit
            return True

        with mock.patch.object(keeper.Keeper, 'look', look):
            started = keeper.Keeper()
            for _ in range(2):
                started.start()
            self.assertTrue(started._thread.daemon)
            started._thread.join(20)
        self.assertEqual(3, len(looks))

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

import contextlib
import os
import threading
import time
from unittest import mock

from tests.unit import cases
from tests.unit.plugin import base
from tests.unit.recovery import calls

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import keeper
    from glance_xs_convert.recovery import records
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert.recovery import runs
    from glance_xs_convert.recovery import tickets


class KeeperCase(base.GlanceCase):

    @contextlib.contextmanager
    def running(self):
        """Glance runs the import, and has ended it when this is left."""
        begun, end = threading.Event(), threading.Event()

        def run():
            self.claim()
            begun.set()
            end.wait(cases.PATIENCE)
        thread = threading.Thread(target=calls.in_glance, args=[run])
        thread.start()
        begun.wait(cases.PATIENCE)
        try:
            yield
        finally:
            end.set()
            thread.join(cases.PATIENCE)

    def begin_import(self, request_id='req-1'):
        self.image_id = self.new_image()
        self.task_id = self.new_import(self.image_id, request_id=request_id)
        self.begin(self.image_id, self.task_id)

    def claim(self, task_id=None):
        self.keeper.claim(self.image_id, str(self.staging / self.image_id),
                          task_id or self.task_id, ['fast'], runs.current())

    def claims(self):
        """What is on the tickets."""
        return [claims.parsed(
            (self.scratch / keeping.tickets() / name).read_text())
            for name in self.tickets()]

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
        self.begin_import()
        with self.running():
            for _ in range(2):
                self.assertTrue(self.keeper.check())
                self.assertEqual(1, len(self.tickets()))
        self.assertEqual('importing', self.status())

    def test_import_that_is_over(self):
        for end in ('fail', 'succeed'):
            self.begin_import()
            with self.running():
                self.end_task(end)
                self.keeper.check()
                self.assertEqual(1, len(self.tickets()))
                with self.wrapper(self.image_id, self.task_id) as action:
                    action.set_image_attribute(status='queued')
                self.unlock()
                self.keeper.check()
                self.assertEqual([], self.tickets())

    def test_task_that_is_gone(self):
        """Glance cannot end it any more."""
        self.begin_import()
        with self.running():
            self.task_repo.remove(self.task_repo.get(self.task_id))
            self.keeper.check()
            self.assertEqual(1, len(self.tickets()))
        self.keeper.check()
        self.assertEqual([], self.tickets())
        self.assertEqual('queued', self.status())

    def test_image_that_is_gone(self):
        """What Glance does for it may go on for a while."""
        self.begin_import()
        with self.running():
            self.delete(self.image_id)
            self.keeper.check()
            self.assertEqual(1, len(self.tickets()))
            self.end_task()
            self.store_path('fast').joinpath(
                self.image_id).write_bytes(b'data')
            self.keeper.check()
            self.assertEqual(1, len(self.tickets()))
        self.keeper.check()
        self.assertEqual([], self.tickets())
        # Glance had just copied it, and leaves it.
        self.assertEqual([], os.listdir(self.store_path('fast')))

    def test_run_that_ended_improperly(self):
        """Glance has let go of it, but not of the image."""
        self.begin_import()
        with self.running():
            self.stage(self.image_id, b'data')
        self.keeper.check()
        self.assertEqual([], self.tickets())
        self.assertEqual('queued', self.status())
        self.assertEqual([], self.staged())
        self.assertEqual(remedies.MESSAGE,
                         self.task_repo.get(self.task_id).message)

    def test_image_was_released_too_early(self):
        """A revert failed, and Glance's own reverts went on."""
        self.begin_import()
        with self.running():
            self.stage(self.image_id, b'data')
            self.end_task()
            self.unlock()
            self.keeper.check()
            self.assertEqual('importing', self.status())
        self.keeper.check()
        self.assertEqual('queued', self.status())
        self.assertEqual(([], []), (self.staged(), self.tickets()))

    def test_caller_that_is_not_known(self):
        """Nobody can tell when it ends."""
        self.begin_import()
        self.claim()
        self.keeper.check()
        self.assertEqual(1, len(self.tickets()))

    def test_claimed_again(self):
        """Glance may ask for the flow again when the database was busy."""
        self.begin_import()
        for _ in range(2):
            self.claim()
        self.assertEqual(1, len(self.tickets()))

    def test_change_of_the_record(self):
        self.begin_import()
        self.claim()
        undo = records.RecordChange({'disk_format': 'vhd'}, {'a': None})
        self.keeper.record('another', undo)
        self.assertEqual([None], [claim.undo for claim in self.claims()])
        self.keeper.record(self.task_id, undo)
        self.assertEqual([undo], [claim.undo for claim in self.claims()])

    def test_given_up(self):
        self.begin_import()
        self.claim()
        self.keeper.give_up('another')
        self.assertEqual(1, len(self.tickets()))
        self.keeper.give_up(self.task_id)
        self.assertEqual([], self.tickets())

    def test_database_does_not_answer(self):
        self.begin_import()
        self.claim()
        with mock.patch.object(remedies, 'ClaimedImport', autospec=True,
                               side_effect=RuntimeError):
            self.assertFalse(self.keeper.check())
        self.assertEqual(1, len(self.tickets()))

    def test_copy_of_the_process(self):
        """A child has the descriptors, but the tickets are its parent's."""
        self.begin_import()
        self.claim()
        child = os.fork()
        if not child:
            self.keeper.forget()
            os._exit(len(self.keeper._held))
        self.assertEqual(0, os.waitstatus_to_exitcode(
            os.waitpid(child, 0)[1]))
        box = tickets.Box(keeping.tickets(), claims.SUFFIX)
        self.assertIn(self.tickets()[0], dict(box.held()))


class Expected(KeeperCase):
    """The import was asked for, but may never begin."""

    def expect(self, request_id='req-1', image_id=None):
        self.image_id = image_id or self.new_image()
        claim = claims.Claim(
            image_id=self.image_id, request_id=request_id,
            staged=str(self.staging / self.image_id))
        self.keeper.expect(claim)
        return claim

    def assert_held(self, count=1):
        self.assertTrue(self.keeper.check())
        self.assertEqual(count, len(self.tickets()))

    def test_request_that_is_not_answered_yet(self):
        self.expect()
        self.assert_held()
        self.task_id = self.new_import(self.image_id, status='pending')
        self.assert_held()

    def test_refused(self):
        claim = self.expect()
        self.keeper.release(claim)
        self.assertEqual([], self.tickets())

    def test_accepted(self):
        """It waits for a thread, and then is claimed on the same ticket."""
        claim = self.expect()
        self.task_id = self.new_import(self.image_id, status='pending')
        self.keeper.accept(claim)
        self.assert_held()
        before = self.tickets()
        self.claim()
        self.assert_held()
        self.assertEqual(before, self.tickets())
        found, = self.claims()
        self.assertEqual((claim.token, self.task_id, ['fast']),
                         (found.token, found.task_id, found.stores))

    def test_claimed_before_it_was_answered(self):
        claim = self.expect()
        self.task_id = self.new_import(self.image_id)
        self.claim()
        self.keeper.accept(claim)
        self.assert_held()

    def test_begun_although_the_answer_is_an_error(self):
        for answer in (self.keeper.leave, self.keeper.release):
            claim = self.expect()
            self.task_id = self.new_import(self.image_id)
            self.claim()
            answer(claim)
            self.assert_held()
            self.keeper.give_up(self.task_id)

    def test_over_before_it_was_answered(self):
        claim = self.expect()
        self.task_id = self.new_import(self.image_id)
        self.claim()
        self.end_task()
        self.unlock()
        self.assert_held(0)
        self.keeper.accept(claim)
        self.assert_held(0)

    def test_another_host_does_it(self):
        """Glance hands it to the host that has the data in staging."""
        claim = self.expect()
        self.new_import(self.image_id, request_id='of the other host')
        self.keeper.accept(claim)
        self.assert_held(0)

    def test_refused_request_with_the_same_id(self):
        """It does not concern the import that is going on."""
        claim = self.expect()
        self.task_id = self.new_import(self.image_id)
        self.keeper.accept(claim)
        self.claim()
        other = self.expect(image_id=self.image_id)
        self.keeper.release(other)
        another = self.expect()
        self.keeper.release(another)
        self.assertEqual([claim.token],
                         [found.token for found in self.claims()])

    def test_requests_for_one_image_at_once(self):
        """The task tells which of them was accepted."""
        first, second = self.expect('req-1'), None
        second = self.expect('req-2', self.image_id)
        self.task_id = self.new_import(self.image_id, request_id='req-2')
        self.claim()
        self.keeper.accept(second)
        self.keeper.release(first)
        found, = self.claims()
        self.assertEqual((second.token, self.task_id),
                         (found.token, found.task_id))

    def test_failed_after_the_task_was_stored(self):
        """For example, Glance has no thread for it any more."""
        claim = self.expect()
        self.task_id = self.new_import(self.image_id, status='pending')
        self.keeper.leave(claim)
        self.assert_held(0)
        self.assertEqual('failure', self.task_repo.get(self.task_id).status)
        self.new_import(self.image_id)

    def test_failed_before(self):
        claim = self.expect()
        self.keeper.leave(claim)
        self.assert_held(0)


class Thread(KeeperCase):

    def setUp(self):
        super().setUp()
        self.useFixture(base.fixture.fixtures.MockPatchObject(
            keeper, '_INTERVAL', 0.01))
        self.checks = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.useFixture(base.fixture.fixtures.MockPatchObject(
            keeper.Keeper, 'check', self.check))

    def check(self):
        self.go_on.wait(cases.PATIENCE)
        self.checks.append(time.monotonic())
        if len(self.checks) % 3 == 0:
            # It ends the thread, and nothing else.
            raise SystemExit
        return True

    def test_checks_at_once_and_again(self):
        started = keeper.Keeper(keeping.tickets)
        self.go_on.clear()
        for _ in range(2):
            started.start()
        self.go_on.set()
        self.assertTrue(started._thread.daemon)
        started._thread.join(cases.PATIENCE)
        self.assertEqual(3, len(self.checks))

    def test_is_started_again(self):
        started = keeper.Keeper(keeping.tickets)
        for count in (3, 6):
            started.start()
            started._thread.join(cases.PATIENCE)
            self.assertEqual(count, len(self.checks))

    def test_cannot_be_started(self):
        """The next import tries again."""
        started = keeper.Keeper(keeping.tickets)
        with mock.patch.object(threading.Thread, 'start', autospec=True,
                               side_effect=RuntimeError("can't start")):
            started.start()
        started.start()
        started._thread.join(cases.PATIENCE)
        self.assertEqual(3, len(self.checks))

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

"""Many images, a few at a time."""

import threading
import time
import unittest

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import runner
from glance_xs_convert.migrate import selection
from tests.unit.migrate import glance

METHODS = methods.Methods(methods.Download('Region', 'public'))
SETTINGS = migration.Settings(METHODS)
BROKEN = 'The XenServer image cannot be converted: it is broken. [NoVhd]'


class Watch:
    """Counts how many images are under way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.on_start = None

    def started(self, row):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        if self.on_start:
            self.on_start()

    def advanced(self, row, stage, fraction):
        time.sleep(0.001)

    def ended(self, outcome):
        with self.lock:
            self.now -= 1

    def said(self, sentence):
        self.sentence = sentence


class TestRunner(unittest.TestCase):
    """All images come to their turn."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        for number in range(8):
            self.cloud.add('old %d' % number)
        self.watch = Watch()

    def rows(self):
        return inventory.Inventory(
            self.cloud, selection.Selection()).rows()

    def run_all(self, jobs=3):
        self.runner = runner.Runner(self.cloud, SETTINGS, jobs, self.watch)
        return {outcome.row.id: outcome
                for outcome in self.runner.run(self.rows())}

    def test_all_are_done(self):
        outcomes = self.run_all()
        self.assertEqual({'done'}, {
            outcome.row.state for outcome in outcomes.values()})
        self.assertEqual(8, len(outcomes))
        self.assertEqual({glance.DISK}, {
            outcome.disk for outcome in outcomes.values()})
        self.assertLessEqual(self.watch.most, 3)
        self.assertFalse(self.runner.interrupted)

    def test_one_that_fails_does_not_end_the_others(self):
        self.cloud.failures = [BROKEN]
        outcomes = self.run_all(jobs=1)
        states = [outcome.row.state for outcome in outcomes.values()]
        self.assertEqual(['failed'] + ['done'] * 7, states)

    def test_plugin_that_is_not_on_ends_all(self):
        self.cloud.converts = False
        outcomes = self.run_all(jobs=1)
        self.assertEqual(1, len(outcomes))
        self.assertIsInstance(self.runner.problem, errors.NotConverted)

    def test_cloud_that_is_gone_ends_all(self):
        def unreachable(*arguments):
            raise errors.Unreachable('nobody answers')

        self.cloud.create = unreachable
        outcomes = self.run_all(jobs=1)
        self.assertEqual(3, len(outcomes))
        self.assertIsInstance(self.runner.problem, errors.Unreachable)

    def test_error_of_our_own_does_not_end_the_others(self):
        create, failed = self.cloud.create, []

        def once(*arguments):
            if not failed:
                failed.append(1)
                raise ZeroDivisionError
            return create(*arguments)

        self.cloud.create = once
        with self.assertLogs('glance_xs_convert.migrate.runner'):
            outcomes = self.run_all(jobs=1)
        states = [outcome.row.state for outcome in outcomes.values()]
        self.assertEqual(['failed'] + ['done'] * 7, states)

    def test_interrupted(self):
        self.watch.on_start = lambda: self.runner.interrupt()
        outcomes = self.run_all(jobs=1)
        self.assertEqual(1, len(outcomes))
        self.assertTrue(self.runner.interrupted)
        self.watch.on_start = None
        self.run_all()
        self.assertEqual({'done'}, {row.state for row in self.rows()})

    def test_left(self):
        def twice():
            self.runner.interrupt()
            self.runner.interrupt()

        self.watch.on_start = twice
        outcome, = self.run_all(jobs=1).values()
        self.assertEqual('running', outcome.row.state)
        self.assertIn('next run', outcome.row.reason)

    def test_what_is_told_of_all_images(self):
        self.run_all()
        METHODS.say('hello')
        self.assertEqual('hello', self.watch.sentence)

    def test_what_is_taken_up(self):
        rows = [inventory.Row(state, '', 'p', 1, state)
                for state in inventory.STATES]
        rows.append(inventory.Row('refused', '', 'p', 1, 'failed',
                                  is_refused=True))
        rows.append(inventory.Row('gone', '', 'p', 1, 'done',
                                  old_is_gone=True))
        rows.append(inventory.Row('awaiting', '', 'p', 1, 'done',
                                  retired=frozenset((names.AWAITING,))))
        usual = {'waiting', 'running', 'failed', 'awaiting'}
        for retry, old, taken in (
                (False, None, usual), (True, None, usual | {'refused'}),
                (False, 'hide', usual | {'done'})):
            settings = migration.Settings(METHODS, old=old, retry=retry)
            self.assertEqual(taken, {
                row.id for row in runner.to_do(rows, settings)})

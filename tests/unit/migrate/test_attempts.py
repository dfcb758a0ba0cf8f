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
"""Imports are repeated as long as that may help."""

import unittest

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import attempts
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import names
from tests.unit.migrate import glance
from tests.unit.migrate import migrations

UPLOAD = {names.UPLOADING: str(annotations.Upload('a' * 32))}


class AttemptsCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        self.stages = []

    def attempts(self, deadline=3600):
        return attempts.Attempts(
            self.cloud, deadline,
            lambda stage, fraction: self.stages.append(stage))

    def new(self, **attributes):
        """The record of a new image."""
        return dict(self.cloud.records[self.cloud.add('new', **attributes)])


class Run(AttemptsCase):

    def run_with(self, *errors_):
        """Make attempts that raise these errors, and one that succeeds."""
        left = list(errors_)

        def attempt():
            if left:
                raise left.pop(0)
            return 'result'

        return self.attempts().run(attempt)

    def test_first_attempt(self):
        self.assertEqual('result', self.run_with())
        self.assertEqual([], self.stages)

    def test_images_that_are_lost(self):
        lost = [errors.Lost('gone')] * (attempts.IMPORTS - 1)
        self.assertEqual('result', self.run_with(*lost))
        self.assertEqual(['waiting after a failure'] * len(lost), self.stages)
        with self.assertRaisesRegex(errors.Failed, '^gone$'):
            self.run_with(*lost, errors.Lost('gone'))

    def test_busy_hosts_do_not_count(self):
        lost = [errors.Lost('gone')] * (attempts.IMPORTS - 1)
        for times in (1, 2, 10):
            busy = [errors.HostsBusy('later')] * times
            self.stages.clear()
            self.assertEqual('result', self.run_with(*busy, *lost))
            self.assertEqual(times + len(lost), len(self.stages))

    def test_other_errors(self):
        with self.assertRaises(errors.Conflict):
            self.run_with(errors.Conflict('not now'))


class GiveUpOrRepeat(AttemptsCase):

    def decide(self, error, kind, deadline=3600, **attributes):
        """Whether the image of a failed import was deleted."""
        ending = importing.Ending(
            self.new(status='queued', **attributes), 'Why.', kind)
        with self.assertRaises(errors.MigrationError) as caught:
            self.attempts(deadline).give_up_or_repeat(
                ending, migrations.DIRECT)
        self.assertIs(error, type(caught.exception))
        self.assertIn('Why.', str(caught.exception))
        return not self.cloud.records

    def test_archive_is_at_fault(self):
        self.assertFalse(self.decide(errors.Refused, 'EncryptedVhd'))

    def test_operators_have_to_act(self):
        self.assertFalse(self.decide(errors.Failed, 'QuotaExceeded'))

    def test_host_is_at_fault(self):
        for kind in ('OutOfSpace', None, 'OfANewerVersion'):
            self.assertTrue(self.decide(errors.Lost, kind), kind)

    def test_hosts_have_no_time(self):
        busy = 'TooManyWaiting'
        self.assertFalse(self.decide(errors.HostsBusy, busy))
        self.assertTrue(self.decide(errors.HostsBusy, busy, **UPLOAD))
        self.assertTrue(self.decide(errors.Lost, busy, deadline=-1))

    def test_last_attempt(self):
        """Its image records why it failed."""
        work = self.attempts()
        with self.assertRaisesRegex(errors.Failed, 'gives no reason'):
            work.run(lambda: work.give_up_or_repeat(
                importing.Ending(self.new(status='queued')),
                migrations.DIRECT))
        self.assertEqual(1, len(self.cloud.records))


class CheckConverted(AttemptsCase):

    def check(self, size, **attributes):
        new = self.new(**{'disk_format': 'raw', 'container_format': 'bare',
                          'size': 512, 'virtual_size': 512} | attributes)
        attempts.check_converted(self.cloud, new, size)

    def test_disk(self):
        self.check(512)
        self.assertEqual(1, len(self.cloud.records))

    def test_archive(self):
        with self.assertRaises(errors.NotConverted):
            self.check(512, container_format='ovf')
        self.assertEqual({}, self.cloud.records)

    def test_wrong_size(self):
        for size, virtual_size in ((1024, 512), (512, 1024)):
            with self.assertRaisesRegex(errors.Failed, 'but the disk has'):
                self.check(size, virtual_size=virtual_size)
            self.assertEqual({}, self.cloud.records)

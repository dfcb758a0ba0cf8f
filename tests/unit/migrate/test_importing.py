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

"""An import is advanced from whatever state it is in."""

import io
from unittest import mock

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import record
from tests.unit.migrate import glance
from tests.unit.migrate import migrations

DEADLINE = 3600


class ImportCase(migrations.MigrationCase):
    """Imports into the first new image."""

    def setUp(self):
        super().setUp()
        self.told = []

    def claim(self, uploads=False):
        return claiming.claim_next(
            self.cloud, self.old,
            record.initial_attributes(self.old, False), None, uploads=uploads)

    def run_import(self, claim, method=migrations.DOWNLOAD,
                   deadline=DEADLINE):
        return importing.Import(
            self.cloud, method, (), deadline,
            lambda stage, fraction: self.told.append(stage),
            methods.StoredImage(self.cloud, migrations.OLD, glance.ARCHIVE),
            claim).run()

    def new(self, claim):
        return self.cloud.records[claim.new_id]


class TestImport(ImportCase):
    """All goes well, or Glance says why it does not."""

    def test_each_method(self):
        for method in migrations.METHODS:
            self.setUp()
            ending = self.run_import(self.claim(method.uploads), method)
            self.assertTrue(ending.is_active)
            self.assertEqual(method.uploads, 'uploading' in self.told)

    def test_failure(self):
        self.cloud.failures = [migrations.BROKEN]
        ending = self.run_import(self.claim())
        self.assertFalse(ending.is_active)
        self.assertEqual((migrations.BROKEN, 'MissingLayer'),
                         (ending.message, ending.kind))

    def test_failure_of_an_earlier_import_does_not_count(self):
        self.cloud.failures = [migrations.BROKEN]
        claim = self.claim()
        self.run_import(claim)
        self.assertTrue(self.run_import(self.claim()).is_active)

    def test_active_image_whose_task_never_ends(self):
        """Its host was killed when it had almost completed the import."""
        claim = self.claim()

        def go_on(job, image):
            image['status'] = 'active'
            image.pop('os_glance_import_task', None)

        self.cloud._go_on = go_on
        self.assertTrue(self.run_import(claim).is_active)

    def test_image_in_a_status_that_imports_do_not_have(self):
        """An administrator has deactivated it."""
        claim = self.claim()
        self.new(claim)['status'] = claim.new['status'] = 'deactivated'
        with self.assertRaisesRegex(errors.Lost, 'deactivated'):
            self.run_import(claim)

    def test_deleted_image(self):
        claim = self.claim()
        self.cloud.records.pop(claim.new_id)
        with self.assertRaises(errors.Lost):
            self.run_import(claim)


class TestStandstill(ImportCase):
    """Nobody is waited for who is not there."""

    def lost(self, claim, seconds, method=migrations.DOWNLOAD):
        """The image is given up, after some time but not much later."""
        with (migrations.passing(1) as time,
              self.assertRaises(errors.Lost)):
            self.run_import(claim, method)
        self.assertIn(claim.new_id, self.cloud.deleted)
        self.assertTrue(seconds <= time.now <= seconds + 30, time.now)

    def test_upload_of_another_that_stands_still(self):
        for change in ({}, {'status': 'uploading'}):
            self.setUp()
            self.claim(uploads=True)
            claim = self.claim()
            claim.new.update(change)
            self.new(claim).update(change)
            self.lost(claim, importing.STANDSTILL)
            self.assertLess(importing.STANDSTILL, 120)

    def test_upload_of_another_that_goes_on(self):
        first = self.claim(uploads=True)
        self.new(first)['status'] = 'uploading'
        beats = iter(range(300))

        def meanwhile(name, *arguments):
            beat = next(beats)
            image = self.cloud.records.get(first.new_id)
            if name != '_tasks' or image['status'] != 'uploading':
                return
            image[names.UPLOADING] = str(annotations.Upload('a' * 32, beat))
            if beat > 250:
                image['size'] = glance.ARCHIVE

        self.cloud.meanwhile = meanwhile
        with migrations.passing(10):
            self.assertTrue(self.run_import(self.claim()).is_active)

    def test_upload_that_is_incomplete(self):
        claim = self.claim(uploads=True)
        self.new(claim).update({'status': 'uploading', 'size': 7})
        with self.assertRaisesRegex(errors.Lost, 'incomplete'):
            self.run_import(claiming.Claim(dict(self.new(claim))))

    def test_own_upload_that_failed_is_taken_up_at_once(self):
        for status, problem in (
                ('queued', errors.Unreachable('500')),
                ('uploading', errors.Unreachable('reset')),
                ('queued', errors.Conflict('has data on staging'))):
            self.setUp()
            claim = self.claim(uploads=True)

            def stage(image_id, data, size, status=status, problem=problem):
                self.cloud.records[image_id]['status'] = status
                raise problem

            self.cloud.stage = stage
            with migrations.passing(1) as time:
                with self.assertRaises(errors.Lost):
                    self.run_import(claim, migrations.DIRECT)
                self.assertLess(time.now, 10)
            self.assertIn(claim.new_id, self.cloud.deleted)

    def test_upload_that_glance_does_not_take_at_first(self):
        """It goes to the same image, as long as that one is empty."""
        claim = self.claim(uploads=True)
        stage, problems = self.cloud.stage, [errors.Unreachable('429')] * 2

        def refuse(image_id, data, size):
            if problems:
                raise problems.pop()
            stage(image_id, data, size)

        self.cloud.stage = refuse
        self.assertTrue(self.run_import(claim, migrations.DIRECT).is_active)
        self.assertFalse(self.cloud.deleted)

    def test_own_upload_whose_answer_is_lost(self):
        stage = self.cloud.stage

        def lose(image_id, data, size):
            stage(image_id, data, size)
            raise errors.Unreachable('reset')

        self.cloud.stage = lose
        self.assertTrue(self.run_import(
            self.claim(uploads=True), migrations.DIRECT).is_active)

    def test_image_that_is_locked_for_no_task(self):
        claim = self.claim()
        self.new(claim)['os_glance_import_task'] = 'none'
        claim.new['os_glance_import_task'] = 'none'
        self.lost(claim, importing.STANDSTILL)

    def test_failed_import_that_leaves_its_image_locked(self):
        def fail(job, image):
            image['status'] = 'importing'
            job |= {'status': 'failure', 'message': 'no luck'}

        self.cloud._go_on = fail
        self.lost(self.claim(), 20)

    def test_stuck_import(self):
        self.cloud._go_on = lambda job, image: None
        self.lost(self.claim(), DEADLINE)

    def test_member_does_not_see_the_tasks_of_an_administrator(self):
        self.cloud.is_admin = False
        claim = self.claim()
        self.new(claim)['os_glance_import_task'] = 'hidden'
        claim.new['os_glance_import_task'] = 'hidden'
        self.lost(claim, DEADLINE)

    def test_command_that_imports_in_another_way(self):
        """Only who has created an image uploads to it."""
        claim = self.claim()
        with self.assertRaisesRegex(errors.Lost, 'another way'):
            self.run_import(claiming.Claim(claim.new), migrations.DIRECT)
        self.assertEqual([], self.cloud.staged)


class TestBeats(ImportCase):
    """Whoever uploads says so."""

    def upload(self, during):
        """Upload, and call a function while Glance receives the data."""
        claim = self.claim(uploads=True)

        def stage(image_id, data, size):
            self.new(claim)['status'] = 'uploading'
            self.seen = []
            while data.read(100):
                during(claim)
                self.seen.append(self.new(claim)[names.UPLOADING])
            self.new(claim)['size'] = size

        self.cloud.stage = stage
        with mock.patch.object(methods, 'BEAT', 3), migrations.passing(1):
            return self.run_import(claim, migrations.DIRECT)

    def test_beats(self):
        self.assertTrue(self.upload(lambda claim: None).is_active)
        self.assertGreater(len(set(self.seen)), 2)

    def test_beats_that_fail_do_not_end_the_upload(self):
        def patch(*arguments, **options):
            raise errors.Unreachable('503')

        def during(claim):
            self.cloud.patch = patch

        self.assertTrue(self.upload(during).is_active)
        self.assertEqual(1, len(set(self.seen)))

    def test_upload_that_was_taken_over(self):
        with self.assertRaises(errors.Lost):
            self.upload(lambda claim: self.new(claim).update(
                {names.UPLOADING: str(annotations.Upload('b' * 32))}))

    def test_no_beat_after_the_last_byte(self):
        """Glance may be writing its own record of the image by then."""
        beats = []
        with mock.patch.object(methods, 'BEAT', 0), migrations.passing(1):
            upload = methods.Upload(io.BytesIO(b'x' * 10), 10,
                                    lambda count: None,
                                    lambda: beats.append(1))
            while upload.read(5):
                pass
        self.assertEqual(2, len(beats))

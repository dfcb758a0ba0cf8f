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

"""Setting back imports whose process is gone."""

import time
from unittest import mock

from tests.unit import cases
from tests.unit.plugin import base
from tests.unit.recovery import leftovers

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import interrupted
    from glance_xs_convert.recovery import records
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert.recovery import stores


class Importing(leftovers.RecoveryCase):
    """The image has no data yet, or not in all of its stores."""

    def test_before_the_import_began(self):
        for status in ('queued', 'uploading'):
            self.leave('glance-direct', status=status)
            self.assertEqual([remedies.Remedy.SET_BACK.value], self.recover())
            self.assert_set_back()

    def test_before_the_conversion(self):
        self.leave()
        self.assertEqual([remedies.Remedy.SET_BACK.value], self.recover())
        self.assert_set_back()

    def test_after_the_conversion(self):
        self.leave(extra_properties={'vm_mode': 'hvm', 'os_type': 'x'})
        self.convert()
        self.recover()
        self.assert_set_back(vm_mode='hvm', os_type='x')

    def test_record_was_to_be_changed(self):
        """The ticket tells of a change that was not made any more."""
        self.leave()
        self.ticket.add(claims.undo_addition(records.RecordChange(
            {'disk_format': 'vhd', 'container_format': 'ovf', 'size': None,
             'virtual_size': None}, {'xs_convert_layers': None})))
        self.recover()
        self.assert_set_back()

    def test_while_copying(self):
        self.leave()
        self.convert()
        self.cut_copy('fast')
        self.recover()
        self.assert_set_back()

    def test_between_two_stores(self):
        self.leave(stores=('fast', 'slow'))
        self.convert()
        self.copy('fast')
        self.recover()
        self.assert_set_back()

    def test_while_copying_to_the_second_store(self):
        self.leave(stores=('fast', 'slow'))
        self.convert()
        self.copy('fast')
        self.cut_copy('slow')
        self.recover()
        self.assert_set_back()

    def test_data_is_gone_already(self):
        self.leave(stores=('fast', 'slow'))
        self.convert()
        self.copy('fast')
        self.store_path('fast').joinpath(self.image_id).unlink()
        self.path.unlink()
        self.recover()
        self.assert_set_back()

    def test_scrubber_deletes_later(self):
        """What it is going to delete must stay until it has done so."""
        base.importlib.import_module('glance.scrubber')
        self.conf.config(delayed_delete=True)
        for key in (None, '0123456789abcdef'):
            self.conf.config(metadata_encryption_key=key)
            self.leave(stores=('fast', 'slow'))
            self.convert()
            self.copy('fast')
            self.cut_copy('slow')
            self.recover()
            self.assertEqual('queued', self.image().status)
            self.assertTrue(
                (self.store_path('fast') / self.image_id).exists())
            self.assertFalse(
                (self.store_path('slow') / self.image_id).exists())

    def test_recovery_that_is_interrupted(self):
        """Wherever it was, the next one goes on."""
        for name in ('_remove_unused_copies', '_remove_staged', '_end_task'):
            self.leave(stores=('fast', 'slow'))
            self.convert()
            self.copy('fast')
            self.cut_copy('slow')
            with mock.patch.object(
                    remedies.ClaimedImport, name, autospec=True,
                    side_effect=RuntimeError('stopped')):
                self.ticket.drop()
                self.assertFalse(
                    interrupted.Recovery(keeping.tickets).recover())
                self.assertEqual(1, len(self.tickets()))
            self.recover()
            self.assert_set_back()

    def test_locations_of_parallel_copies(self):
        """Glance shows them nowhere, but makes them."""
        self.leave(stores=('fast', 'slow'))
        self.convert()
        for store in self.stores:
            base.db_api.image_location_add(
                self.context, self.image_id,
                {'url': f'pending://parallel-import/{store}',
                 'metadata': {'store': store}, 'status': 'pending'})
        self.recover()
        self.assert_set_back()
        record = base.db_api.image_get(self.context, self.image_id)
        self.assertEqual([], record['locations'])

    def test_dry_run(self):
        self.leave()
        before = self.image()
        self.assertEqual([remedies.Remedy.SET_BACK.value],
                         self.recover(dry_run=True))
        self.assertEqual('importing', self.image().status)
        self.assertEqual(dict(before.extra_properties),
                         dict(self.image().extra_properties))
        self.assertEqual(2, len(self.staged()))
        self.assertEqual(1, len(self.tickets()))
        self.recover()
        self.assert_set_back()


class Requested(leftovers.RecoveryCase):
    """The import was asked for, and its process knew no task yet."""

    def request(self, status='queued'):
        self.stores = ('fast', 'slow')
        self.image_id = self.new_image()
        image = self.image()
        if status == 'uploading':
            image.status = 'uploading'
            self.image_repo.save(image)
            self.stage(self.image_id, leftovers.DATA)
        self.draw(request_id='req-7')

    def accept(self, request_id='req-7', status='pending'):
        self.task_id = self.new_import(
            self.image_id, stores=self.stores, request_id=request_id,
            status=status)

    def test_not_begun(self):
        self.request('uploading')
        self.assertEqual([remedies.Remedy.NOT_BEGUN.value], self.recover())
        self.assertEqual('uploading', self.image().status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual([], self.tickets())

    def test_accepted(self):
        for status in ('pending', 'processing'):
            for image_status in ('queued', 'uploading'):
                self.request(image_status)
                self.accept(status=status)
                self.assertEqual([remedies.Remedy.SET_BACK.value],
                                 self.recover())
                self.assert_set_back()

    def lock(self):
        self.image_repo.set_property_atomic(
            self.image(), 'os_glance_import_task', 'unknown')

    def wait(self, meanwhile=lambda: None):
        """Recover, wait for the time that a task may take, and recover."""
        self.ticket.drop()
        recovery = interrupted.Recovery(keeping.tickets)
        with mock.patch.object(interrupted, 'time', autospec=True) as clock:
            clock.monotonic.return_value = 1000.0
            self.assertTrue(recovery.recover())
            self.assertTrue(recovery.is_waiting)
            clock.monotonic.return_value += remedies._STORING / 2
            self.assertTrue(recovery.recover())
            self.assertTrue(recovery.is_waiting)
            meanwhile()
            clock.monotonic.return_value += remedies._STORING
            self.assertTrue(recovery.recover())
        return recovery

    def test_task_was_not_stored_yet(self):
        self.request('uploading')
        self.lock()
        self.assertEqual([remedies.Remedy.LOCKED.value],
                         self.recover(dry_run=True))
        self.assertFalse(self.wait().is_waiting)
        self.assertNotIn('os_glance_import_task',
                         self.image().extra_properties)
        self.assertEqual('uploading', self.image().status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual([], self.tickets())

    def test_task_is_stored_in_time(self):
        """The lock is that of another host, which is alive."""
        self.request('uploading')
        self.lock()

        def meanwhile():
            self.image_repo.delete_property_atomic(
                self.image(), 'os_glance_import_task', 'unknown')
            self.accept('req-8')

        self.wait(meanwhile)
        self.assertEqual(
            self.task_id,
            self.image().extra_properties['os_glance_import_task'])
        self.assertEqual([], self.tickets())

    def test_another_lock_waits_again(self):
        """What is waited for is the task of this lock."""
        self.request('uploading')
        self.lock()

        def meanwhile():
            self.image_repo.delete_property_atomic(
                self.image(), 'os_glance_import_task', 'unknown')
            self.image_repo.set_property_atomic(
                self.image(), 'os_glance_import_task', 'another')

        self.assertTrue(self.wait(meanwhile).is_waiting)
        self.assertEqual(
            'another', self.image().extra_properties['os_glance_import_task'])

    def test_another_request_was_first(self):
        """It may be on another host, and about to begin."""
        self.request('uploading')
        self.accept('req-8')
        self.assertEqual([remedies.Remedy.NOT_BEGUN.value], self.recover())
        self.assertEqual(
            ('uploading', self.task_id),
            (self.image().status,
             self.image().extra_properties['os_glance_import_task']))
        self.assertEqual('pending', self.task().status)
        self.assertEqual([self.image_id], self.staged())


class Active(leftovers.RecoveryCase):
    """The image is usable already."""

    def assert_active(self, stores):
        image = self.image()
        self.assertEqual(
            ('active', 'raw', 'bare', len(leftovers.DATA), ''),
            (image.status, image.disk_format, image.container_format,
             image.size,
             image.extra_properties['os_glance_importing_to_stores']))
        self.assertNotIn('os_glance_import_task',
                         dict(image.extra_properties))
        self.assertEqual(stores, [location['metadata']['store']
                                  for location in image.locations])
        for store in stores:
            self.assertEqual(leftovers.DATA, self.store_path(store).joinpath(
                self.image_id).read_bytes())
        self.assertEqual((stores, [], []),
                         (self.stored(), self.staged(), self.tickets()))

    def test_last_copy_was_made(self):
        self.leave()
        self.convert()
        self.copy('fast', last=True)
        self.assertEqual([remedies.Remedy.COMPLETE.value], self.recover())
        self.assert_active(['fast'])
        self.assertEqual('success', self.task().status)

    def test_task_had_ended(self):
        self.leave()
        self.convert()
        self.copy('fast', last=True)
        task = self.task()
        task.succeed({'image_id': self.image_id})
        self.task_repo.save(task)
        self.recover()
        self.assert_active(['fast'])
        self.assertEqual('success', self.task().status)

    def test_further_stores_were_to_come(self):
        self.leave(stores=('fast', 'slow'))
        self.convert()
        self.copy('fast', last=True)
        self.cut_copy('slow')
        self.recover()
        self.assert_active(['fast'])
        self.assertEqual(
            'slow', self.image().extra_properties['os_glance_failed_import'])
        self.assertEqual('failure', self.task().status)
        self.assertIn('copy it to the missing ones: slow. '
                      '[ImportInterrupted]', self.task().message)

    def test_deactivated(self):
        self.leave()
        self.convert()
        self.copy('fast', last=True)
        image = self.image()
        image.deactivate()
        self.image_repo.save(image)
        self.recover()
        self.assertEqual('deactivated', self.image().status)
        self.assertEqual(['fast'], self.stored())


class Others(leftovers.RecoveryCase):
    """The image is not this import's any more."""

    def test_deleted(self):
        self.leave()
        self.cut_copy('fast')
        self.delete(self.image_id)
        self.assertEqual([remedies.Remedy.DELETED.value], self.recover())
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))

    def test_deleted_by_half(self):
        """Glance was killed between the two steps of it."""
        self.leave()
        self.cut_copy('fast')
        image = self.image()
        image.delete()
        self.image_repo.save(image)
        self.assertEqual([remedies.Remedy.DELETED.value], self.recover())
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))

    def test_released(self):
        self.leave(status='queued')
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.assertEqual([remedies.Remedy.RELEASED.value], self.recover())
        self.assertEqual('failure', self.task().status)
        self.assertEqual([self.image_id], self.staged())

    def test_released_too_early(self):
        """The image would stay importing, and nobody could import it."""
        self.leave()
        self.convert()
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.assertEqual([remedies.Remedy.STRANDED.value], self.recover())
        self.assert_set_back()

    def test_locked_by_another_in_the_last_moment(self):
        self.leave()
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.ticket.drop()
        lock = remedies.ClaimedImport._lock_and_set_back

        def lock_too_late(found, waited):
            self.image_repo.set_property_atomic(
                self.image(), 'os_glance_import_task', 'another')
            return lock(found, waited)

        recovery = interrupted.Recovery(keeping.tickets)
        with mock.patch.object(remedies.ClaimedImport, '_lock_and_set_back',
                               lock_too_late):
            self.assertTrue(recovery.recover())
        self.assertTrue(recovery.is_waiting)
        self.assertEqual(
            ('importing', 'another'),
            (self.image().status,
             self.image().extra_properties['os_glance_import_task']))
        self.assertEqual([remedies.Remedy.REPLACED.value], self.recover())

    def test_another_import(self):
        self.leave()
        self.cut_copy('fast')
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        other = self.new_import(self.image_id)
        self.assertEqual([remedies.Remedy.REPLACED.value], self.recover())
        self.assertEqual(
            ('importing', other),
            (self.image().status,
             self.image().extra_properties['os_glance_import_task']))
        self.assertEqual('processing', self.task_repo.get(other).status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual(['fast'], self.stored())


class Waiting(leftovers.RecoveryCase):
    """A store has a copy that cannot be removed yet."""

    def setUp(self):
        super().setUp()
        self.remove = self.useFixture(base.fixture.fixtures.MockPatchObject(
            stores, 'remove_unused_copy', autospec=True,
            side_effect=stores.StoreBusy('it is open', 'Run: rm it'))).mock
        clock = self.useFixture(base.fixture.fixtures.MockPatchObject(
            interrupted, 'time', autospec=True)).mock
        self.monotonic = clock.monotonic
        self.monotonic.return_value = 1000.0
        self.recovery = interrupted.Recovery(keeping.tickets)

    def recover_after(self, seconds):
        self.monotonic.return_value += seconds
        self.assertTrue(self.recovery.recover())

    def test_image_waits_as_it_is(self):
        self.leave()
        self.convert()
        before = self.image()
        self.ticket.drop()
        for seconds in (0, 10, 10):
            self.recover_after(seconds)
            image = self.image()
            self.assertTrue(self.recovery.is_waiting)
            self.assertEqual(
                ('importing', 'raw', dict(before.extra_properties)),
                (image.status, image.disk_format,
                 dict(image.extra_properties)))
            self.assertEqual(1, len(self.tickets()))
        self.remove.side_effect = None
        self.remove.return_value = None
        self.recover_after(10)
        self.assertFalse(self.recovery.is_waiting)
        self.assert_set_back()

    def test_others_do_not_wait(self):
        self.leave()
        self.ticket.drop()
        waiting = self.image_id
        self.leave()
        self.ticket.drop()
        self.remove.side_effect = lambda store, image_id, kept, **others: (
            self.fail_if(waiting, image_id))
        self.recover_after(0)
        self.assertEqual('queued', self.image().status)
        self.assertEqual('importing', self.image_repo.get(waiting).status)

    def fail_if(self, waiting, image_id):
        if image_id == waiting:
            raise stores.StoreBusy('it is open', 'Run: rm it')

    def test_not_for_ever(self):
        self.leave()
        self.ticket.drop()
        self.recover_after(0)
        self.recover_after(remedies._PATIENCE)
        self.assertEqual('queued', self.image().status)
        self.assertEqual(
            'The image service was stopped while it imported the image; '
            'import the image again. Run: rm it. [ImportInterrupted]',
            self.task().message)
        self.assertEqual([], self.tickets())

    def test_what_is_left_is_told(self):
        self.remove.side_effect = None
        self.remove.return_value = 'Run: rm it'
        self.leave()
        self.assertEqual(
            ['returning the image to queued. Run: rm it'], self.recover())
        self.assertIn('again. Run: rm it. [', self.task().message)

    def test_whether_a_copy_was_begun(self):
        for convert in (False, True):
            begun = time.time()
            self.leave()
            if convert:
                self.convert()
            self.remove.side_effect = None
            self.remove.return_value = None
            self.recover()
            self.remove.assert_called_with(
                'fast', self.image_id, mock.ANY, since=mock.ANY,
                was_copied=convert)
            since = self.remove.call_args.kwargs['since']
            self.assertLess(abs(since - begun), cases.PATIENCE)

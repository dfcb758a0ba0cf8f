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

from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception
    import glance_store

    from glance_xs_convert.plugin import claims
    from glance_xs_convert.plugin import image_record
    from glance_xs_convert.plugin import recovery
    from glance_xs_convert.plugin import stores
    from glance_xs_convert.plugin import tickets
    from glance_xs_convert.worker import protocol

DATA = b'some data of an image' * 1000


class RecoveryCase(base.GlanceCase):
    """Has an import that its process left behind."""

    def leave(self, method='web-download', stores=('fast',),
              status='importing', **attributes):
        """Begin an import, and leave a ticket without a holder."""
        self.stores = stores
        self.image_id = self.new_image(**attributes)
        self.task_id = self.new_import(self.image_id, method, stores)
        if status == 'importing':
            self.begin(self.image_id, self.task_id, stores)
        elif status == 'uploading':
            image = self.image()
            image.status = 'uploading'
            image.extra_properties['os_glance_stage_host'] = 'http://here'
            self.image_repo.save(image)
        self.path = self.stage(self.image_id, DATA)
        self.staging.joinpath(f'{self.image_id}.{self.task_id}.raw').touch()
        self.claim = claims.Claim(
            image_id=self.image_id, request_id='req-1',
            staged=str(self.path), task_id=self.task_id,
            stores=list(stores))
        box = tickets.Box(str(self.scratch / 'lock'), claims.SUFFIX)
        self.ticket = box.draw(self.claim.text())
        self.addCleanup(self.ticket.drop)

    def convert(self):
        """Let the record be that of a raw disk."""
        outcome = protocol.Outcome(
            virtual_size=len(DATA), layers=3, bytes_written=len(DATA),
            source_size=4711, source_sha256='c0ffee')
        with self.wrapper(self.image_id, self.task_id) as action:
            change = image_record.conversion(
                action, outcome, remove=['vm_mode'], provenance=True)
            self.ticket.add(claims.addition(change.inverse(action)))
            change.apply(action)

    def copy(self, store, last=False):
        """Copy the data to a store, as Glance does."""
        with self.wrapper(self.image_id, self.task_id) as action:
            action.set_image_data(f'file://{self.path}', self.task_id,
                                  backend=store, set_active=last)
            action.remove_importing_stores([store])

    def cut_copy(self, store):
        """What is left when the process is killed while it copies."""
        self.store_path(store).joinpath(self.image_id).write_bytes(DATA[:99])

    def recover(self, **options):
        """:returns: what was reported"""
        self.ticket.drop()
        found = []
        self.assertTrue(recovery.recover(
            str(self.scratch / 'lock'),
            report=lambda claim, rest: found.append(rest), **options))
        return found

    def image(self):
        return self.image_repo.get(self.image_id)

    def task(self):
        return self.task_repo.get(self.task_id)

    def stored(self):
        return [store for store in self.STORES
                if any(self.store_path(store).iterdir())]

    def assert_set_back(self, **properties):
        """The image is as it was before, and nothing of it is left."""
        image = self.image()
        found = dict(image.extra_properties)
        self.assertEqual(
            ('queued', 'vhd', 'ovf', None, None, None, []),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size, image.checksum,
             list(image.locations)))
        self.assertEqual(
            {'os_glance_failed_import': ','.join(sorted(self.stores)),
             'os_glance_importing_to_stores': '', **properties}, found)
        self.assertEqual(('failure', recovery.MESSAGE),
                         (self.task().status, self.task().message))
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))
        # Another import gets the image's lock.
        self.new_import(self.image_id)


class Importing(RecoveryCase):
    """The image has no data yet, or not in all of its stores."""

    def test_before_the_import_began(self):
        for status in ('queued', 'uploading'):
            self.leave('glance-direct', status=status)
            self.assertEqual([recovery.Rest.SET_BACK], self.recover())
            self.assert_set_back()

    def test_before_the_conversion(self):
        self.leave()
        self.assertEqual([recovery.Rest.SET_BACK], self.recover())
        self.assert_set_back()

    def test_after_the_conversion(self):
        self.leave(extra_properties={'vm_mode': 'hvm', 'os_type': 'x'})
        self.convert()
        self.recover()
        self.assert_set_back(vm_mode='hvm', os_type='x')

    def test_record_was_to_be_changed(self):
        """The ticket tells of a change that was not made any more."""
        self.leave()
        self.ticket.add(claims.addition(image_record.Change(
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
        for name in ('_remove_cut_copies', '_remove_staged', '_end_task'):
            self.leave(stores=('fast', 'slow'))
            self.convert()
            self.copy('fast')
            self.cut_copy('slow')
            with mock.patch.object(
                    recovery.Import, name, autospec=True,
                    side_effect=RuntimeError('stopped')):
                self.ticket.drop()
                self.assertFalse(recovery.recover(
                    str(self.scratch / 'lock')))
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
        self.assertEqual([recovery.Rest.SET_BACK],
                         self.recover(dry_run=True))
        self.assertEqual('importing', self.image().status)
        self.assertEqual(dict(before.extra_properties),
                         dict(self.image().extra_properties))
        self.assertEqual(2, len(self.staged()))
        self.assertEqual(1, len(self.tickets()))
        self.recover()
        self.assert_set_back()


class Requested(RecoveryCase):
    """The import was asked for, and its process knew no task yet."""

    def request(self, status='queued'):
        self.stores = ('fast', 'slow')
        self.image_id = self.new_image()
        image = self.image()
        if status == 'uploading':
            image.status = 'uploading'
            self.image_repo.save(image)
            self.stage(self.image_id, DATA)
        box = tickets.Box(str(self.scratch / 'lock'), claims.SUFFIX)
        self.ticket = box.draw(claims.Claim(
            image_id=self.image_id, request_id='req-7',
            staged=str(self.staging / self.image_id)).text())
        self.addCleanup(self.ticket.drop)

    def accept(self, request_id='req-7', status='pending'):
        self.task_id = self.new_import(
            self.image_id, stores=self.stores, request_id=request_id,
            status=status)

    def test_not_begun(self):
        self.request('uploading')
        self.assertEqual([recovery.Rest.NOT_BEGUN], self.recover())
        self.assertEqual('uploading', self.image().status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual([], self.tickets())

    def test_accepted(self):
        for status in ('pending', 'processing'):
            for image_status in ('queued', 'uploading'):
                self.request(image_status)
                self.accept(status=status)
                self.assertEqual([recovery.Rest.SET_BACK], self.recover())
                self.assert_set_back()

    def lock(self):
        self.image_repo.set_property_atomic(
            self.image(), 'os_glance_import_task', 'unknown')

    def test_task_was_not_stored_yet(self):
        self.request('uploading')
        self.lock()
        with mock.patch.object(recovery, 'time', autospec=True) as time:
            self.assertEqual([recovery.Rest.LOCKED], self.recover())
        time.sleep.assert_called_once_with(recovery._STORING)
        self.assertNotIn('os_glance_import_task',
                         self.image().extra_properties)
        self.assertEqual('uploading', self.image().status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual([], self.tickets())

    def test_task_is_stored_in_time(self):
        """The lock is that of another host, which is alive."""
        self.request('uploading')
        self.lock()

        def meanwhile(seconds):
            self.image_repo.delete_property_atomic(
                self.image(), 'os_glance_import_task', 'unknown')
            self.accept('req-8')

        with mock.patch.object(recovery, 'time',
                               mock.Mock(sleep=meanwhile)):
            self.assertEqual([recovery.Rest.LOCKED], self.recover())
        self.assertEqual(
            self.task_id,
            self.image().extra_properties['os_glance_import_task'])

    def test_another_request_was_first(self):
        """It may be on another host, and about to begin."""
        self.request('uploading')
        self.accept('req-8')
        self.assertEqual([recovery.Rest.NOT_BEGUN], self.recover())
        self.assertEqual(
            ('uploading', self.task_id),
            (self.image().status,
             self.image().extra_properties['os_glance_import_task']))
        self.assertEqual('pending', self.task().status)
        self.assertEqual([self.image_id], self.staged())


class Active(RecoveryCase):
    """The image is usable already."""

    def assert_active(self, stores):
        image = self.image()
        self.assertEqual(
            ('active', 'raw', 'bare', len(DATA), ''),
            (image.status, image.disk_format, image.container_format,
             image.size,
             image.extra_properties['os_glance_importing_to_stores']))
        self.assertNotIn('os_glance_import_task',
                         dict(image.extra_properties))
        self.assertEqual(stores, [location['metadata']['store']
                                  for location in image.locations])
        for store in stores:
            self.assertEqual(DATA, self.store_path(store).joinpath(
                self.image_id).read_bytes())
        self.assertEqual((stores, [], []),
                         (self.stored(), self.staged(), self.tickets()))

    def test_last_copy_was_made(self):
        self.leave()
        self.convert()
        self.copy('fast', last=True)
        self.assertEqual([recovery.Rest.COMPLETE], self.recover())
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
        self.assertIn('copy it to the missing ones: slow.',
                      self.task().message)

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


class Others(RecoveryCase):
    """The image is not this import's any more."""

    def test_deleted(self):
        self.leave()
        self.cut_copy('fast')
        self.delete(self.image_id)
        self.assertEqual([recovery.Rest.DELETED], self.recover())
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))

    def test_deleted_by_half(self):
        """Glance was killed between the two steps of it."""
        self.leave()
        self.cut_copy('fast')
        image = self.image()
        image.delete()
        self.image_repo.save(image)
        self.assertEqual([recovery.Rest.DELETED], self.recover())
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))

    def test_released(self):
        self.leave()
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.assertEqual([recovery.Rest.RELEASED], self.recover())
        self.assertEqual('failure', self.task().status)
        self.assertEqual([self.image_id], self.staged())

    def test_another_import(self):
        self.leave()
        self.cut_copy('fast')
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        other = self.new_import(self.image_id)
        self.assertEqual([recovery.Rest.REPLACED], self.recover())
        self.assertEqual(
            ('importing', other),
            (self.image().status,
             self.image().extra_properties['os_glance_import_task']))
        self.assertEqual('processing', self.task_repo.get(other).status)
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual(['fast'], self.stored())

    def test_import_that_is_going_on(self):
        self.leave()
        self.assertTrue(recovery.recover(str(self.scratch / 'lock')))
        self.assertEqual('importing', self.image().status)
        self.assertEqual(2, len(self.staged()))

    def test_another_glance_on_the_host(self):
        """It is not known here which images that one has."""
        self.leave()
        self.delete(self.image_id)
        other = self.scratch / 'other'
        other.mkdir()
        base.cfg.CONF.set_override('filesystem_store_datadir', str(other),
                                   'os_glance_staging_store')
        base.glance_store.create_multi_stores(
            base.cfg.CONF, reserved_stores=base.wsgi_app.RESERVED_STORES)
        self.assertEqual([], self.recover())
        self.assertEqual(1, len(self.tickets()))
        self.assertEqual(2, len(self.staged()))

    def test_ticket_that_cannot_be_read(self):
        tickets.Box(str(self.scratch / 'lock'),
                    claims.SUFFIX).draw('x').drop()
        self.leave()
        self.assertEqual([recovery.Rest.UNREADABLE, recovery.Rest.SET_BACK],
                         self.recover(dry_run=True))
        self.assertEqual(2, len(self.tickets()))
        self.recover()
        self.assert_set_back()

    def test_turns_of_processes_that_are_gone(self):
        directory = self.scratch / 'lock'
        tickets.Box(str(directory), '.turn').draw().drop()
        self.assertTrue(recovery.recover(str(directory), dry_run=True))
        self.assertEqual(1, len(self.tickets()))
        self.assertTrue(recovery.recover(str(directory)))
        self.assertEqual([], self.tickets())

    def test_one_failure_does_not_hinder_others(self):
        self.leave()
        self.ticket.drop()
        first = self.image_id
        self.leave()
        self.ticket.drop()
        look = recovery.Import._look

        def fail(found):
            if found.claim.image_id == first:
                raise exception.NotFound
            return look(found)
        with mock.patch.object(recovery.Import, '_look', fail):
            self.assertFalse(recovery.recover(str(self.scratch / 'lock')))
        self.assertEqual('queued', self.image().status)
        self.assertEqual(1, len(self.tickets()))


class Stores(RecoveryCase):

    def cut(self, store, *directories):
        paths = [directory / 'image' for directory in directories]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        stores.remove_cut(store, 'image', kept=())
        return [path.exists() for path in paths]

    def test_several_directories(self):
        one, two = self.scratch / 'one', self.scratch / 'two'
        self.conf.config(group='fast', filesystem_store_datadir=None)
        self.conf.config(group='fast', filesystem_store_datadirs=[
            f'{one}:200', str(two)])
        self.assertEqual([False, False], self.cut('fast', one, two))

    def test_data_of_the_image(self):
        path = self.store_path('fast') / 'image'
        path.touch()
        stores.remove_cut('fast', 'image', [f'file://{path}'])
        self.assertTrue(path.exists())

    def test_other_drivers(self):
        self.conf.config(enabled_backends={'fast': 'rbd'})
        self.assertEqual([True], self.cut('fast', self.store_path('fast')))

    def test_glance_without_named_stores(self):
        self.conf.config(enabled_backends={})
        glance_store.register_opts(base.cfg.CONF)
        directory = self.scratch / 'images'
        self.conf.config(group='glance_store', default_store='file',
                         filesystem_store_datadir=str(directory))
        self.assertEqual([False], self.cut(None, directory))
        self.conf.config(group='glance_store', default_store='rbd')
        self.assertEqual([True], self.cut(None, directory))

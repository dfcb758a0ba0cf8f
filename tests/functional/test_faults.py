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

"""Conversions that something else puts an end to."""

import contextlib
import http
import os
import random
import signal
import time

from glanceclient import exc
from testtools import content

from testbed.clouds import cloud
from testbed.clouds import services
from tests.functional import archives
from tests.functional import faults

#: How many conversions are killed, at random points.
KILLS = int(os.environ.get('XS_CONVERT_FAULTS', '6'))
SEED = os.environ.get('XS_CONVERT_SEED', 'kill')

KILLED = ('The XenServer image cannot be converted: the converter ended '
          'unexpectedly, with status -9. [ConverterStopped]')


class TestNoSpace(faults.FaultCase):
    """The file system of the staging area is full, then grows."""

    @classmethod
    def get_cloud(cls, **options):
        small = faults.small_file_system(8)
        cls.staging = small.__enter__()
        cls.addClassCleanup(small.__exit__, None, None, None)
        return cls.start_cloud(staging=cls.staging, **options)

    def tearDown(self):
        faults.mount(self.staging, 'remount,size=8m')
        super().tearDown()

    def assert_fails_then_imports(self, import_data, image, reason):
        with self.new_image(image.name) as image_id:
            task = import_data(image_id, image.data)
            self.assert_refused(image_id, task, reason)
            faults.mount(self.staging, 'remount,size=100m')
            task = import_data(image_id, image.data)
            self.assert_converted(image_id, task, image)
        faults.mount(self.staging, 'remount,size=8m')

    def test_seen_before_anything_is_written(self):
        for import_data in (self.web_download, self.glance_direct):
            self.assert_fails_then_imports(
                import_data, archives.story(),
                r'there is not enough space for the raw disk: a layer '
                r'needs .*\(\d+ bytes\), and .*\(\d+ bytes\) is left')

    def test_seen_while_writing(self):
        for import_data in (self.web_download, self.glance_direct):
            self.assert_fails_then_imports(
                import_data, faults.fixed(), 'no space .*for the raw disk')

    def test_taken_by_somebody_else_meanwhile(self):
        slow = faults.slow()
        other = self.staging / 'of somebody else'
        with self.new_image(slow.name) as image_id:
            self.begin(image_id, slow.data)
            hanging = self.cloud.hang_converters()
            with (other.open('wb', buffering=0) as file,
                  contextlib.suppress(OSError)):
                while file.write(bytes(4096)):
                    file.flush()
            cloud.resume(hanging)
            task = self.cloud.wait_for_import(self.client, image_id)
            other.unlink()
            self.assert_refused(image_id, task, 'space for the raw disk')
            self.assert_imports(image_id, archives.small())


class TestKilledConverter(faults.FaultCase):
    """The converter gets SIGKILL, as from the kernel out of memory."""

    def test_at_random_points(self):
        slow, small = faults.slow(), archives.small()
        rng = random.Random(SEED)
        duration = self.duration(slow)
        hits = number = 0
        # How long a conversion takes, and so how many end before they are
        # hit, depends on how busy the machine is.
        while hits < KILLS and number < 4 * KILLS:
            with self.new_image('%d of %s' % (number, SEED)) as image_id:
                if self.kill_after(image_id, slow, rng.uniform(0, duration)):
                    hits += 1
                else:
                    duration *= 0.8
                if self.status(image_id) == 'queued':
                    self.assert_imports(image_id, small)
            number += 1
        self.addDetail('figures', content.text_content(
            '%d of %d conversions hit' % (hits, number)))
        self.assertEqual(KILLS, hits)

    def duration(self, image):
        """How long an undisturbed conversion takes, in seconds."""
        with self.new_image('undisturbed') as image_id:
            self.begin_web_download(image_id, image.data)
            self.wait_until(lambda: self.cloud.converters()
                            or self.status(image_id) == 'active')
            start = time.monotonic()
            self.wait_until(lambda: not self.cloud.converters())
            duration = time.monotonic() - start
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_converted(image_id, task, image)
        return duration

    def kill_after(self, image_id, image, delay):
        """Import, and kill the converter after some seconds.

        :returns: whether it still ran then
        """
        self.begin_web_download(image_id, image.data)
        self.wait_until(lambda: self.cloud.converters()
                        or self.status(image_id) == 'active')
        time.sleep(delay)
        converters = self.cloud.converters()
        for pid in converters:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        task = self.cloud.wait_for_import(self.client, image_id)
        if task['status'] == 'success':
            self.assert_converted(image_id, task, image)
            return False
        self.assertEqual(KILLED, task['message'])
        self.assert_refused(image_id, task, 'status -9')
        return True


class TestInterrupted(faults.FaultCase):
    """Something comes between an import and its success."""

    SECONDS = 30

    def test_connection_is_reset(self):
        small = archives.small()
        for share in (0.1, 0.5, 0.99):
            with self.new_image(small.name) as image_id:
                url = self.files.add(image_id, small.data,
                                     drop_after=int(len(small.data) * share))
                self.client.images.image_import(image_id, 'web-download',
                                                uri=url)
                task = self.cloud.wait_for_import(self.client, image_id)
                self.assertEqual('failure', task['status'])
                self.assertEqual('queued', self.status(image_id))
                self.assert_stored([])
                self.assert_imports(image_id, small)

    def test_image_is_deleted(self):
        endless = faults.endless()
        with self.new_image(endless.name) as image_id:
            self.begin(image_id, endless.data)
        self.wait_until(lambda: not self.cloud.converters(), faults.SOON)
        self.wait_until(lambda: not self.cloud.staged())
        self.assert_stored([])

    def test_second_import_meanwhile(self):
        first, small = archives.story(), archives.small()
        with self.new_image(first.name) as image_id:
            with self.standstill(lambda: self.begin_web_download(
                    image_id, first.data)):
                error = self.assertRaises(
                    exc.HTTPConflict, self.client.images.image_import,
                    image_id, 'web-download',
                    uri=self.files.add('second', small.data))
            self.assertEqual(http.HTTPStatus.CONFLICT, error.code)
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_converted(image_id, task, first)

    def assert_stops(self, statement):
        """The import ends when the operator does this to its task."""
        endless = faults.endless()
        with self.new_image(endless.name) as image_id:
            converters = self.begin(image_id, endless.data)

            def ended():
                # Glance may just be about to write the task as it was.
                self.cloud.change_database(
                    (statement + ' WHERE image_id = %s', image_id))
                return not any(map(services.command_line, converters))

            self.wait_until(ended, faults.SOON)
            self.wait_until(lambda: not self.cloud.staged())
            self.wait_until(lambda: self.status(image_id) == 'queued')
            self.wait_until(
                lambda: 'os_glance_import_task'
                not in self.client.images.get(image_id))
            self.assert_imports(image_id, archives.small())

    def test_task_is_failed_by_the_operator(self):
        self.assert_stops("UPDATE tasks SET status = 'failure'")

    def test_task_is_deleted_by_the_operator(self):
        self.assert_stops('UPDATE tasks SET deleted = 1')


class TestHang(faults.FaultCase):
    """The staging area does not answer any more."""

    SECONDS = 50
    OPTIONS = {'xs_convert': {'progress_timeout': 30}}

    def test_converter_hangs(self):
        endless = faults.endless()
        with self.new_image(endless.name) as image_id:
            self.begin(image_id, endless.data)
            self.cloud.hang_converters()
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_refused(image_id, task,
                                'made no progress for 30 seconds')
            self.assertEqual([], self.cloud.converters())
            self.assert_imports(image_id, archives.small())


class TestStoreFails(faults.FaultCase):
    """The disk is converted, but a store does not take it."""

    SECONDS = 30
    OPTIONS = {
        'stores': ('fast', 'slow', 'spare'),
        'xs_convert': {'remove_properties': 'hypervisor_type,xenapi_*'},
    }
    PROPERTIES = {'hypervisor_type': 'xen', 'xenapi_x': 'y', 'os_type': 'z'}

    @contextlib.contextmanager
    def broken_store(self, image_id):
        """A store that holds something under the image's name already."""
        obstacle = self.cloud.store_path('slow') / image_id
        obstacle.mkdir()
        try:
            yield
        finally:
            obstacle.rmdir()

    def assert_set_back(self, image_id, task):
        """The record is as it was before, and there are no data."""
        self.assertEqual('failure', task['status'])
        image = self.client.images.get(image_id)
        self.assertEqual(
            ('queued', 'vhd', 'ovf', None, None),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size))
        self.assertIn('slow', image['os_glance_failed_import'])
        self.assertEqual('', image['os_glance_importing_to_stores'])
        self.assertEqual(
            self.PROPERTIES,
            {name: value for name, value in image.items()
             if name.startswith(('os_type', 'xs_', 'xen', 'hyper'))})
        self.assert_stored([])

    def assert_new_record(self, image_id):
        """The record is that of a converted image."""
        image = self.client.images.get(image_id)
        self.assertNotIn('hypervisor_type', image)
        self.assertNotIn('xenapi_x', image)
        self.assertEqual(('z', 'vhd/ovf'), (
            image['os_type'], image['xs_convert_source_format']))

    def test_one_of_several(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            for stores in (['fast', 'slow'], ['slow', 'fast'], ['slow']):
                with self.new_image(small.name,
                                    **self.PROPERTIES) as image_id:
                    with self.broken_store(image_id):
                        task = import_data(image_id, small.data,
                                           stores=stores,
                                           allow_failure=False)
                    self.assert_set_back(image_id, task)
                    task = import_data(image_id, small.data, stores=stores)
                    self.assert_new_record(image_id)
                    self.assert_converted(image_id, task, small, stores)

    def test_full(self):
        """The uploader learns why it was not stored, if Glance tells us."""
        small = archives.small()
        full = faults.mounted(str(self.cloud.store_path('slow')), 'size=64k')
        full.__enter__()
        self.addCleanup(full.__exit__, None, None, None)
        for allow_failure, reason in (
                (False, 'the store has no space left for the disk'),
                (True, 'no store accepted the disk')):
            with self.new_image(small.name, **self.PROPERTIES) as image_id:
                task = self.glance_direct(
                    image_id, small.data, stores=['slow'],
                    allow_failure=allow_failure)
                self.assertEqual('failure', task['status'])
                # Glance used to hide why a task of its own failed.
                if cloud.RELEASE >= 33:
                    self.assertIn(reason, task['message'])
                self.assert_stored([])
                image = self.client.images.get(image_id)
                self.assertEqual(('queued', 'vhd', 'ovf'), (
                    image.status, image.disk_format, image.container_format))
                task = self.glance_direct(image_id, small.data)
                self.assertEqual('success', task['status'])
                self.assertEqual((small.size, small.sha256),
                                 self.download(image_id))

    def test_one_that_may_fail(self):
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name, **self.PROPERTIES) as image_id:
                with self.broken_store(image_id):
                    task = import_data(image_id, small.data,
                                       stores=['slow', 'fast'],
                                       allow_failure=True)
                self.assertEqual('success', task['status'])
                self.assert_new_record(image_id)
                image = self.client.images.get(image_id)
                self.assertEqual('slow', image['os_glance_failed_import'])
                self.assertEqual((small.size, small.sha256),
                                 self.download(image_id))
                self.assert_stored([image_id], ['fast'])

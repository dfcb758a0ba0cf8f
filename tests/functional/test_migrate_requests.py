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

"""Migrations whose requests fail, and what is left of earlier attempts."""

import itertools
import os
import random
import re
import time

from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import names

from testbed.clouds import failing
from tests.functional import archives
from tests.functional import faults
from tests.functional import migrations

#: How often the command is killed while requests fail.
KILLS = int(os.environ.get('XS_CONVERT_KILLS', '4'))
SEED = os.environ.get('XS_CONVERT_SEED', 'requests')
#: What stands still is taken over in this time, in seconds, also on a busy
#: machine: Glance would keep an image locked for an hour.
TAKEN_OVER = 450
METHODS = ('glance-download', 'glance-direct')
#: The requests that change something, and how each of them can fail.
CHANGES = ('create', 'stage', 'import', 'patch', 'members', 'delete')
ON_NEW_IMAGES = ('stage', 'import', 'patch', 'members')
KINDS = ((500, 'before'), (500, 'after'), (503, 'before'), (429, 'before'),
         ('cut', 'before'), ('cut', 'after'), ('database', 'before'))


class RequestCase(migrations.MigrateCase):
    """Plans failures, and forgets them after each test."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.cloud.failing.clear)

    def shared(self, image):
        """An image that is shared, so that a run asks for all there is."""
        old_id = self.store(image, visibility='shared')
        self.client.image_members.create(old_id, 'a project')
        return old_id

    def assert_no_standstill(self, ended, count):
        """No image has waited for somebody who is not there any more."""
        found = re.findall(r': done after (?:(\d+) min )?(\d+) s,',
                           ended.stderr)
        self.assertEqual(count, len(found), ended.stderr)
        for minutes, seconds in found:
            self.assertLess(60 * int(minutes or 0) + int(seconds),
                            importing.STANDSTILL, ended.stderr)


class TestFailingRequests(RequestCase):
    """A request fails, before or after Glance has done what it asks for."""

    SECONDS = 95

    def test_each_request_in_each_way(self):
        images = {}
        for number, (request, (kind, when)) in enumerate(
                itertools.product(ON_NEW_IMAGES, KINDS)):
            tiny = migrations.tiny(number)
            old_id = self.shared(tiny)
            self.cloud.failing.plan(request, kind, when=when,
                                    image_id=names.new_id(old_id, 0))
            images[old_id] = tiny
        self.cloud.failing.plan('create', 500, when='after', times=2)
        self.cloud.failing.plan('create', 'cut', when='before', times=2)
        ended = self.migrate('run', '--method', 'glance-direct')
        for old_id, image in images.items():
            self.assert_replaced(old_id, image)
        self.assert_no_standstill(ended, len(images))

    def test_upload_that_the_database_does_not_record(self):
        """Glance answers 500, and each further upload 409."""
        tiny = migrations.tiny()
        old_id = self.store(tiny)
        self.cloud.failing.plan('stage', 'database', skip=1)
        ended = self.migrate('run', '--method', 'glance-direct')
        self.assertEqual('database', self.cloud.failing.made()[0]['kind'])
        self.assert_no_standstill(ended, 1)
        self.assert_replaced(old_id, tiny)

    def test_download_that_is_cut(self):
        tiny = migrations.tiny()
        old_id = self.store(tiny)
        self.cloud.failing.plan('data', 'cut', when='halfway', times=3)
        self.migrate('run', '--method', 'glance-direct')
        self.assert_replaced(old_id, tiny)

    def test_requests_that_fail_at_random(self):
        images = [migrations.tiny(number) for number in range(4)]
        for method in METHODS:
            ids = [self.store(image) for image in images]
            for request in (*CHANGES, 'show', 'list', 'tasks'):
                for kind, when in KINDS[:4]:
                    self.cloud.failing.plan(
                        request, kind, when=when, times=failing.ALWAYS,
                        chance=0.02)
            self.migrate('run', '--method', method, '--verify')
            self.cloud.failing.clear()
            for old_id, image in zip(ids, images):
                self.assert_replaced(old_id, image)
            self.delete_all()


class TestKilled(RequestCase):
    """The command is killed while requests fail."""

    SECONDS = 25

    def test_run_again_completes_it(self):
        """XS_CONVERT_KILLS says how often."""
        rng = random.Random(SEED)
        images = [migrations.tiny(number) for number in range(2)]
        for number in range(KILLS):
            method = METHODS[number % 2]
            ids = [self.store(image) for image in images]
            for request in CHANGES:
                self.cloud.failing.plan(
                    request, rng.choice((500, 503, 429)),
                    when=rng.choice(('before', 'after')),
                    times=failing.ALWAYS, chance=0.1)
            process = self.begin('run', '--method', method)
            time.sleep(rng.uniform(0, 5))
            process.kill()
            process.wait()
            start = time.monotonic()
            ended = self.migrate('run', '--method', method)
            self.assertLess(time.monotonic() - start, 2 * TAKEN_OVER)
            self.assertEqual({'done'}, {row['state'] for row in ended.rows})
            self.cloud.failing.clear()
            for old_id, image in zip(ids, images):
                self.assert_replaced(old_id, image)
            self.assertEqual(2 * len(ids), len(self.ids_of()))
            self.delete_all()
        self.assert_stored_nothing()

    def assert_stored_nothing(self):
        """Stores hold nothing but images' data."""
        self.assertEqual([], self.cloud.stored())


class TestStandstill(RequestCase):
    """Somebody has begun, and is not there any more."""

    SECONDS = 200

    def prepared(self, old_id, **properties):
        """An image that another command has created to upload to it."""
        return self.client.images.create(
            id=names.new_id(old_id, 0), name='x', disk_format='vhd',
            container_format='ovf', os_hidden=True, **{
                names.MIGRATING: old_id,
                names.UPLOADING: 'a' * 32 + ' 7', **properties}).id

    def uploads(self, old_id):
        """The new images, and what their uploaders say of themselves."""
        return set(self.cloud.rows(
            """SELECT source.image_id, upload.value
               FROM image_properties source LEFT JOIN image_properties upload
               ON upload.image_id = source.image_id AND upload.deleted = 0
               AND upload.name = %s
               WHERE source.deleted = 0 AND source.name IN %s
               AND source.value = %s""",
            names.UPLOADING, (names.SOURCE, names.MIGRATING), old_id))

    def check_taken_over(self, old_id, expected, *arguments):
        """Another command begins an upload of its own in time."""
        before = self.uploads(old_id)
        process = self.begin('run', *arguments)
        start = time.monotonic()
        self.wait_until(lambda: self.uploads(old_id) != before)
        taken = time.monotonic() - start
        ended = self.end(process)
        self.assertLess(taken, TAKEN_OVER)
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_replaced(old_id, expected)

    def test_upload_that_was_not_begun(self):
        old_id = self.store(archives.small())
        self.prepared(old_id)
        self.check_taken_over(old_id, archives.small())

    def test_upload_that_was_killed(self):
        slow = faults.slow()
        old_id = self.store(slow)
        # The data comes slowly, since this process stops for ever.
        self.cloud.failing.plan('stage', 'database', skip=1)
        self.cloud.failing.plan('delete', 503, times=failing.ALWAYS)
        process = self.start('run', '--method', 'glance-direct')
        self.wait_until(self.cloud.failing.made)
        process.kill()
        process.wait()
        self.cloud.failing.clear()
        self.check_taken_over(old_id, slow, '--method', 'glance-direct')


class TestLeftovers(RequestCase):
    """An earlier attempt has left something behind."""

    def test_data_in_the_store(self):
        """Glance can never import an image of this id: Duplicate."""
        small = archives.small()
        for method in METHODS:
            old_id = self.store(small)
            orphan = self.cloud.store_path() / names.new_id(old_id, 0)
            orphan.write_bytes(b'orphan')
            self.migrate('run', '--method', method)
            new = self.assert_replaced(old_id, small)
            self.assertNotEqual(orphan.name, new.id)
            orphan.unlink(missing_ok=True)
            self.delete_all()

    def test_data_in_the_staging_area(self):
        """Glance takes no upload for this id: 409."""
        small = archives.small()
        old_id = self.store(small)
        orphans = [host.staging / names.new_id(old_id, 0)
                   for host in self.cloud._hosts]
        for orphan in orphans:
            orphan.write_bytes(b'orphan')
            self.addCleanup(orphan.unlink, missing_ok=True)
        self.migrate('run', '--method', 'glance-direct')
        new = self.assert_replaced(old_id, small)
        self.assertNotEqual(orphans[0].name, new.id)


class TestFilter(RequestCase):
    """The hosts may not download from their own region."""

    SECONDS = 25
    OPTIONS = RequestCase.OPTIONS | {'allow_endpoint': False}

    def test_other_method_is_used_and_told_once(self):
        images = [migrations.tiny(number) for number in range(4)]
        ids = [self.store(image) for image in images]
        ended = self.migrate('run')
        self.assertEqual(1, ended.stderr.count('allowed_ports'),
                         ended.stderr)
        self.assertIn('glance-direct', ended.stderr)
        for old_id, image in zip(ids, images):
            self.assert_replaced(old_id, image)
        self.assert_tidy()

    def test_chosen_method_says_what_to_do(self):
        old_id = self.store(migrations.tiny())
        ended = self.migrate('run', '--method', 'glance-download', status=1)
        row, = ended.rows
        self.assertEqual('failed', row['state'])
        self.assertIn('allowed_ports', row['reason'])
        self.migrate('run')
        self.assert_replaced(old_id, migrations.tiny())


class TestFiles(RequestCase):
    """Files are opened before anything is done."""

    def test_file_that_cannot_be_written(self):
        self.store(migrations.tiny())
        before = self.all_images()
        ended = self.end(self.start('run', '--mapping', '/nowhere/x.csv'))
        self.assertEqual(1, ended.status)
        self.assertEqual(before, self.all_images())

    def test_what_would_be_deleted(self):
        ids = {self.store(migrations.tiny()),
               self.store(migrations.tiny(), protected=True)}
        before = self.all_images()
        ended = self.migrate('run', '--old', 'delete', '--dry-run')
        self.assertEqual(ids, {row['id'] for row in ended.rows})
        self.assertIn('1 old image would be deleted', ended.stderr)
        self.assertEqual(before, self.all_images())

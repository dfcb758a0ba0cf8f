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

"""Migrations that something gets in the way of."""

import collections
import functools
import os
import random
import signal
import time

from testtools import content

from testbed.clouds import cloud
from testbed.clouds import troubled
from tests.functional import archives
from tests.functional import faults
from tests.functional import migrations

#: How often the command is killed at a random moment.
KILLS = int(os.environ.get('XS_CONVERT_KILLS', '4'))
SEED = os.environ.get('XS_CONVERT_SEED', 'kill')
#: For how long a token is good.
TOKEN_SECONDS = int(os.environ.get('XS_CONVERT_TOKEN_SECONDS', '30'))
#: Before release 33, Glance does not tell why an import from another Glance
#: failed.
TOLD = () if cloud.RELEASE >= 33 else ('--method', 'glance-direct')
#: An import that is dead is given up after this time, in seconds. Those that
#: are alive can wait for others, and say nothing new meanwhile.
DEADLINE = '50'
#: Glance itself ends a converter from which it hears nothing for a minute.
STUCK_DEADLINE = '45'


class TestKilledCommand(migrations.MigrateCase):
    """The command gets SIGKILL, at a random moment."""

    SECONDS = 20

    def test_every_image_is_done_once(self):
        rng = random.Random(SEED)
        images = [migrations.tiny(number) for number in range(2)]
        seen = collections.Counter()
        duration = self.duration(images)
        for number in range(KILLS):
            method = ('glance-download', 'glance-direct')[number % 2]
            ids = [self.store(image, visibility='shared',
                              tags=[image.name]) for image in images]
            self.client.image_members.create(ids[0], 'a project')
            at = rng.uniform(0, duration)
            self.kill('run', '--method', method, at=at)
            states = self.states()
            seen.update(states.values())
            for old_id, state in states.items():
                if state == 'waiting':
                    self.assertEqual([], self.news_of(old_id))
            ended = self.migrate('run', '--method', method)
            self.assertEqual({'done'}, {row['state'] for row in ended.rows})
            for old_id, image in zip(ids, images):
                new = self.assert_replaced(old_id, image)
                self.assertEqual([image.name], new.tags)
            self.assertEqual(['a project'], [
                member.member_id for member in
                self.client.image_members.list(self.the_new(ids[0]).id)])
            self.assertEqual(2 * len(ids), len(self.ids_of()))
            self.assert_tidy()
            self.delete_all()
        self.addDetail('figures', content.text_content(
            'killed %d times in %.1f s, states then: %s' % (
                KILLS, duration, dict(seen))))

    def duration(self, images):
        """How long a run takes from its first image on, in seconds."""
        for image in images:
            self.store(image)
        process = self.begin('run')
        start = time.monotonic()
        self.end(process)
        self.delete_all()
        return time.monotonic() - start

    def kill(self, *arguments, at):
        """Kill the command some time after it has begun an image."""
        process = self.begin(*arguments)
        time.sleep(at)
        process.kill()
        process.wait()


class TestOthers(migrations.MigrateCase):
    """Other people, and the operator, do something meanwhile."""

    SECONDS = 45

    def test_two_operators_at_once(self):
        images = [migrations.tiny(number) for number in range(6)]
        ids = [self.store(image) for image in images]
        both = [self.start('run', '-f', 'json', user=user)
                for user in ('admin', 'demo')]
        for process in both:
            ended = self.end(process)
            self.assertEqual(0, ended.status, ended.stderr)
            self.assertEqual({'done'}, {row['state'] for row in ended.rows})
        for old_id, image in zip(ids, images):
            self.assertFalse(self.assert_replaced(old_id, image).os_hidden)
        self.assertEqual(2 * len(ids), len(self.ids_of()))
        self.assert_tidy()

    def test_interrupted_run_completes_what_is_under_way(self):
        story = archives.story()
        ids = [self.store(story), self.store(story)]
        with self.standstill(
                lambda: self.start('run', '--jobs', '1')) as process:
            process.send_signal(signal.SIGINT)
        ended = self.end(process)
        self.assertEqual(1, ended.status)
        self.assertIn('Interrupted', ended.stderr)
        # The two may be of the same second, so either can be the first.
        states = self.states()
        self.assertEqual(['done', 'waiting'], sorted(states.values()))
        done, = (one for one in ids if states[one] == 'done')
        self.assert_replaced(done, story)

    def test_twice_interrupted_run_leaves_what_is_under_way(self):
        story = archives.story()
        old_id = self.store(story)
        with self.standstill(lambda: self.start('run')) as process:
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            ended = self.end(process)
            self.assertEqual(1, ended.status)
            self.assertIn('next run', ended.stderr)
            self.assertNotIn(migrations.REPLACED_BY,
                             self.admin.images.get(old_id))
        self.migrate('run')
        self.assert_replaced(old_id, story)

    def test_image_changed_or_deleted_meanwhile(self):
        story = archives.story()
        changed = self.store(story, name='before', os_distro='debian',
                             os_version='1', tags=['old'])
        deleted = self.store(story)
        with self.standstill(
                lambda: self.start('run', '-f', 'json'), 2) as process:
            self.client.images.update(
                changed, name='after', os_version='2',
                remove_props=['os_distro'], more='new')
            self.client.image_tags.update(changed, 'new')
            self.client.images.delete(deleted)
        ended = self.end(process)
        new = self.assert_replaced(changed, story)
        self.assertEqual(('after', '2', 'new', ['new', 'old']),
                         (new.name, new.os_version, new.more,
                          sorted(new.tags)))
        self.assertNotIn('os_distro', new)
        self.assertEqual([], self.news_of(deleted))
        self.assertEqual('skipped', {
            row['id']: row['state'] for row in ended.rows}[deleted])

    def test_what_a_deleted_image_left_is_removed(self):
        old_id = self.store(archives.story())
        with self.standstill(lambda: self.start('run')) as process:
            process.kill()
            self.end(process)
            self.client.images.delete(old_id)
        self.wait_until(lambda: not self.cloud.converters())
        self.assertEqual(1, len(self.news_of(old_id)))
        self.migrate('run')
        self.assertEqual([], self.ids_of())


class TestRefused(migrations.MigrateCase):
    """Archives that cannot be converted."""

    SECONDS = 10

    def test_broken_archive_is_not_tried_again(self):
        broken, small = archives.refused()[0], archives.small()
        bad = self.store(broken, name='bad')
        good = self.store(small, name='good')
        ended = self.migrate('run', '--jobs', '1', *TOLD, status=1)
        self.assert_replaced(good, small)
        row, = (row for row in ended.rows if row['id'] == bad)
        self.assertEqual('failed', row['state'])
        self.assertRegex(row['reason'], broken.reason)
        self.assertRegex(row['reason'],
                         '^The XenServer image cannot be converted')
        self.assertIn(row['reason'], ended.stderr)
        old = self.admin.images.get(bad)
        self.assertEqual(('active', False), (old.status, old.os_hidden))
        new = self.the_new(bad)
        tasks = self.tasks(new.id)
        self.migrate('run', *TOLD, status=1)
        self.assertEqual(tasks, self.tasks(new.id))
        self.assertEqual([bad], [
            row['id'] for row in self.migrate('list', status=1).rows
            if row['state'] == 'failed'])
        self.migrate('run', '--retry', *TOLD, status=1)
        self.assertGreater(self.tasks(new.id), tasks)
        self.migrate('undo', bad)
        self.assertEqual([], self.news_of(bad))
        self.assert_tidy()

    def tasks(self, image_id):
        """How many imports there were."""
        return len(self.admin.http_client.get(
            '/v2/images/%s/tasks' % image_id)[1]['tasks'])

    def test_signed_image(self):
        small = archives.small()
        signature = {'img_signature': 'x', 'img_signature_hash_method':
                     'SHA-256', 'img_signature_key_type': 'RSA-PSS',
                     'img_signature_certificate_uuid': 'y'}
        # Glance checks the signature of what is uploaded, not this one.
        old_id = self.store(small)
        self.client.images.update(old_id, **signature)
        row, = self.migrate('run').rows
        self.assertEqual('skipped', row['state'])
        self.assertIn('signed', row['reason'])
        self.migrate('run', '--drop-signature')
        self.assertNotIn('img_signature', self.assert_replaced(old_id, small))


class TestTroubledCloud(migrations.MigrateCase):
    """The cloud does not always answer as it should."""

    SECONDS = 75

    def test_troubled_answers(self):
        images = [migrations.tiny(number) for number in range(4)]
        troubles = {'503': 0.06, '429': 0.06, 'reset before': 0.06,
                    'reset after': 0.06}
        for method in ('glance-download', 'glance-direct'):
            ids = [self.store(image) for image in images]
            with troubled.TroubledProxy(
                    self.cloud.url, troubles, method) as proxy:
                self.migrate('run', '--method', method, '--verify',
                             OS_IMAGE_ENDPOINT_OVERRIDE=proxy.url)
            self.assertGreater(proxy.troubled.total(), 3)
            for old_id, image in zip(ids, images):
                self.assert_replaced(old_id, image)
            self.assertEqual(2 * len(ids), len(self.ids_of()))
            self.delete_all()

    def test_cloud_that_is_gone(self):
        with troubled.TroubledProxy(self.cloud.url) as proxy:
            url = proxy.url
        ended = self.end(self.start('list', OS_IMAGE_ENDPOINT_OVERRIDE=url))
        self.assertEqual(1, ended.status)
        self.assertIn('does not answer', ended.stderr)

    def test_import_that_is_stuck(self):
        story = archives.story()
        old_id = self.store(story)
        with self.standstill(lambda: self.start(
                'run', '--deadline', STUCK_DEADLINE)) as process:
            ended = self.end(process)
        self.assertEqual(0, ended.status, ended.stderr)
        self.assert_replaced(old_id, story)


class TestKilledHost(migrations.MigrateCase):
    """One of two hosts is killed while both convert."""

    SECONDS = 180

    def test_host_killed_during_imports(self):
        story = archives.story()
        for method in ('glance-download', 'glance-direct'):
            ids = [self.store(story) for _ in range(3)]
            with self.standstill(functools.partial(
                    self.start, 'run', '--method', method, '--deadline',
                    DEADLINE, user='admin'), 2) as process:
                self.cloud.kill_glance(host=1)
            ended = self.end(process)
            self.cloud.start_glance(host=1)
            self.assertEqual(0, ended.status, ended.stderr)
            # Glance could not delete images whose host was down.
            again = self.end(self.start('run', '--method', method,
                                        user='admin'))
            self.assertEqual(0, again.status, again.stderr)
            for old_id in ids:
                self.assert_replaced(old_id, story)
            self.assertEqual(2 * len(ids), len(self.ids_of()))
            self.delete_all()


class TestToken(migrations.MigrateCase):
    """A token expires while the command is at it."""

    SECONDS = 65
    OPTIONS = migrations.MigrateCase.OPTIONS | {
        'token_seconds': TOKEN_SECONDS}

    @classmethod
    def get_cloud(cls, **options):
        return cls.start_cloud(**options)

    def test_token_that_expires_in_the_middle(self):
        images = [migrations.tiny(number) for number in range(2)]
        ids = [self.store(image) for image in images]
        process = self.begin('run', '--jobs', '1')
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(TOKEN_SECONDS + 2)
        os.kill(process.pid, signal.SIGCONT)
        ended = self.end(process)
        self.assertEqual(0, ended.status, ended.stderr)
        self.fresh()
        for old_id, image in zip(ids, images):
            self.assert_replaced(old_id, image)

    def fresh(self):
        """Log in again, for the clients of the test."""
        type(self).admin = self.cloud.client('admin')
        type(self).client = self.cloud.client()


class TestNoRoom(migrations.MigrateCase):
    """A quota, or the file system of the staging area, is too small."""

    SECONDS = 25
    OPTIONS = {'options': {'DEFAULT': {'user_storage_quota': '40MB'}}}

    @classmethod
    def get_cloud(cls, **options):
        small = faults.small_file_system(8)
        cls.staging = small.__enter__()
        cls.addClassCleanup(small.__exit__, None, None, None)
        return cls.start_cloud(staging=cls.staging, **options)

    def test_full_staging_area_and_then_a_quota(self):
        fixed = faults.fixed()
        ids = [self.store(fixed) for _ in range(2)]
        for row in self.migrate('run', '--jobs', '1', *TOLD, status=1).rows:
            self.assertEqual('failed', row['state'])
            self.assertIn('space', row['reason'])
        self.assertEqual([], self.cloud.staged())
        faults.mount(self.staging, 'remount,size=200m')
        # There is room for one of the disks now. No archive was at fault.
        rows = self.migrate('run', '--jobs', '1', status=1).rows
        states = {row['state']: row['id'] for row in rows}
        self.assertEqual({'done', 'failed'}, set(states))
        self.assert_replaced(states['done'], fixed)
        self.assertNotIn(migrations.REPLACED_BY,
                         self.admin.images.get(states['failed']))
        self.admin.images.delete(self.the_new(states['done']).id)
        self.admin.images.delete(states['done'])
        self.migrate('run')
        self.assert_replaced(states['failed'], fixed)
        self.assertEqual({*ids}, {*states.values()})


class TestWithoutPlugin(migrations.MigrateCase):
    """The plugin is not on."""

    OPTIONS = {'hosts': 2, 'image_import_plugins': ()}

    def test_the_first_image_ends_it(self):
        for number in range(4):
            self.store(migrations.tiny(number))
        before = len(self.ids_of())
        ended = self.migrate('run', '--jobs', '1', status=1)
        self.assertIn('the import plugin xs_convert', ended.stderr)
        self.assertEqual({'failed': 1, 'waiting': 3}, dict(
            collections.Counter(row['state'] for row in ended.rows)))
        self.assertEqual(before, len(self.ids_of()))

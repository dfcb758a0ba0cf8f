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

"""Glance is killed while it imports images, and sets them back."""

import contextlib
import dataclasses
import io
import json
import math
import os
import random
import re
import signal
import subprocess
import time
import unittest

from testtools import content


from testbed.clouds import ceph
from testbed.clouds import cloud
from testbed.clouds import services
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.functional import archives
from tests.functional import faults

#: How often Glance is killed, at random moments of imports of all kinds.
KILLS = int(os.environ.get('XS_CONVERT_KILLS', '4'))
SEED = os.environ.get('XS_CONVERT_SEED', 'kill')

#: How long downloads take, in seconds.
DOWNLOAD = 4.0
#: A disk of this size takes Glance seconds to copy to a store.
DISK_SIZE = 128 * vhd.MIB
MESSAGE = ('The image service was stopped while it imported the image; import '
           'the image again. [ImportInterrupted]')
INCOMPLETE = ('The image service was stopped before it had copied the image '
              'to all stores; copy it to the missing ones: {}. '
              '[ImportInterrupted]')

#: The parts of an import, in their order.
PHASES = ('accepted', 'downloading', 'converting', 'copying', 'over')


def big():
    """A chain of two on a disk that is large, with a large swap.vhd."""
    layers = chains.linked([
        vhd.Layer(DISK_SIZE, written=[
            (0, chains.partition_table(63, 12000)),
            (400, chains.pattern('new file', 1000))]),
        vhd.Layer(DISK_SIZE // 2, written=[
            (300, chains.pattern('old file', 3000))])])
    members = archive.chain_members(layers)
    members.insert(1, faults.swap(vhd.GIB // 4))
    return archives.Image('big.tgz', archive.tgz(members),
                          model.size(layers), model.sha256(layers))


class RecoveryCase(faults.FaultCase):
    """Glance has the filter in its pipeline, which starts the recovery."""

    OPTIONS = {'edit_paste': cloud.with_upload_filter}
    #: How long recovery may take from the moment in which Glance is up.
    SOON = 300

    def assert_no_tickets(self):
        """Glance itself takes a moment to find out that an import is over."""
        self.wait_until(lambda: not self.cloud.tickets())

    def assert_imports(self, image_id, image):
        super().assert_imports(image_id, image)
        self.assert_no_tickets()

    def wait_for_recovery(self, image_id):
        """Wait until the task has ended, and the image is released.

        :returns: the task
        """
        return self.cloud.wait_for_import(self.client, image_id, self.SOON)


@dataclasses.dataclass(frozen=True)
class Kind:
    """How an image is imported."""

    method: str
    stores: tuple[str, ...]

    def __str__(self):
        return f'{self.method} to {"+".join(self.stores)}'


class TestKilledAnywhere(RecoveryCase):
    """Whatever it was doing, the image can be imported again at once."""

    SECONDS = 60
    OPTIONS = RecoveryCase.OPTIONS | {'stores': ('fast', 'slow')}
    KINDS = (Kind('web-download', ('fast',)),
             Kind('glance-direct', ('fast', 'slow')),
             Kind('web-download', ('fast', 'slow')),
             Kind('glance-direct', ('fast',)))

    def setUp(self):
        super().setUp()
        self.image = big()
        self.rng = random.Random(SEED)

    def test_at_random_moments(self):
        durations = {kind: self.duration(kind) for kind in self.KINDS}
        hits = dict.fromkeys(PHASES, 0)
        log = []
        for number in range(KILLS):
            kind = self.KINDS[number % len(self.KINDS)]
            # One from each part of the time that this kind takes, so that
            # all of it is covered.
            part = number // len(self.KINDS) + self.rng.random()
            share = part / math.ceil(KILLS / len(self.KINDS))
            with self.new_image(f'{number} of {SEED}') as image_id:
                phase = self.kill_after(
                    image_id, kind, share * durations[kind])
                hits[phase] += 1
                log.append(f'{kind}: {share:.2f} of {durations[kind]:.1f} s: '
                           f'{phase}')
                self.addDetail('figures', content.text_content(
                    '\n'.join([*log, str(hits)])))
                self.assert_set_back(image_id, phase)
                self.assert_no_tickets()
        if KILLS >= 20:
            print('\n'.join([*log, str(hits)]))

    def begin_import(self, image_id, kind):
        if kind.method == 'web-download':
            url = self.files.add(
                image_id, self.image.data,
                bytes_per_second=int(len(self.image.data) / DOWNLOAD))
            self.client.images.image_import(
                image_id, kind.method, uri=url, stores=list(kind.stores))
        else:
            self.client.images.stage(
                image_id, io.BytesIO(self.image.data))
            self.client.images.image_import(
                image_id, kind.method, stores=list(kind.stores))

    def duration(self, kind):
        """How long an undisturbed import takes, in seconds."""
        with self.new_image(f'undisturbed {kind}') as image_id:
            self.begin_import(image_id, kind)
            start = time.monotonic()
            task = self.cloud.wait_for_import(self.client, image_id)
            duration = time.monotonic() - start
            self.assert_converted(image_id, task, self.image, kind.stores)
            self.assert_no_tickets()
        return duration

    def kill_after(self, image_id, kind, delay):
        """Import, kill Glance after some seconds, and start it again.

        :returns: what it was doing then
        """
        self.begin_import(image_id, kind)
        time.sleep(delay)
        converters = self.cloud.converters()
        self.cloud.kill_glance()
        stored = any(self.cloud.stored(store) for store in self.cloud.stores)
        if stored:
            phase = 'copying' if self.cloud.staged() else 'over'
        elif converters:
            phase = 'converting'
        elif self.cloud.staged() and kind.method == 'web-download':
            phase = 'downloading'
        else:
            phase = 'accepted'
        self.cloud.restart_glance()
        return phase

    def assert_set_back(self, image_id, phase):
        task = self.wait_for_recovery(image_id)
        image = self.client.images.get(image_id)
        if image.status == 'active':
            self.assertIn(phase, ('copying', 'over'))
            missing = [store for store in self.stores_of(task)
                       if store not in image.stores.split(',')]
            self.assertEqual('failure' if missing else 'success',
                             task['status'], task['message'])
            if missing:
                self.assertEqual(INCOMPLETE.format(', '.join(missing)),
                                 task['message'])
            self.assertEqual((self.image.size, self.image.sha256),
                             self.download(image_id))
            self.assertEqual([], self.cloud.staged())
            return
        self.assert_refused(image_id, task, re.escape(MESSAGE),
                            self.stores_of(task))
        small = archives.small()
        stores = self.stores_of(task)
        task = self.web_download(image_id, small.data, stores=stores)
        self.assert_converted(image_id, task, small, stores)

    def stores_of(self, task):
        return task['input']['backend']


class TestKilledAnywhereWithRBD(TestKilledAnywhere):
    """An incomplete RBD image is removed before the next import."""

    SECONDS = 140
    OPTIONS = RecoveryCase.OPTIONS | {'rbd_stores': ('vault',)}
    KINDS = (Kind('glance-direct', ('vault',)),
             Kind('web-download', ('vault',)),
             Kind('web-download', ('fast', 'vault')),
             Kind('glance-direct', ('vault', 'fast')))
    # Ceph takes a client that was killed for alive for 30 s, and what fails
    # because Ceph is slow to answer is tried again 30 s and 60 s later.
    SOON = 600

    @classmethod
    def setUpClass(cls):
        if reason := ceph.missing():
            raise unittest.SkipTest(reason)
        super().setUpClass()

    def test_while_it_copies(self):
        """Each of these imports would fail with "already exists"."""
        kind = self.KINDS[0]
        with self.new_image('copied') as image_id:
            self.begin_import(image_id, kind)
            self.wait_until(lambda: image_id in self.cloud.stored('vault'))
            self.cloud.kill_glance()
            is_complete = self.cloud.ceph.is_complete(
                self.cloud.pool('vault'), image_id)
            self.cloud.restart_glance()
            if is_complete:
                self.wait_for_recovery(image_id)
                self.assert_no_tickets()
                self.skipTest('the copy was complete too soon')
            self.assert_set_back(image_id, 'copying')
            self.assert_no_tickets()

    def test_deleted_while_it_copies(self):
        """Glance completes the copy, and leaves it without its image."""
        kind = self.KINDS[0]
        image_id = self.client.images.create(
            name='deleted', disk_format='vhd', container_format='ovf').id
        self.begin_import(image_id, kind)
        self.wait_until(lambda: image_id in self.cloud.stored('vault'))
        with self.cloud.ceph.standstill():
            self.assertEqual('importing', self.status(image_id))
            self.client.images.delete(image_id)
        self.wait_until(lambda: not self.cloud.stored('vault'))
        self.assert_no_tickets()
        self.assert_stored([])

    def test_while_ceph_creates_the_image(self):
        """Its name is taken then, although the image is not found."""
        kind = self.KINDS[0]
        self.image = faults.endless()
        with self.new_image('half created') as image_id:
            self.begin_import(image_id, kind)
            self.wait_until(self.cloud.converters)
            self.cloud.kill_glance()
            self.assertEqual([], self.cloud.stored('vault'))
            self.cloud.ceph.create_half(self.cloud.pool('vault'), image_id)
            self.cloud.restart_glance()
            self.assert_set_back(image_id, 'converting')
            self.assert_no_tickets()


class TestKilledConverting(RecoveryCase):
    """Glance gets SIGKILL while images are converted.

    It has no filter in its pipeline here, so the plugin's part of it first
    runs when the next image is imported, whatever image that is.
    """

    SECONDS = 80
    OPTIONS: dict[str, object] = {}

    def setUp(self):
        super().setUp()
        self.endless = faults.endless()
        self.rng = random.Random(SEED)

    def kill(self, image_id, at):
        """Kill Glance during a conversion.

        :param at: after how many seconds
        """
        converters = self.begin(image_id, self.endless.data)
        time.sleep(at)
        self.cloud.kill_glance()
        self.wait_until(lambda: not any(map(services.command_line,
                                            converters)), faults.SOON)
        self.assertEqual([], [name for name in self.cloud.staged()
                              if not name.startswith(image_id)])
        self.assertEqual([], self.cloud.stored())
        self.cloud.restart_glance()
        self.assertEqual('importing', self.status(image_id))

    def kill_at_once(self, image_id):
        """Kill Glance and its converter, which does not get to clean up."""
        self.begin(image_id, self.endless.data)
        hanging = self.cloud.hang_converters()
        self.cloud.kill_glance()
        for pid in hanging:
            # The copy is killed with the other one.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: not any(map(services.is_alive, hanging)))
        left = self.cloud.staged()
        self.assertEqual(2, len(left))
        self.assertTrue(all(name.startswith(image_id) for name in left))

    def import_another(self):
        """Somebody else, who cannot see the image, imports one."""
        small = archives.small()
        client = self.cloud.client('other')
        image_id = client.images.create(
            disk_format='vhd', container_format='ovf').id
        client.images.image_import(
            image_id, 'web-download',
            uri=self.files.add(image_id, small.data))
        task = self.cloud.wait_for_import(client, image_id)
        client.images.delete(image_id)
        self.assertEqual('success', task['status'])

    def assert_set_back(self, image_id,
                        by='import of image %s was interrupted'):
        """The image can be imported again, and its owner reads why.

        :param by: what is in Glance's log then
        """
        task = self.wait_for_recovery(image_id)
        self.assert_refused(image_id, task, re.escape(MESSAGE))
        # It is logged a moment after the image is released.
        self.wait_until(lambda: by.replace(
            '%s', image_id) in self.cloud.log.read_text(errors='replace'))
        self.assert_imports(image_id, archives.small())

    def test_image_is_imported_again(self):
        """Any import lets it go."""
        for _ in range(2):
            with self.new_image('killed') as image_id:
                self.kill(image_id, self.rng.uniform(0, 0.5))
                self.import_another()
                self.assert_set_back(image_id)

    @unittest.skipIf(cloud.RELEASE < 33,
                     'Glance before 33 puts its own message over the reason')
    def test_orderly_restart(self):
        """Glance does not go on with its imports when it is to end."""
        with self.new_image('restarted') as image_id:
            with self.turns_taken(2):
                self.begin_web_download(image_id, archives.small().data)
                self.wait_until(lambda: 'Waiting' in str(
                    cloud.newest_task(self.client, image_id)['message']))
                self.cloud.restart_glance()
            self.import_another()
            self.assert_set_back(image_id)

    def test_host_breaks_down(self):
        with self.new_image('killed') as image_id:
            with self.glance_down(image_id):
                pass
            # What a file system makes of a file that was just written.
            for kind in ('turn', 'import'):
                self.own_turns().joinpath(
                    '%020d-%s.%s' % (0, image_id, kind)).touch()
            self.import_another()
            self.assert_no_tickets()
            self.assert_set_back(image_id)

    def test_image_is_deleted(self):
        with self.new_image('killed') as image_id:
            self.kill(image_id, 0.2)
        self.import_another()
        self.assert_no_tickets()
        self.assert_stored([])

    def test_host_breaks_down_and_image_is_deleted(self):
        """Glance removes what is left in staging when it starts again."""
        with (self.new_image('killed') as image_id,
              self.glance_down(image_id)):
            pass
        self.cloud.restart_glance()
        self.wait_until(lambda: not self.cloud.staged())
        self.assert_stored([])

    def recover(self, *options):
        """Run the command, and give its table."""
        config = self.cloud.import_config
        ended = subprocess.run(
            [services.script('glance-xs-convert'), 'recover', '-f', 'json',
             '--config-file', config,
             '--config-file', config.with_name('glance-api.conf'), *options],
            capture_output=True, text=True)
        self.addDetail('recover', content.text_content(ended.stderr))
        self.assertEqual(0, ended.returncode, ended.stderr)
        return [(row['Image'], row['Result'])
                for row in json.loads(ended.stdout)]

    def test_by_hand(self):
        # Nothing else is left to be recovered.
        self.import_another()
        self.assert_no_tickets()
        with self.new_image('killed') as image_id:
            with self.glance_down(image_id):
                expected = [(image_id, 'returning the image to queued')]
                for options in (['--dry-run'], ['--dry-run'], []):
                    self.assertEqual(expected, self.recover(*options))
                self.assertEqual([], self.recover())
                self.assertEqual(
                    ([], []), (self.cloud.staged(), self.cloud.tickets()))
            self.assert_set_back(image_id, by='')

    @contextlib.contextmanager
    def glance_down(self, image_id):
        """Glance was killed while it converted an image."""
        try:
            self.kill_at_once(image_id)
            yield
        finally:
            self.cloud.restart_glance()

    def test_by_hand_while_an_image_is_imported(self):
        with self.new_image('imported') as image_id:
            story = archives.story()
            with self.standstill(lambda: self.begin_web_download(
                    image_id, story.data)):
                self.assertEqual([], self.recover())
            task = self.cloud.wait_for_import(self.client, image_id)
            self.assert_converted(image_id, task, story)

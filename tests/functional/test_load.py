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

"""Many imports at once, honest and hostile ones."""

import contextlib
import statistics
import threading
import time

from testbed.clouds import cloud
from testbed.images import archive
from testbed.images import chains
from testbed.images import sparse
from testbed.images import vhd
from tests.functional import archives
from tests.functional import faults

SECONDS = 900
#: How long a list of images may take at most, on a machine that is busy.
PATIENCE = 120


class Watch:
    """Asks for the list of images, again and again.

    :ivar seconds: that each request took
    """

    def __init__(self, glance):
        self.seconds = []
        self._client = glance.client()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(0.05):
            start = time.monotonic()
            list(self._client.images.list())
            self.seconds.append(time.monotonic() - start)


class LoadCase(faults.FaultCase):
    """Imports several images at once into one Glance."""

    def begin_all(self, images):
        """Begin all imports, and return the images' ids."""
        ids = []
        for image in images:
            image_id = self.client.images.create(
                name=image.name, disk_format='vhd',
                container_format='ovf').id
            self.addCleanup(self.client.images.delete, image_id)
            ids.append(image_id)
        for image_id, image in zip(ids, images):
            self.begin_web_download(image_id, image.data)
        return ids

    def finish_all(self, ids):
        """Wait for all imports, and return the task of each image."""
        return {image_id: self.cloud.wait_for_import(
            self.client, image_id, SECONDS) for image_id in ids}

    def assert_answered(self, watch):
        self.assertGreater(len(watch.seconds), 10)
        self.assertLess(max(watch.seconds), PATIENCE)
        self.assertLess(statistics.median(watch.seconds), PATIENCE / 5)


class TestLoad(LoadCase):
    """More honest images than the host converts at once."""

    OPTIONS = {'xs_convert': {'max_concurrent': 2}}

    def test_eight_at_once(self):
        images = [faults.slow(), archives.story(), archives.small(),
                  faults.slow()] * 2
        with Watch(self.cloud) as watch:
            with contextlib.ExitStack() as stack:
                with self.turns_taken(2):
                    ids = self.begin_all(images)
                    self.wait_until(lambda: any(
                        'Waiting to be converted' in str(cloud.newest_task(
                            self.client, image_id)['message'])
                        for image_id in ids))
                    stack.callback(self.cloud.hold.release)
                    stack.enter_context(self.cloud.hold.whoever_starts())
                self.wait_until(lambda: len(self.cloud.hold.held()) == 2)
                time.sleep(1)
                self.assertEqual(2, len(self.cloud.converters()))
            tasks = self.finish_all(ids)
        for image_id, image in zip(ids, images):
            self.assert_disk(image_id, tasks[image_id], image)
        self.assertEqual([], self.cloud.staged())
        self.assert_answered(watch)


class TestAttack(LoadCase):
    """Hostile images, and honest ones among them."""

    SECONDS = 30
    OPTIONS = {'xs_convert': {'max_concurrent': 3, 'max_waiting': 20,
                              'max_waiting_per_project': 20}}

    def hostile(self):
        """Archives that would fill the disk, or never end."""
        good = archive.chain_members(chains.story_layers())
        huge = sparse.Sparse()
        huge.truncate(8 * vhd.GIB)
        header = archive.header(archive.Member('notes'))
        endless = vhd.Layer(vhd.MIB, tail=vhd.ABSENT).image()
        endless.truncate(8 * vhd.GIB)
        return [archives.Image(name, data, 0, '') for name, data in {
            'huge member': archive.tgz([archive.Member('notes', huge), *good]),
            'behind the end': archive.gzipped(
                [*archive.tar_pieces(good), 4 * vhd.GIB]),
            'a million members': archive.gzipped(
                [*archive.tar_pieces(good, end=0), *[header * 2000] * 500]),
            'endless VHD': archive.tgz([archive.Member('0.vhd', endless)]),
            'wrong checksum': archive.tgz(good)[:-8] + bytes(8),
        }.items()]

    def test_all_at_once(self):
        honest = [archives.small(), archives.story()]
        images = [*self.hostile(), *honest, *self.hostile()]
        with Watch(self.cloud) as watch:
            ids = self.begin_all(images)
            tasks = self.finish_all(ids)
        for image_id, image in zip(ids, images):
            if image in honest:
                self.assert_disk(image_id, tasks[image_id], image)
            else:
                self.assertEqual('failure', tasks[image_id]['status'])
                self.assertRegex(tasks[image_id]['message'],
                                 'The XenServer image cannot be converted: .')
                self.assertEqual('queued', self.status(image_id))
        self.assertEqual([], self.cloud.staged())
        self.assert_answered(watch)


class TestCrowd(LoadCase):
    """One tenant's images leave room for others."""

    SECONDS = 15
    OPTIONS = {'xs_convert': {'max_concurrent': 1, 'max_waiting': 4,
                              'max_waiting_per_project': 3}}

    def test_others_get_in(self):
        images = [archives.small()] * 12
        with self.turns_taken(1):
            ids = self.begin_all(images)
            # Each worker has more threads than may wait, so this is at once.
            other = self.cloud.client('other').images
            raw = other.create(name='raw', disk_format='raw',
                               container_format='bare').id
            self.addCleanup(other.delete, raw)
            other.image_import(raw, 'web-download',
                               uri=self.files.add(raw, bytes(1 << 20)))
            self.wait_until(lambda: other.get(raw).status == 'active')
            # Three wait.
            self.wait_until(lambda: len(self.refused(ids)) == 9)
        tasks = self.finish_all(ids)
        refused = self.refused(ids)
        self.assertEqual(9, len(refused))
        for image_id, image in zip(ids, images):
            if image_id in refused:
                self.assertEqual('queued', self.status(image_id))
            else:
                self.assert_disk(image_id, tasks[image_id], image)
        self.assertEqual([], self.cloud.staged())

    def refused(self, ids):
        """The images for which too many others waited."""
        return [image_id for image_id in ids
                if (cloud.newest_task(self.client, image_id)['message'] or ''
                    ).endswith('[TooManyWaiting]')]

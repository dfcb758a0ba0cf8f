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


"""What the tests that import images have in common."""

import contextlib
import functools
import hashlib
import io
import re
import time
import unittest

import testtools
from testtools import content

from testbed.clouds import cloud
from testbed.clouds import databases
from testbed.clouds import file_server
from testbed.clouds import services
from tests.functional import archives

#: What takes so long does not come any more, in seconds.
PATIENCE = 900
#: A sentence, and the kind of the error.
SENTENCE = re.compile(r'[A-Z][^\n]*[^\n.]\. \[[A-Za-z]+\]')


def sha256_of(source):
    """The SHA-256 of an open binary file."""
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _key(options):
    """A text that is the same for clouds with the same options."""
    return repr(sorted(options.items()))


class _SharedClouds:
    """Clouds that several test classes of this process use, one by one.

    Few of them are up at once: the one that was not used for the longest
    time is closed when there would be too many.
    """

    _MOST = 3

    def __init__(self):
        self._clouds = {}

    def get(self, **options):
        """Return a cloud that is set up like this."""
        key = _key(options)
        found = self._clouds.pop(key, None)
        if found is None:
            while len(self._clouds) >= self._MOST:
                self._clouds.pop(next(iter(self._clouds))).close()
            found = cloud.Cloud(**options)
            found.start()
        self._clouds[key] = found
        return found

    def discard(self, given):
        """Close a cloud that a test may have left in disorder."""
        for key, found in list(self._clouds.items()):
            if found is given:
                self._clouds.pop(key).close()


_shared_clouds = _SharedClouds()


@functools.cache
def files():
    """The server of this process from which images are imported."""
    return file_server.FileServer()


def _with_niceness(options):
    """A cloud's options, so that its conversions do not step back.

    Other tests keep the processors busy.
    """
    return options | {
        'xs_convert': {'niceness': 0} | options.get('xs_convert', {})}


class ImportCase(testtools.TestCase):
    """Imports images into a cloud that the tests of the class share.

    Classes with the same options share a cloud, too. Every image is deleted
    before the next one is made, so that nothing else is to be found in the
    stores and the staging area.
    """

    OPTIONS: dict[str, object] = {}
    #: About how long all tests of the class take, in seconds.
    SECONDS = 15

    @classmethod
    def cloud_key(cls):
        """What classes have in common that share a cloud."""
        if cls.get_cloud.__func__ is not ImportCase.get_cloud.__func__:
            return cls
        return _key(cls.OPTIONS)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if reason := databases.missing():
            raise unittest.SkipTest(reason)
        cls.files = files()
        cls.cloud = cls.get_cloud(**cls.OPTIONS)
        cls.client = cls.cloud.client()

    @classmethod
    def get_cloud(cls, **options):
        """Return a cloud that other classes may have used before."""
        return _shared_clouds.get(
            sources=(cls.files.url,), **_with_niceness(options))

    @classmethod
    def start_cloud(cls, sources=(), **options):
        """Bring up a cloud until the tests of the class are through."""
        started = cloud.Cloud(sources=(cls.files.url, *sources),
                              **_with_niceness(options))
        cls.addClassCleanup(started.close)
        started.start()
        return started

    def setUp(self):
        super().setUp()
        self._log_start = self.cloud.log.stat().st_size
        self.addOnException(self._after_failure)

    def _after_failure(self, exc_info):
        if issubclass(exc_info[0], unittest.SkipTest):
            return
        self._attach_log()
        # What the test has left behind would disturb the next class.
        if not self._cloud_is_suspect:
            type(self)._cloud_is_suspect = True
            self.addClassCleanup(_shared_clouds.discard, self.cloud)

    _cloud_is_suspect = False

    def _attach_log(self):
        with self.cloud.log.open(errors='replace') as log:
            log.seek(self._log_start)
            lines = [line for line in log if ' DEBUG ' not in line]
        self.addDetail('glance-api.log',
                       content.text_content(''.join(lines)))

    @contextlib.contextmanager
    def new_image(self, name, disk_format='vhd', container_format='ovf',
                  **properties):
        """Create an image record, give its id, delete it at the end."""
        self.addDetail('image', content.text_content(name))
        image_id = self.client.images.create(
            name=name, disk_format=disk_format,
            container_format=container_format, **properties).id
        try:
            yield image_id
        finally:
            self.client.images.delete(image_id)

    def wait_until(self, condition, seconds=PATIENCE):
        """Wait until something is true, and return it."""
        deadline = time.monotonic() + seconds
        pauses = services.pauses(0.25)
        while not (found := condition()):
            if time.monotonic() > deadline:
                self.fail('in vain: %s, %s' % (
                    self.cloud.converters(), self.cloud.staged()))
            time.sleep(next(pauses))
        return found

    def begin_web_download(self, image_id, data, **arguments):
        """Begin an import by web-download."""
        url = self.files.add(image_id, data)
        self.client.images.image_import(
            image_id, 'web-download', uri=url, **arguments)

    def web_download(self, image_id, data, **arguments):
        """Import data by web-download and return the import's task."""
        self.begin_web_download(image_id, data, **arguments)
        return self.cloud.wait_for_import(self.client, image_id)

    def glance_direct(self, image_id, data, **arguments):
        """Stage data, import it, and return the import's task."""
        self.client.images.stage(image_id, io.BytesIO(data))
        self.client.images.image_import(image_id, 'glance-direct',
                                        **arguments)
        return self.cloud.wait_for_import(self.client, image_id)

    @contextlib.contextmanager
    def standstill(self, begin, count=1):
        """Begin imports, whose conversions go on when this is left.

        Conversions that begin after it was entered are not held.

        :param begin: function that begins them; what it returns is given
        :param count: how many conversions have begun when this is entered
        """
        try:
            with self.cloud.hold.whoever_starts():
                begun = begin()
                self.wait_until(
                    lambda: len(self.cloud.hold.held()) >= count)
            yield begun
        finally:
            self.cloud.hold.release()

    def download(self, image_id):
        """Return size and SHA-256 of the image's data."""
        size, digest = 0, hashlib.sha256()
        for chunk in self.client.images.data(image_id):
            size += len(chunk)
            digest.update(chunk)
        return size, digest.hexdigest()

    def assert_converts(self):
        """A XenServer image becomes a raw disk, by each import method."""
        small = archives.small()
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(small.name) as image_id:
                task = import_data(image_id, small.data)
                self.assert_converted(image_id, task, small)

    def assert_refuses(self):
        """A broken XenServer image is refused, by each import method."""
        broken = archives.refused()[0]
        for import_data in (self.web_download, self.glance_direct):
            with self.new_image(broken.name) as image_id:
                task = import_data(image_id, broken.data)
                self.assert_refused(image_id, task, broken.reason)

    def assert_converted(self, image_id, task, expected, stores=None):
        """The image is the raw disk, and nothing else is left behind."""
        self.assert_disk(image_id, task, expected)
        self.assert_stored([image_id], stores)

    def assert_disk(self, image_id, task, expected):
        """The import succeeded, and the image is the raw disk."""
        self.assertEqual('success', task['status'], task['message'])
        image = self.client.images.get(image_id)
        self.assertEqual(
            ('active', 'raw', 'bare', expected.size, expected.size),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size))
        self.assertEqual((expected.size, expected.sha256),
                         self.download(image_id))
        self.assertEqual('', image.get('os_glance_failed_import', ''))
        self.assertEqual('', image.get('os_glance_importing_to_stores', ''))

    def assert_stored(self, images, stores=None):
        """These stores hold the images, and there are no other files."""
        for store in self.cloud.stores:
            held = store in (stores or self.cloud.stores[:1])
            self.assertEqual(sorted(images) if held else [],
                             self.cloud.stored(store))
        self.assertEqual([], self.cloud.staged())

    def assert_refused(self, image_id, task, reason, stores=None):
        """The image is back in the queue, and its owner is told why."""
        stores = stores or self.cloud.stores[:1]
        self.assertEqual('failure', task['status'])
        self.assertRegex(task['message'], reason)
        self.assertTrue(SENTENCE.fullmatch(task['message']),
                        '%r is no sentence' % task['message'])
        image = self.client.images.get(image_id)
        self.assertEqual(('queued', 'vhd', 'ovf', None, None),
                         (image.status, image.disk_format,
                          image.container_format, image.size,
                          image.virtual_size))
        if self.cloud.names_stores:
            self.assertEqual(','.join(sorted(stores)),
                             image['os_glance_failed_import'])
        self.assertEqual('', image.get('os_glance_importing_to_stores', ''))
        self.assertNotIn('os_glance_import_task', image)
        self.assert_stored([])

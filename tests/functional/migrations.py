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

"""What the tests of migrations have in common."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

from testtools import content

from testbed.clouds import forking
from testbed.clouds import haproxy
from testbed.clouds import keystone
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.functional import archives
from tests.functional import base

# All that the command imports for its part.
forking.preload(
    'glance_xs_convert.cli.main', 'glance_xs_convert.cli.upload',
    'openstack.connection', *(
        f'glance_xs_convert.cli.migrate.{module}' for module in (
            'list_images', 'report', 'run', 'undo')))

SOURCE = 'xs_convert_source_image'
REPLACED_BY = 'xs_convert_replaced_by'


@dataclasses.dataclass(frozen=True)
class Ended:
    """A call of the command that is over."""

    status: int
    stdout: str
    stderr: str

    @property
    def rows(self):
        """What it printed with ``-f json``."""
        return json.loads(self.stdout)


def tiny(number=0):
    """An archive of a disk of 64 KiB, different for each number."""
    layers = chains.linked([vhd.Layer(
        64 * 1024, block_size=4096,
        written=[(8, chains.pattern('tiny %d' % number, 4))])])
    return archives.Image(
        'tiny-%d.tgz' % number, archive.tgz(archive.chain_members(layers)),
        model.size(layers), model.sha256(layers))


def bare():
    """One VHD without an archive around it."""
    layer = vhd.Layer(
        64 * 1024, block_size=4096,
        written=[(16, chains.pattern('bare', 7))])
    return archives.Image('bare.vhd', layer.tobytes(), model.size([layer]),
                          model.sha256([layer]))


class MigrateCase(base.ImportCase):
    """Migrates images of a cloud with two hosts behind an HAProxy.

    The command runs in a process of its own, and ordinary clients look at
    what it did.
    """

    OPTIONS = {'hosts': 2, 'xs_convert': {'convert_bare_vhd': True}}

    @classmethod
    def setUpClass(cls):
        if not haproxy.installed():
            raise unittest.SkipTest('there is no haproxy')
        super().setUpClass()
        cls.admin = cls.cloud.client('admin')

    def setUp(self):
        super().setUp()
        self.addCleanup(self.delete_all)

    def scratch(self, name):
        """The path of a file that goes with the test."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return os.path.join(directory.name, name)

    def delete_all(self):
        """Delete all images of all projects."""
        for image_id in self.ids_of('protected'):
            self.admin.images.update(image_id, protected=False)
        for image_id in self.ids_of():
            self.admin.images.delete(image_id)

    def ids_of(self, condition='TRUE', *values):
        """The ids of all images of all projects for which something is true.

        :param condition: an expression of SQL, with ``%s`` for the values
        """
        return sorted(image_id for image_id, in self.cloud.rows(
            'SELECT id FROM images WHERE deleted = 0 AND ' + condition,
            *values))

    def all_images(self):
        """All images of all projects, as Glance gives them."""
        return [image for hidden in (False, True)
                for image in self.admin.images.list(filters={
                    'visibility': 'all', 'os_hidden': hidden})]

    def store(self, image, user='demo', container_format='ovf',
              backend=None, **attributes):
        """Upload an archive, which nothing converts, and return its id.

        :param backend: name of the store, if not the default one
        """
        client = self.cloud.client(user)
        image_id = client.images.create(
            **{'name': image.name, 'disk_format': 'vhd',
               'container_format': container_format} | attributes).id
        client.images.upload(image_id, io.BytesIO(image.data),
                             len(image.data), backend=backend)
        return image_id

    def environment(self, user='demo', **more):
        """The environment of the command."""
        env = {name: value for name, value in os.environ.items()
               if not name.startswith('OS_')}
        return env | self.cloud.env(user) | more

    def start(self, *arguments, user='demo', **more):
        """Start ``glance-xs-convert migrate``."""
        return self.call('migrate', *arguments,
                         env=self.environment(user, **more))

    def call(self, *arguments, env=None):
        """Start ``glance-xs-convert``."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        command = forking.Command(
            arguments, env or self.environment(),
            pathlib.Path(directory.name))
        self.addCleanup(command.wait)
        self.addCleanup(command.kill)
        return command

    def begin(self, *arguments, **options):
        """Start ``glance-xs-convert migrate``; it has begun an image."""
        command = self.start(*arguments, **options)
        self.wait_until(lambda: '\n' in command.stderr()
                        or command.poll() is not None)
        return command

    def end(self, command):
        """Wait until a call is over."""
        try:
            status = command.wait(base.PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail('no end: %s' % command.stderr())
        printed = command.stdout() + command.stderr()
        self.addDetail('%s' % time.monotonic(),
                       content.text_content(printed))
        for secret in (keystone.PASSWORD, 'gAAAA'):
            self.assertNotIn(secret, printed)
        return Ended(status, command.stdout(), command.stderr())

    def migrate(self, *arguments, status=0, **options):
        """Call the command, and check its exit status."""
        ended = self.end(self.start(*arguments, '-f', 'json', **options))
        self.assertEqual(status, ended.status, ended.stderr)
        return ended

    def states(self, **options):
        """The state of each old image."""
        ended = self.end(self.start('list', '-f', 'json', **options))
        return {row['id']: row['state'] for row in ended.rows}

    def news_of(self, old_id):
        """The new images of an old one, whatever became of them."""
        return [self.admin.images.get(image_id) for image_id in self.ids_of(
            """id IN (SELECT image_id FROM image_properties
               WHERE deleted = 0 AND name IN %s AND value = %s)""",
            (SOURCE, 'xs_convert_migrating', 'xs_convert_undone'), old_id)]

    def the_new(self, old_id):
        """The one new image of an old one."""
        news = self.news_of(old_id)
        self.assertEqual(1, len(news), news)
        return news[0]

    def assert_replaced(self, old_id, expected):
        """There is one new image, complete, with the right disk."""
        new = self.the_new(old_id)
        old = self.admin.images.get(old_id)
        self.assertEqual(
            ('active', 'raw', 'bare', expected.size, expected.size),
            (new.status, new.disk_format, new.container_format, new.size,
             new.virtual_size))
        self.assertEqual((old_id, new.id), (new[SOURCE], old[REPLACED_BY]))
        digest = hashlib.sha256()
        for chunk in self.admin.images.data(new.id):
            digest.update(chunk)
        self.assertEqual(expected.sha256, digest.hexdigest())
        self.assertEqual([], [name for name in new if name in (
            'xs_convert_migrating', 'xs_convert_copied',
            'xs_convert_failed', 'xs_convert_refused')])
        return new

    def assert_tidy(self):
        """Stores and staging areas hold nothing but images' data.

        If an image was deleted while it was imported, its data goes a moment
        later.
        """
        expected = self.ids_of('size > 0')
        deadline = time.monotonic() + base.PATIENCE
        while ((expected, []) != (self.cloud.stored(), self.cloud.staged())
               and time.monotonic() < deadline):
            time.sleep(0.1)
        self.assertEqual((expected, []),
                         (self.cloud.stored(), self.cloud.staged()))

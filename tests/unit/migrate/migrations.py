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

"""What the tests of a migration have in common."""

import unittest
from unittest import mock

from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import selection
from tests.unit.migrate import glance

OLD = glance.uid('old')
DOWNLOAD = methods.Download('Region', 'public')
DIRECT = methods.Direct()
METHODS = (DOWNLOAD, DIRECT)
BROKEN = ('The XenServer image cannot be converted: 1.vhd: there is no layer '
          '2.vhd. [MissingLayer]')
FULL = ('The XenServer image cannot be converted: there is no space left for '
        'the raw disk. [OutOfSpace]')
BUSY = ('The XenServer image cannot be converted: too many others wait. '
        '[TooManyWaiting]')
ERROR = 'Task failed due to Internal Error'
SUM = 'd' * 128


class Clock:
    """The time of a test, which passes with every question.

    :param step: seconds that pass with each question
    """

    def __init__(self, step):
        self.now = 0.0
        self._step = step

    def __call__(self):
        self.now += self._step
        return self.now


def passing(step):
    """Let time pass, ``step`` seconds with every question about it."""
    return mock.patch('time.monotonic', Clock(step))


class MigrationCase(unittest.TestCase):
    """Migrates the image ``OLD``."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        self.cloud.add(name='web', hw_disk_bus='scsi', unwanted='x',
                       tags=['b', 'a'], os_glance_odd='not copied')
        self.cloud.shares[OLD] = {'p2': 'accepted', 'p3': 'pending'}

    def settings(self, method=DOWNLOAD, fallback=None, **options):
        return migration.Settings(
            methods.Methods(method, fallback), **options)

    def migration(self, new_id=None, **options):
        return migration.Migration(
            self.cloud, self.settings(**options), OLD, new_id,
            lambda stage, fraction: None)

    def migrate(self, new_id=None, **options):
        return self.migration(new_id, **options).run()

    def rows(self, **options):
        return {row.id: row for row in inventory.Inventory(
            self.cloud, selection.Selection(**options)).rows()}

    def row(self):
        return self.rows()[OLD]

    @property
    def old(self):
        return self.cloud.records[OLD]

    def news(self):
        return [image for image in self.cloud.records.values()
                if image['id'] != OLD]

    def assert_done(self):
        """There is one new image, and it is all that it has to be."""
        new, = self.news()
        self.assertEqual(
            ('web', 'scsi', ['a', 'b'], 'shared', 'active', False, 1),
            (new['name'], new['hw_disk_bus'], sorted(new['tags']),
             new['visibility'], new['status'], new['os_hidden'],
             new['min_disk']))
        self.assertNotIn('unwanted', new)
        self.assertNotIn('os_glance_odd', new)
        self.assertEqual([], [name for name in names.PROVISIONAL
                              if name in new])
        self.assertEqual({'p2': 'accepted', 'p3': 'pending'},
                         self.cloud.shares[new['id']])
        self.assertEqual((OLD, new['id']),
                         (new[names.SOURCE], self.old[names.REPLACED_BY]))
        self.assertEqual(inventory.DONE, self.row().state)
        return new


def verified(found):
    """Let the converter of this computer find a checksum."""
    return mock.patch('glance_xs_convert.migrate.verify.sum_of_disk',
                      lambda *arguments: found)


def users(*used_by, unseen=()):
    """Everything is used by these."""
    return mock.Mock(spec=references.Users, of=lambda image_id: [*used_by],
                     unseen=[*unseen])


NOBODY = users()
SOMEBODY = users('server 1')
UNKNOWN = users(unseen=['servers: 503'])

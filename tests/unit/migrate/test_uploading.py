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
"""Uploading a virtual machine to a Glance that is made up."""

import dataclasses
import pathlib
import tempfile
import unittest

from glance_xs_convert.converter import choice
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import uploading
from glance_xs_convert import results
from tests.unit.migrate import glance
from tests.unit.migrate import migrations

SECTORS = results.FirstSectors('MBR', False, True)
GUEST = results.Guest('web-1', 'XenServer', '8.2.1', 2 << 30, 2, 'bios',
                      'HVM', None)
BOOT = uploading.Part('xvda', 'web-1-xvda', {'min_ram': 2048}, None, True)
DATA = uploading.Part('xvdb', 'web-1-xvdb', {}, None, False)


def disk(device, size, bootable):
    return results.FoundDisk(size, size, SECTORS, results.Disk(
        f'Ref:{device}', device, size, device, device[-1], bootable))


class Parts(unittest.TestCase):

    def test_export(self):
        """The disk that boots comes first; sizes are rounded up."""
        found = results.Inspection(
            [disk('xvdb', 5 << 30, False), disk('xvda', (1 << 30) + 1, True)],
            [], GUEST)
        self.assertEqual([
            uploading.Part('xvda', 'web-xvda', {
                'min_ram': 2048, 'min_disk': 2}, (1 << 30) + 1, True),
            uploading.Part('xvdb', 'web-xvdb', {
                'min_ram': 2048, 'min_disk': 5}, 5 << 30, False),
        ], uploading.parts_of(found, 'web'))

    def test_one_disk(self):
        found = results.Inspection(
            [results.FoundDisk(512, 512, SECTORS)], [])
        part, = uploading.parts_of(found, 'snapshot')
        self.assertEqual((None, 'snapshot', {'min_disk': 1}, True), (
            part.disk, part.name, part.attributes, part.is_bootable))

    def test_described(self):
        """What the description does not decide is left open."""
        found = results.Description([
            dataclasses.replace(disk(name, size, boots).disk)
            for name, size, boots in (
                ('xvdb', 0, False), ('xvda', (1 << 30) + 1, True))], [GUEST])
        self.assertEqual([
            uploading.Part('xvda', 'web-xvda', {
                'min_ram': 2048, 'min_disk': 2}, (1 << 30) + 1, True),
            uploading.Part('xvdb', 'web-xvdb', {'min_ram': 2048}, None,
                           False),
        ], uploading.described_parts(found, 'web'))

    def test_each_choice_denotes_one_disk(self):
        """As the import plugin would take it."""
        def at(ref, device, position):
            return results.Disk(ref, ref, 1 << 30, device, position, False)

        disks = [at('web.vhd', '', '0'), at('db.vhd', '', '0'),
                 at('log.vhd', '', '1'), at('x.vhd', 'xvda', '7'),
                 at('y.vhd', 'xvda', '8'), at('z.vhd', '', '')]
        parts = uploading.described_parts(
            results.Description(disks, [GUEST]), 'vm')
        self.assertEqual(['web.vhd', 'db.vhd', '1', '7', '8', 'z.vhd'],
                         [part.disk for part in parts])
        self.assertEqual(
            disks, [choice.choose(disks, part.disk, 'package', by_name=True)
                    for part in parts])

    def test_wanted(self):
        """By device, number, name or reference; each once."""
        parts = uploading.described_parts(results.Description([
            results.Disk('Ref:7', 'system', 512, 'xvda', '0', True),
            results.Disk('Ref:8', 'data', 512, 'xvdb', '1', False),
            results.Disk('Ref:9', 'data', 512, 'xvdc', '2', False),
        ], [GUEST]), 'vm')
        for called, wanted in (
                ([], [0, 1, 2]), (['xvdb'], [1]), (['1'], [1]),
                (['system'], [0]), (['Ref:9'], [2]), (['2', 'xvda'], [2, 0]),
                (['1', 'xvdb', 'Ref:8'], [1])):
            self.assertEqual([parts[number] for number in wanted],
                             uploading.wanted_parts(parts, called))
        for name in ('xvdz', '3', ''):
            with self.assertRaisesRegex(
                    exceptions.NoSuchDisk,
                    f'no disk {name}; it has xvda, xvdb, xvdc$'):
                uploading.wanted_parts(parts, ['xvda', name])
        with self.assertRaisesRegex(exceptions.DiskNotChosen,
                                    'several disks .* called data'):
            uploading.wanted_parts(parts, ['data'])

    def test_named_by_the_user(self):
        self.assertEqual(
            [('0', 'vm-0', True), ('1', 'vm-1', False)],
            [(part.disk, part.name, part.is_bootable)
             for part in uploading.chosen_parts(['0', '1', '0'], 'vm')])


class UploadCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = pathlib.Path(scratch.name, 'vm.xva')
        self.path.write_bytes(b'x' * glance.ARCHIVE)
        self.source = uploading.LocalFile(str(self.path))

    def upload(self, *parts, method=None, source=None, atomic=False):
        uploader = uploading.Uploader(
            self.cloud, source or self.source, method or methods.Direct())
        return uploading.upload_all(
            uploader, parts or (BOOT, DATA), atomic=atomic,
            on_progress=lambda *arguments: None)


class Upload(UploadCase):

    def test_two_disks(self):
        made, failed = self.upload()
        self.assertEqual({}, failed)
        self.assertEqual(
            [('web-1-xvda', 'xvda', 2048), ('web-1-xvdb', 'xvdb', 0)],
            [(one.image['name'], one.image['xs_convert_disk'],
              one.image.get('min_ram', 0)) for one in made])
        for one in made:
            self.assertEqual('active', one.image['status'])
            self.assertLessEqual(1, one.image['min_disk'])
            self.assertEqual([], [name for name in names.PROVISIONAL
                                  if name in one.image])

    def test_again(self):
        """The second run finds what the first has made."""
        first, _ = self.upload()
        requests = self.cloud.requests
        second, _ = self.upload()
        self.assertEqual([one.image['id'] for one in first],
                         [one.image['id'] for one in second])
        self.assertEqual(2, len(self.cloud.records))
        self.assertGreater(20, self.cloud.requests - requests)

    def test_killed_at_any_request(self):
        self.upload()
        expected = sorted(self.cloud.records)
        total = self.cloud.requests
        for before in (True, False):
            for at in range(1, total):
                self.cloud = glance.Glance()
                self.cloud.kill_at, self.cloud.kill_before = at, before
                with self.assertRaises(glance.Killed):
                    self.upload()
                with migrations.passing(0.5):
                    made, failed = self.upload()
                self.assertEqual({}, failed)
                self.assertEqual(2, len(made))
                self.assertEqual(2, len(self.cloud.records), (before, at))
                self.assertLessEqual(
                    len(set(self.cloud.records) - set(expected)), 1)

    def test_other_archive_has_other_ids(self):
        """Two archives of one machine can differ in the middle only."""
        self.path.write_bytes(bytes(9 << 20))
        found = {self.source.identity}
        for place in (0, 9 << 19, (9 << 20) - 1):
            data = bytearray(9 << 20)
            data[place] ^= 1
            self.path.write_bytes(data)
            found.add(uploading.LocalFile(str(self.path)).identity)
        self.assertEqual(4, len(found))

    def test_archive_that_disappears(self):
        """What was uploaded before is still shown."""
        def meanwhile(name, *arguments):
            if name == '_create' and self.cloud.records:
                self.path.unlink()

        self.cloud.meanwhile = meanwhile
        made, failed = self.upload()
        self.assertEqual(['web-1-xvda'], [one.part.name for one in made])
        self.assertIn('vm.xva cannot be opened: No such file',
                      failed['web-1-xvdb'])
        self.assertEqual([one.image['id'] for one in made],
                         list(self.cloud.records))

    def test_nothing_is_left_of_what_glance_refuses(self):
        def refuse(*arguments):
            raise errors.OutOfQuota('Glance says: no more')

        source = uploading.Address('http://there/vm.xva')
        self.cloud.begin = refuse
        made, failed = self.upload(
            BOOT, source=source, method=methods.WebDownload(source.url))
        self.assertEqual(([], {'web-1-xvda': 'Glance says: no more'}),
                         (made, failed))
        self.assertEqual({}, self.cloud.records)

    def test_deleted_image(self):
        """Its ID stays taken."""
        first, _ = self.upload(BOOT)
        self.cloud.delete(first[0].image['id'])
        second, _ = self.upload(BOOT)
        self.assertNotEqual(first[0].image['id'], second[0].image['id'])
        self.assertEqual('active', second[0].image['status'])

    def test_refused(self):
        """The other disk gets its image."""
        self.cloud.failures = [migrations.BROKEN]
        made, failed = self.upload()
        self.assertEqual({'web-1-xvda': migrations.BROKEN}, failed)
        self.assertEqual(['web-1-xvdb'], [one.part.name for one in made])
        self.assertEqual(1, len(self.cloud.records))

    def test_atomic(self):
        self.cloud.meanwhile = self._break_second
        made, failed = self.upload(atomic=True)
        self.assertEqual(([], ['web-1-xvdb']), (made, list(failed)))
        self.assertEqual({}, self.cloud.records)

    def test_atomic_when_an_image_stays(self):
        """The others are deleted nevertheless, and this one is named."""
        third = uploading.Part('xvdc', 'web-1-xvdc', {}, None, False)
        made = []

        def meanwhile(name, *arguments):
            if name == '_begin' and len(self.cloud.records) == 3:
                self.cloud.failures = [migrations.BROKEN]
            if name == '_delete' and arguments[0] == next(
                    iter(self.cloud.records)):
                raise errors.Conflict('it is in use')

        self.cloud.meanwhile = meanwhile
        made, failed = self.upload(BOOT, DATA, third, atomic=True)
        left, = self.cloud.records
        self.assertEqual([left], [one.image['id'] for one in made])
        self.assertEqual({'web-1-xvda', 'web-1-xvdc'}, set(failed))
        self.assertIn(left, failed['web-1-xvda'])

    def _break_second(self, name, *arguments):
        if name == '_begin' and len(self.cloud.records) == 2:
            self.cloud.failures = [migrations.BROKEN]

    def test_fault_of_the_host(self):
        self.cloud.failures = [migrations.FULL, migrations.BUSY]
        made, failed = self.upload(BOOT)
        self.assertEqual(({}, 1), (failed, len(made)))
        self.assertEqual(1, len(self.cloud.records))

    def test_hosts_that_never_have_a_turn(self):
        """The deadline counts for them, too."""
        self.cloud.failures = [migrations.BUSY] * 1000
        with migrations.passing(30):
            made, failed = self.upload(BOOT)
        self.assertEqual([], made)
        self.assertIn('too many others', failed['web-1-xvda'])

    def test_what_operators_have_to_change_is_not_tried_again(self):
        self.cloud.failures = ['There is a quota. [QuotaExceeded]']
        _, failed = self.upload(BOOT)
        self.assertIn('a quota', failed['web-1-xvda'])
        self.assertEqual({}, self.cloud.records)

    def test_plugin_is_off(self):
        self.cloud.converts = False
        _, failed = self.upload(BOOT)
        self.assertIn('xs_convert is off', failed['web-1-xvda'])
        self.assertEqual({}, self.cloud.records)

    def test_no_disk_is_tried_that_would_meet_the_same(self):
        self.cloud.converts = False
        _, failed = self.upload(BOOT, DATA)
        self.assertEqual(['web-1-xvda'], list(failed))

    def test_wrong_size(self):
        _, failed = self.upload(uploading.Part('xvda', 'a', {}, 1, True))
        self.assertIn('but the disk has 1', failed['a'])
        self.assertEqual({}, self.cloud.records)

    def test_address(self):
        """No byte passes through this computer."""
        source = uploading.Address('http://there/vm.xva')
        made, failed = self.upload(
            BOOT, source=source, method=methods.WebDownload(source.url))
        self.assertEqual(({}, 1), (failed, len(made)))
        self.assertEqual([], self.cloud.staged)


class Choose(UploadCase):

    def choose(self, wanted, source, enabled):
        self.cloud.methods = lambda: enabled
        return uploading.choose(self.cloud, wanted, source)

    def test_suitable(self):
        there = uploading.Address('https://there/a')
        both = ['glance-direct', 'web-download']
        self.assertEqual(methods.Direct(),
                         self.choose('auto', self.source, both))
        self.assertEqual(methods.WebDownload('https://there/a'),
                         self.choose('auto', there, both))
        self.assertEqual(
            {'name': 'web-download', 'uri': 'https://there/a'},
            self.choose('web-download', there, both).request(there))

    def test_not_suitable(self):
        there = uploading.Address('https://there/a')
        for wanted, source, enabled in (
                ('web-download', self.source, ['web-download']),
                ('glance-direct', there, ['glance-direct']),
                ('auto', self.source, ['web-download']),
                ('auto', there, [])):
            with self.assertRaises(errors.CannotMigrate):
                self.choose(wanted, source, enabled)


class ServerCommand(unittest.TestCase):

    def test_order(self):
        def made(part, image_id, size):
            return uploading.Uploaded(part, {'id': image_id, 'size': size})

        self.assertEqual(
            'openstack server create --flavor FLAVOR --network NETWORK '
            '--image boot-id --block-device uuid=data-id,source_type=image,'
            "destination_type=volume,boot_index=-1,volume_size=3 'my vm'",
            uploading.server_command([
                made(DATA, 'data-id', (2 << 30) + 1),
                made(BOOT, 'boot-id', 1 << 30)], 'my vm'))

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

"""Exports of other writers than XenServer, and exports that were repacked.

What XenServer's own import takes is the rule: ``recv_one`` in
``stream_vdi.ml`` of xen-api.
"""

import dataclasses
import io
import itertools
import os
import re
import subprocess
import tarfile

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import sparse
from testbed.images import xva
from tests.unit.converter import exports

MIB = 1 << 20


def renamed(members, change):
    """Return members under other names."""
    return [dataclasses.replace(member, name=change(member.name))
            for member in members]


def with_digits(count):
    """Return a function that writes chunks' numbers with so many digits."""
    def change(name):
        return re.sub('(?<=/)[0-9]+', lambda found: (
            f'{int(found[0]):0{count}d}'), name)
    return change


def empty_at_the_start(*extents, size, **fields):
    """Return a disk whose first chunk holds zeros only, and its members.

    The first chunk is left out.
    """
    content = sparse.Sparse()
    for offset, data in extents:
        content.put(offset, data)
    content.truncate(size)
    disk = xva.Disk(content, **fields)
    return disk, list(disk.members())[2:]


@ddt.ddt
class Writers(exports.ExportCase):

    @ddt.data(1, 2, 9, 20, 40)
    def test_digits(self, count):
        disk = xva.random_disk('digits', 7 * MIB)
        members = renamed(xva.Export([disk]).members(), with_digits(count))
        self.assert_comes_out(disk, archive.tar(members))

    def test_numbers_that_decrease_as_text(self):
        """XenServer refuses 10 after 9."""
        disk = xva.random_disk('digits', 12 * MIB, 1 << 20)
        disk.content.put(9 * MIB, b'x')
        disk.content.put(10 * MIB, b'x')
        members = renamed(xva.Export([disk]).members(), with_digits(1))
        error = self.assert_refused(archive.tar(members),
                                    exceptions.DamagedExport)
        self.assertIn('after number 9', str(error))
        self.assertIn('zeros in front', str(error))

    def test_numbers_that_no_disk_has(self):
        disk = xva.random_disk('digits', 2 * MIB)
        members = list(xva.Export([disk]).members())
        members[1] = dataclasses.replace(members[1], name='Ref:7/' + '9' * 30)
        self.assert_refused(archive.tar(members), exceptions.DamagedExport,
                            '9' * 30)

    @ddt.data('disk', 'VDI/1', 'a b', 'Disk:7')
    def test_references_of_any_form(self, ref):
        disk = xva.random_disk('refs', 3 * MIB, ref=ref)
        self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_lower_and_upper_case_checksums(self):
        for kind, change in ((xva.XXH64, bytes.lower), (xva.SHA1,
                                                        bytes.upper)):
            disk = xva.random_disk('case', 3 * MIB, checksum=kind)
            members = [
                dataclasses.replace(member, content=change(member.content))
                if member.name.endswith(kind) else member
                for member in xva.Export([disk]).members()]
            self.assert_comes_out(disk, archive.tar(members))

    @ddt.data('export/', './export/', './a/b c/')
    def test_in_a_folder(self, folder):
        disk = xva.random_disk('folder', 3 * MIB)
        members = renamed(xva.Export([disk]).members(),
                          lambda name: folder + name)
        self.assert_comes_out(disk, archive.tar(
            [archive.directory(folder), *members]))

    def test_beside_its_folder(self):
        disk = xva.random_disk('folder', 3 * MIB)
        first, *rest = xva.Export([disk]).members()
        first = dataclasses.replace(first, name='export/ova.xml')
        self.assert_refused(archive.tar([
            first, *renamed(rest, lambda name: 'other/' + name)]),
            exceptions.DamagedExport, 'other/Ref:7')


class FirstChunks(exports.ExportCase):

    def test_missing(self):
        disk, members = empty_at_the_start(
            (2 * MIB, b'x' * 4096), size=4 * MIB + 512)
        self.assert_comes_out(disk, archive.tar([
            archive.Member('ova.xml', xva.Export([disk]).ova_xml()),
            *members]))

    def test_a_note_says_so(self):
        disk, members = empty_at_the_start(
            (2 * MIB, b'x' * 4096), size=4 * MIB + 512)
        data = archive.tar([archive.Member(
            'ova.xml', xva.Export([disk]).ova_xml()), *members])
        found = [road(io.BytesIO(data)).notes
                 for road in (api.check, api.inspect)]
        found.append(self.convert(data).notes)
        self.assertEqual([found[0]] * 3, found)
        self.assertRegex(found[0][0], r'\Axvda: .* 2 MiB .* zeros')

    def test_missing_from_the_second_disk(self):
        """Its zeros are counted in chunks of the first disk."""
        one = xva.random_disk('one', 3 * MIB, ref='Ref:1')
        two, rest = empty_at_the_start(
            (2 * MIB, b'x' * 512), size=2 * MIB + 512, ref='Ref:2',
            device='xvdb', userdevice='1')
        members = [archive.Member('ova.xml', xva.Export([one, two]).ova_xml()),
                   *one.members(), *rest]
        data = archive.tar(members)
        self.assert_comes_out(two, data, disk='1')
        self.assert_comes_out(one, data, disk='0')
        self.assertEqual([], api.check(io.BytesIO(data), disk='0').notes)
        for road in (lambda: api.inspect(io.BytesIO(data)),
                     lambda: api.check(io.BytesIO(data), disk='1')):
            [note] = road().notes
            self.assertRegex(note, r'\Axvdb: ')

    def test_missing_where_it_does_not_add_up(self):
        disk = xva.random_disk('first', 2 * MIB + 512)
        self.assert_refused(archive.tar([
            archive.Member('ova.xml', xva.Export([disk]).ova_xml()),
            *list(disk.members())[-2:]]), exceptions.IncompleteDisk)


class Repacked(exports.ExportCase):

    def setUp(self):
        super().setUp()
        self.disk = xva.random_disk('order', 3 * MIB + 512)
        self.members = list(xva.Export([self.disk]).members())

    def assert_order(self, members):
        error = self.assert_refused(archive.tar(members),
                                    exceptions.DamagedExport)
        self.assertIn('packed again in another order', str(error))
        return re.search('"(.*)"', str(error))[1]

    def test_refused_in_the_words_that_help(self):
        first, *rest = self.members
        self.assert_order([*rest, first])
        self.assert_order([first, *rest[2:4], *rest[:2], *rest[4:]])
        self.assert_order([first, *rest[::2], *rest[1::2]])
        self.assert_order([archive.Member('readme', b'x'), first, *rest])

    def test_interleaved(self):
        """Whichever disk is wanted, and wherever its chunks end."""
        for length in (MIB, 700_000):
            disks = [xva.random_disk(
                name, 3 * MIB + 512, length, ref=f'Ref:{number}',
                device=f'xvd{name}', userdevice=str(number))
                for number, name in enumerate('ab')]
            first, *_ = xva.Export(disks).members()
            pairs = [list(zip(members[::2], members[1::2])) for members in (
                list(disk.members()) for disk in disks)]
            mixed = [first]
            for one, two in itertools.zip_longest(*pairs, fillvalue=()):
                mixed += [*one, *two]
            data = archive.tar(mixed)
            for choice in ('0', '1'):
                error = self.assert_refused(
                    data, exceptions.DamagedExport, disk=choice)
                self.assertIn('interleaved', str(error))
                self.assertIn('tar --sort=name', str(error))
            with self.assertRaisesRegex(exceptions.DamagedExport,
                                        'interleaved'):
                api.inspect(io.BytesIO(data))

    def test_cut_before_another_disk(self):
        """The rest comes nowhere, so nothing is interleaved."""
        disks = [xva.random_disk(name, 3 * MIB + 512, ref=f'Ref:{name}',
                                 device=f'xvd{name}', userdevice=name)
                 for name in '01']
        first, *_ = xva.Export(disks).members()
        self.assert_refused(archive.tar([
            first, *list(disks[0].members())[:-2], *disks[1].members()]),
            exceptions.IncompleteDisk, disk='1')

    def test_the_command_works(self):
        command = self.assert_order(self.members[::-1])
        export = self.scratch / 'export'
        export.mkdir()
        packed = self.scratch / 'packed.tar'
        packed.write_bytes(archive.tar(self.members))
        with tarfile.open(packed) as opened:
            for member in opened:
                (export / member.name).parent.mkdir(exist_ok=True)
                content = opened.extractfile(member).read()
                (export / member.name).write_bytes(content)
        subprocess.run(['sh', '-c', command], cwd=export, check=True)
        found = self.scratch / 'NEW.xva'
        self.assertTrue(os.path.exists(found))
        self.assert_comes_out(self.disk, str(found))

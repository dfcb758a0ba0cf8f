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

"""XenServer exports: the disk that comes out, judged by the generator."""

import dataclasses
import io
import pathlib
import random
import resource
import time

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import model
from testbed.images import sparse
from testbed.images import xva
from tests.unit.converter import exports
from tests.unit.converter import sources

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@ddt.ddt
class Disks(exports.ExportCase):

    @ddt.data(*exports.WRAPPINGS)
    def test_wrappings(self, wrapping):
        for seed in range(3):
            disk = xva.random_disk((wrapping, seed), 9 * MIB + 512 * seed)
            data = exports.WRAPPINGS[wrapping](xva.Export([disk]).tar())
            self.assert_comes_out(disk, data)

    @ddt.data(xva.XXH64, xva.SHA1)
    def test_checksums(self, kind):
        disk = xva.random_disk(kind, 5 * MIB, checksum=kind)
        self.assert_comes_out(disk, xva.Export([disk]).tar())

    def test_kinds_of_checksums_may_differ_between_disks(self):
        first, second = exports.two_disks()
        second = dataclasses.replace(second, checksum=xva.SHA1)
        data = xva.Export([first, second]).tar()
        self.assert_comes_out(first, data, disk='0')
        self.assert_comes_out(second, data, disk='1')

    @ddt.data(archive.GNU, archive.PAX, archive.USTAR)
    def test_formats_of_tar(self, tar_format):
        disk = xva.random_disk('format', 3 * MIB)
        members = [archive.Member('ova.xml', xva.Export([disk]).ova_xml()),
                   archive.Member('Ref:7', type=b'5'), *disk.members()]
        self.assert_comes_out(disk, archive.tar(members, tar_format))

    def test_members_that_begin_with_a_dot(self):
        disk = xva.random_disk('dot', 3 * MIB)
        members = [dataclasses.replace(member, name='./' + member.name)
                   for member in xva.Export([disk]).members()]
        self.assert_comes_out(disk, archive.tar(members))

    def test_other_files_are_left_aside(self):
        disk = xva.random_disk('others', 3 * MIB)
        sound = list(xva.Export([disk]).members())
        note = archive.Member('notes.txt', b'x' * 5000)
        for place in (1, len(sound)):
            members = [*sound[:place], note, *sound[place:]]
            self.assert_comes_out(disk, archive.tar(members))

    @ddt.data(*exports.WRAPPINGS)
    def test_from_a_pipe(self, wrapping):
        disk = xva.random_disk(wrapping, 9 * MIB)
        data = exports.WRAPPINGS[wrapping](xva.Export([disk]).tar())
        self.assert_comes_out(disk, sources.OnceOnly(io.BytesIO(data)))

    def test_a_huge_disk_of_two_chunks(self):
        content = sparse.Sparse()
        content.put(0, b'first')
        content.put(2040 * GIB - 4, b'last')
        disk = xva.Disk(content)
        data = xva.Export([disk]).tar()
        start = time.process_time()
        self.assert_comes_out(disk, data)
        self.assertLess(time.process_time() - start, 4)


@ddt.ddt
class Choice(exports.ExportCase):

    @ddt.data(('0', 0), ('xvda', 0), ('1', 1), ('xvdb', 1))
    @ddt.unpack
    def test_one_of_two(self, choice, index):
        disks = exports.two_disks()
        for wrap in exports.WRAPPINGS.values():
            data = wrap(xva.Export(disks).tar())
            self.assert_comes_out(disks[index], data, disk=choice)

    def test_the_only_one_may_be_chosen(self):
        disk = xva.random_disk('only', 3 * MIB)
        for choice in (None, '0', 'xvda'):
            self.assert_comes_out(disk, xva.Export([disk]).tar(),
                                  disk=choice)

    def test_without_a_choice_all_are_listed(self):
        error = self.assert_refused(
            xva.Export(exports.two_disks()).tar(), exceptions.DiskNotChosen)
        for part in ('2 disks', 'xvda', '(0)', '3.0 MiB', '"system"',
                     'xvdb', '(1)', '5 MiB', '"data"'):
            self.assertIn(part, str(error))

    def test_a_refusal_comes_before_the_disks(self):
        data = xva.Export(exports.two_disks()).tar()
        self.assert_refused(data[:100 * KIB], exceptions.DiskNotChosen)

    @ddt.data('2', 'xvdc', 'XVDA', '', 'system', 'Ref:9', '00', '\x1b[m')
    def test_one_that_is_not_there(self, choice):
        error = self.assert_refused(
            xva.Export(exports.two_disks()).tar(), exceptions.NoSuchDisk,
            disk=choice)
        self.assertIn('xvdb (1), 5 MiB, "data"', str(error))

    def test_a_machine_without_disks(self):
        self.assert_refused(xva.Export([]).tar(), exceptions.NoSuchDisk)
        self.assert_refused(xva.Export([]).tar(), exceptions.NoSuchDisk,
                            disk='0')

    def test_two_disks_with_one_device(self):
        first, second = exports.two_disks()
        second = dataclasses.replace(second, device='xvda')
        self.assert_refused(xva.Export([first, second]).tar(),
                            exceptions.DiskNotChosen, disk='xvda')

    def test_a_long_list_is_cut(self):
        content = sparse.Sparse()
        content.truncate(512)
        disks = [xva.Disk(content, ref=f'Ref:{number}', name='x' * 300,
                          userdevice=str(number)) for number in range(300)]
        error = self.assert_refused(xva.Export(disks).tar(),
                                    exceptions.DiskNotChosen)
        self.assertLess(len(str(error)), 1000)

    def test_a_chain_of_vhds_is_one_disk(self):
        from testbed.images import chains
        layers = chains.random_chain('choice', [96 * KIB] * 2, [4 * KIB])
        data = archive.tgz(archive.chain_members(layers))
        self.assert_refused(data, exceptions.NoSuchDisk, disk='0')

    @ddt.data(0, 1)
    def test_the_other_disk_is_verified(self, chosen):
        disks = exports.two_disks()
        members = list(xva.Export(disks).members())
        other = disks[1 - chosen].ref
        index = next(index for index, member in enumerate(members)
                     if member.name.startswith(other + '/00')
                     and member.size == MIB)
        damaged = bytearray(members[index].content)
        damaged[77] ^= 1
        members[index] = dataclasses.replace(members[index],
                                             content=bytes(damaged))
        self.assert_refused(archive.tar(members), exceptions.WrongChecksum,
                            other, disk=str(chosen))


class Result(exports.ExportCase):

    def test_what_is_known_of_the_guest(self):
        disk = xva.random_disk('guest', 3 * MIB)
        data = xva.Export([disk], vm=xva.UEFI).tar()
        guest = self.convert(data).guest
        self.assertEqual(
            ('web-1', 'XenServer', '8.2.1', 2 * GIB, 2, 'uefi', 'HVM'),
            (guest.name, guest.product, guest.version, guest.memory,
             guest.cpus, guest.firmware, guest.boot_mode))

    def test_nothing_is_known_of_the_guest_of_a_chain(self):
        from testbed.images import chains
        layers = chains.random_chain('guest', [96 * KIB], [4 * KIB])
        self.assertIsNone(self.convert(
            archive.tgz(archive.chain_members(layers))).guest)

    def test_check(self):
        disk = xva.random_disk('check', 9 * MIB)
        data = xva.Export([disk]).tar()
        result = api.check(self.source(data))
        self.assertEqual(disk.size, result.virtual_size)
        self.assertEqual(len(data), result.source_size)
        self.assertLessEqual(abs(
            result.allocated - model.content_allocation(disk.content)), 4096)


class Memory(exports.ExportCase):

    def test_it_does_not_grow_with_the_disk(self):
        content = sparse.Sparse()
        block = random.Random('memory').randbytes(MIB)
        for number in range(300):
            content.put(number * MIB, block)
        path = pathlib.Path(self.scratch, 'export.xva')
        with open(path, 'wb') as file:
            sparse.write_pieces(file, xva.Export([xva.Disk(content)]).pieces())
        with self.memory(100 * MIB):
            self.convert(str(path))
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                        3 * GIB // KIB)

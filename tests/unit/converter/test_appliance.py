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

"""OVF packages (.ova), as XenCenter and others write them."""

import bz2
import contextlib
import dataclasses
import io
import itertools
import lzma
import random
import re

import ddt

from glance_xs_convert import api
from glance_xs_convert.converter import convert
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import ova
from testbed.images import shapes
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import sources

KIB = 1 << 10
MIB = 1 << 20
DATA = random.Random('appliance').randbytes(4096)
VMDK = b'KDMV' + bytes(4096)


def layer(name, size=96 * KIB, **options):
    return vhd.Layer(size, [(0, chains.pattern(name, 3)), (100, DATA[:512])],
                     **options)


SYSTEM = ova.Disk(layer('system'))
DATA_DISK = ova.Disk(layer('data', 200 * KIB), 'data', '1', bootable=False)


def one(**options):
    return ova.Package([ova.Machine([SYSTEM])], **options)


def two(**options):
    return ova.Package([ova.Machine([SYSTEM, DATA_DISK])], **options)


class PackageCase(cases.ConvertCase):

    def assert_disk_of(self, wanted, data, **options):
        """Check what a package is converted to, from a file and a pipe."""
        for source in (data, sources.OnceOnly(io.BytesIO(data))):
            result = self.convert(source, **options)
            self.assertIsNone(model.difference(self.target, [wanted.content]))
            self.target.unlink()
            checked = api.check(io.BytesIO(data), **options)
            self.assertEqual(
                (result.virtual_size, result.disk, result.guest,
                 result.notes), (checked.virtual_size, checked.disk,
                                 checked.guest, checked.notes))
        return result


@ddt.ddt
class Disks(PackageCase):

    def test_the_only_disk(self):
        for package in (one(), one(sums=ova.SHA256), one(is_signed=True),
                        one(directory='./'), one(directory='appliance/')):
            result = self.assert_disk_of(SYSTEM, package.tar())
            self.assertEqual(
                ('xvda', '0', 'system', 96 * KIB, True),
                (result.disk.device, result.disk.position, result.disk.name,
                 result.disk.size, result.disk.bootable))
            self.assertEqual([], result.notes)
            self.assertEqual([], result.layers)

    @ddt.data(('0', SYSTEM), ('xvda', SYSTEM), ('system', SYSTEM),
              ('1', DATA_DISK), ('xvdb', DATA_DISK), ('data', DATA_DISK),
              (DATA_DISK.file_name, DATA_DISK))
    @ddt.unpack
    def test_a_choice(self, choice, disk):
        self.assert_disk_of(disk, two().tar(), disk=choice)

    def test_none_chosen(self):
        error = self.assert_refused(two().tar(), exceptions.DiskNotChosen)
        self.assertIn(
            'the package of "web-1" holds 2 disks, so choose one of them: '
            'xvda (0), 96 KiB, "system"; xvdb (1), 200 KiB, "data"',
            str(error))
        error = self.assert_refused(two().tar(), exceptions.NoSuchDisk,
                                    disk='xvdc')
        self.assertIn('it holds xvda', str(error))

    def test_notes_on_each_disk(self):
        gap = ova.Disk(layer('data', 200 * KIB, disk_type=vhd.FIXED,
                             tail_fields={'current_size': 128 * KIB}),
                       'data', '1', bootable=False)
        package = ova.Package([ova.Machine([SYSTEM, gap])])
        [note] = api.inspect(io.BytesIO(package.tar())).notes
        self.assertIn('72 KiB (73728 bytes) between the end of the disk and '
                      'its footer', note)

    def test_numbers_of_devices(self):
        disk = dataclasses.replace(DATA_DISK, position='4')
        package = ova.Package([ova.Machine([disk, SYSTEM])])
        result = self.assert_disk_of(disk, package.tar(), disk='4')
        self.assertEqual('xvde', result.disk.device)
        self.assert_refused(package.tar(), exceptions.NoSuchDisk, disk='1')

    def test_several_machines(self):
        package = ova.Package([
            ova.Machine([SYSTEM], name='web'),
            ova.Machine([dataclasses.replace(DATA_DISK, position='0')],
                        name='db', settings=ova.UEFI)])
        data = package.tar()
        error = self.assert_refused(data, exceptions.DiskNotChosen)
        self.assertRegex(
            str(error), r'\(0\), 96 KiB, "system" of "web"; '
            r'.*\(1\), 200 KiB, "data" of "db"')
        result = self.assert_disk_of(DATA_DISK, data, disk='1')
        self.assertEqual(('db', 'uefi'),
                         (result.guest.name, result.guest.firmware))
        found = api.inspect(io.BytesIO(data))
        self.assertEqual('web', found.guest.name)
        self.assertEqual(['db'], [one.name for one in found.other_guests])
        self.assertEqual(['web', 'db'],
                         [one.disk.machine for one in found.disks])

    @ddt.data(ova.gzipped, bz2.compress, lzma.compress,
              lambda data: archive.zstandard([data]))
    def test_compressed_files(self, compress):
        for content in (layer('a'), layer('b', disk_type=vhd.FIXED),
                        layer('c', tail=vhd.ABSENT)):
            disk = ova.Disk(content, packed=compress, compression='gzip',
                            href='disk.vhd.gz')
            self.assert_disk_of(
                disk, ova.Package([ova.Machine([disk])]).tar())

    def test_a_compressed_package(self):
        for compress in (ova.gzipped, lzma.compress):
            self.assert_disk_of(DATA_DISK, compress(two().tar()), disk='1')

    def test_fixed(self):
        disk = ova.Disk(layer('fixed', disk_type=vhd.FIXED), href='disk.img')
        self.assert_disk_of(disk, ova.Package([ova.Machine([disk])]).tar())

    @ddt.data(None, ova.gzipped)
    def test_out_of_order(self, compress):
        odd = ova.Disk(
            layer('odd', layout=('header', 'blocks', 'bat')), packed=compress)
        data = ova.Package([ova.Machine([odd, DATA_DISK])]).tar()
        self.convert(data, disk='0')
        self.assertIsNone(model.difference(self.target, [odd.content]))
        self.target.unlink()
        self.assertEqual(
            [96 * KIB, 200 * KIB], [found.virtual_size for found in
                                    api.inspect(io.BytesIO(data)).disks])
        self.assert_refused(sources.OnceOnly(io.BytesIO(data)),
                            exceptions.UnreadableSource, disk='0')

    def test_disks_that_are_not_described(self):
        disks = [dataclasses.replace(disk, is_described=False)
                 for disk in (SYSTEM, DATA_DISK)]
        data = ova.Package([ova.Machine(disks)]).tar()
        for number, disk in enumerate(disks):
            self.assert_disk_of(disk, data, disk=str(number))
        error = self.assert_refused(data, exceptions.DiskNotChosen)
        self.assertIn('96 KiB', str(error))
        self.assertIn('200 KiB', str(error))
        data = ova.Package([ova.Machine(disks[:1])]).tar()
        self.assert_disk_of(disks[0], data)
        data = ova.Package([ova.Machine([SYSTEM, disks[1]])]).tar()
        self.assert_refused(data, exceptions.DiskNotChosen)

    def test_a_fixed_disk_that_is_not_described(self):
        extra = archive.Member('readme', layer(
            'x', disk_type=vhd.FIXED).tobytes())
        self.assert_refused(archive.tar([*one().members(), extra]),
                            exceptions.DamagedPackage, 'readme')

    def test_the_limit(self):
        error = self.assert_refused(
            one().tar(), exceptions.LimitExceeded,
            limits=image_limits.Limits(max_virtual_size=64 * KIB))
        self.assertIn('more than', str(error))


@ddt.ddt
class Order(PackageCase):

    def test_the_manifest_comes_last(self):
        for sums in (ova.SHA1, ova.SHA256):
            descriptor, manifest, *disks = two(sums=sums).members()
            data = archive.tar([descriptor, *disks, manifest])
            self.assert_disk_of(SYSTEM, data, disk='0')
            package = two(sums=sums, wrong={SYSTEM.file_name: 'ab' * (
                20 if sums == ova.SHA1 else 32)})
            descriptor, manifest, *disks = package.members()
            self.assert_refused(
                archive.tar([descriptor, *disks, manifest]),
                exceptions.WrongDigest, SYSTEM.file_name, disk='1')

    def test_the_descriptor_comes_late(self):
        for members in (two().members()[::-1], sorted(
                two(name='z').members(), key=lambda item: item.name)):
            data = archive.tar(members)
            self.convert(data, disk='1')
            self.assertIsNone(
                model.difference(self.target, [DATA_DISK.content]))
            self.target.unlink()
            error = self.assert_refused(data)
            self.assertIsInstance(error, exceptions.DiskNotChosen)
            self.assert_refused(sources.OnceOnly(io.BytesIO(data)))

    def test_a_damaged_descriptor_that_comes_late(self):
        """The disks would make a chain that no machine has had."""
        for encoding in ('utf-8', 'utf-16'):
            first, *rest = one().members()
            damaged = dataclasses.replace(
                first, content=first.content.replace(
                    b'</ovf:References>', b'').decode().encode(encoding))
            self.assert_refused(archive.tar([*rest, damaged]),
                                exceptions.DamagedPackage, 'appliance.ovf')

    def test_a_descriptor_of_nothing_in_a_chain(self):
        layers = chains.random_chain('x', [96 * KIB] * 3, [4 * KIB])
        members = archive.chain_members(layers)
        for content in (b'notes', one().descriptor()):
            self.assert_converts(layers, archive.tgz(
                [*members, archive.Member('vm.ovf', content)]))
            self.target.unlink()


@ddt.ddt
class Manifest(PackageCase):

    def test_a_wrong_sum(self):
        for name in (SYSTEM.file_name, DATA_DISK.file_name, 'appliance.ovf'):
            for sums, digits in ((ova.SHA1, 40), (ova.SHA256, 64)):
                data = two(sums=sums, wrong={name: '0' * digits}).tar()
                error = self.assert_refused(
                    data, exceptions.WrongDigest, name, disk='0')
                self.assertIn('0' * digits, str(error))

    def test_without_a_manifest(self):
        result = self.assert_disk_of(SYSTEM, one(sums=None).tar())
        self.assertIn('no manifest', result.notes[0])

    def test_missing_and_unreadable_lines(self):
        result = self.assert_disk_of(
            SYSTEM, one(wrong={SYSTEM.file_name: None}).tar())
        self.assertIn(SYSTEM.file_name, result.notes[0])
        result = self.assert_disk_of(
            SYSTEM, one(wrong={SYSTEM.file_name: '0000'}).tar())
        self.assertIn('0000', result.notes[0])
        result = self.assert_disk_of(
            SYSTEM, one(wrong={SYSTEM.file_name: 'Z' * 40}).tar())
        self.assertTrue(result.notes)

    def test_two_manifests(self):
        members = one().members()
        self.assert_refused(archive.tar([*members, members[1]]),
                            exceptions.DamagedPackage, 'appliance.mf')


@ddt.ddt
class Refusals(PackageCase):

    def test_vmdk(self):
        for disk in (ova.Disk(VMDK, href='disk.vmdk', form=ova.VMDK_FORMAT),
                     ova.Disk(VMDK, packed=ova.gzipped)):
            error = self.assert_refused(
                ova.Package([ova.Machine([disk])]).tar(),
                exceptions.ForeignDisk, disk.file_name)
            self.assertIn('VMDK', str(error))

    def test_a_vmdk_that_was_not_asked_for(self):
        vmdk = ova.Disk(VMDK, 'other', '1', href='disk.vmdk')
        self.assert_disk_of(
            SYSTEM, ova.Package([ova.Machine([SYSTEM, vmdk])]).tar(),
            disk='0')

    def test_a_raw_disk(self):
        for packed in (None, ova.gzipped):
            disk = ova.Disk(DATA, packed=packed)
            self.assert_refused(ova.Package([ova.Machine([disk])]).tar(),
                                (exceptions.ForeignDisk,
                                 exceptions.DamagedVhd))

    def test_a_difference(self):
        disk = ova.Disk(layer('x', disk_type=vhd.DIFFERENCING))
        for packed in (None, ova.gzipped):
            self.assert_refused(ova.Package([ova.Machine([
                dataclasses.replace(disk, packed=packed)])]).tar(),
                exceptions.MissingBase, 'parent')

    def test_files_that_are_there_twice(self):
        members = one().members()
        for item in members:
            for again in (item, dataclasses.replace(
                    item, name='./' + item.name)):
                self.assert_refused(
                    archive.tar([*members, again]),
                    exceptions.DamagedPackage, again.name)

    def test_disks_that_nothing_describes(self):
        """Neither they nor what may hold one are ignored."""
        members = one().members()
        for content, error in (
                (VMDK, exceptions.ForeignDisk),
                (ova.gzipped(VMDK), exceptions.ForeignDisk),
                (archive.tar(members), exceptions.ForeignDisk),
                (ova.gzipped(layer('x').tobytes()),
                 exceptions.DiskNotChosen)):
            refusal = self.assert_refused(archive.tar([
                *members, archive.Member('extra', content)]), error)
            self.assertIn('extra', str(refusal))

    def test_chunks(self):
        disk = dataclasses.replace(SYSTEM, chunk_size=1000)
        error = self.assert_refused(
            ova.Package([ova.Machine([disk])]).tar(),
            exceptions.DamagedPackage)
        self.assertIn('chunkSize', str(error))

    def test_a_missing_file(self):
        data = archive.tar(two().members()[:-1])
        self.assert_refused(data, exceptions.DamagedPackage,
                            DATA_DISK.file_name, disk='0')

    def test_no_disk(self):
        self.assert_refused(ova.Package([ova.Machine([])]).tar(),
                            exceptions.NoSuchDisk)

    @ddt.data(
        b'', b'<a>', b'<?xml version="1.0"?><html/>',
        b'<!DOCTYPE Envelope [<!ENTITY a "b">]><Envelope>&a;</Envelope>',
        b'<Envelope>' * 200, b'\xff\xfe<', b'<Envelope>\x00</Envelope>')
    def test_damaged_descriptors(self, content):
        self.assert_refused(archive.tar([
            archive.Member('vm.ovf', content), *one().members()[1:]]),
            exceptions.DamagedPackage, 'vm.ovf')

    def test_an_encrypted_package(self):
        content = one().descriptor().replace(
            b'</ovf:References>',
            b'</ovf:References><xenc:EncryptedData '
            b'xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"/>')
        self.assert_refused(archive.tar([
            archive.Member('vm.ovf', content), *one().members()[2:]]),
            exceptions.EncryptedVhd)

    def test_cut(self):
        data = two().tar()
        for size in (900, len(data) // 2, len(data) - 2000):
            self.assert_refused(data[:size], disk='0')


@ddt.ddt
class Chains(PackageCase):
    """Disks that the descriptor calls differences to others (parentRef)."""

    def disks(self, count=3, **options):
        """Return a chain of disks, from the leaf to the base."""
        layers = shapes.chain(count)
        names = [f'{letter}.vhd' for letter in 'xcaqm'[:count]]
        return [ova.Disk(
            content, 'system', href=name, parent=parent,
            is_attached=not number, **options)
            for number, (content, name, parent) in enumerate(zip(
                layers, names, [*names[1:], None]))]

    def assert_chain(self, disks, data, **options):
        layers = [disk.content for disk in disks]
        for source in (data, sources.OnceOnly(io.BytesIO(data))):
            result = self.convert(source, **options)
            self.assertIsNone(model.difference(self.target, layers))
            self.target.unlink()
        return result

    def test_the_only_disk(self):
        disks = self.disks()
        for order in itertools.permutations(disks):
            data = ova.Package([ova.Machine(order)]).tar()
            result = self.assert_chain(disks, data)
            self.assertEqual(('xvda', 'x.vhd', shapes.SIZE), (
                result.disk.device, result.disk.ref, result.disk.size))
            self.assertEqual([], result.notes)
            for road in (api.check, api.inspect):
                self.assertEqual([], road(io.BytesIO(data)).notes)

    def test_one_of_several(self):
        """The files of the disks are mixed."""
        disks = self.disks()
        for order in ([disks[0], DATA_DISK, *disks[1:]],
                      [*disks[:0:-1], DATA_DISK, disks[0]]):
            data = ova.Package([ova.Machine(order)]).tar()
            self.assert_chain(disks, data, disk='0')
            self.assert_disk_of(DATA_DISK, data, disk='1')
            error = self.assert_refused(data, exceptions.DiskNotChosen)
            self.assertIn('holds 2 disks', str(error))
            found = api.inspect(io.BytesIO(data))
            self.assertEqual(
                [shapes.SIZE, 200 * KIB],
                [disk.virtual_size for disk in found.disks])

    @ddt.data(ova.gzipped, bz2.compress)
    def test_compressed(self, compress):
        disks = self.disks()
        disks[-1] = dataclasses.replace(disks[-1], content=dataclasses.replace(
            disks[-1].content, disk_type=vhd.FIXED))
        for packed in (disks[:1], disks[-1:], disks):
            data = ova.Package([ova.Machine([
                dataclasses.replace(disk, packed=compress)
                if disk in packed else disk for disk in disks])]).tar()
            self.convert(data)
            self.assertIsNone(model.difference(
                self.target, [disk.content for disk in disks]))
            self.target.unlink()
            self.assert_refused(sources.OnceOnly(io.BytesIO(data)),
                                exceptions.UnreadableSource)

    def test_a_parent_that_is_a_disk_itself(self):
        """Linked clones: one machine has the base, another the difference."""
        leaf, base = self.disks(2)
        base = dataclasses.replace(base, is_attached=True, name='base')
        data = ova.Package([ova.Machine([leaf], 'clone'),
                            ova.Machine([base], 'origin')]).tar()
        self.assert_chain([leaf, base], data, disk='0')
        self.assert_chain([base], data, disk='base')

    def test_sums_of_the_parents(self):
        disks = self.disks()
        for name in ('x.vhd', 'c.vhd', 'a.vhd'):
            self.assert_refused(
                ova.Package([ova.Machine(disks)], wrong={
                    name: '0' * 40}).tar(), exceptions.WrongDigest, name)
        [note] = self.assert_chain(disks, ova.Package(
            [ova.Machine(disks)], wrong={'a.vhd': None}).tar()).notes
        self.assertIn('a.vhd', note)

    def test_a_parent_that_is_missing(self):
        disks = self.disks()
        members = ova.Package([ova.Machine(disks)]).members()
        error = self.assert_refused(archive.tar(
            [item for item in members if item.name != 'a.vhd']))
        self.assertIn('c.vhd', str(error))
        error = self.assert_refused(
            ova.Package([ova.Machine(disks[:2])]).tar(),
            exceptions.DamagedPackage, 'appliance.ovf')
        self.assertIn('c.vhd is a difference to', str(error))

    def test_parents_of_one_another(self):
        one, two = self.disks(2)
        error = self.assert_refused(ova.Package([ova.Machine([
            one, dataclasses.replace(two, parent='x.vhd')])]).tar(),
            exceptions.DamagedPackage)
        self.assertIn('x.vhd', str(error))
        self.assertIn('c.vhd', str(error))

    def test_uuids_that_say_something_else(self):
        disks = self.disks()
        disks[1], disks[2] = (
            dataclasses.replace(disks[1], content=disks[2].content),
            dataclasses.replace(disks[2], content=disks[1].content))
        error = self.assert_refused(ova.Package([ova.Machine(disks)]).tar(),
                                    exceptions.BrokenChain)
        for name in ('a.vhd', 'c.vhd'):
            self.assertIn(name, str(error))

    def test_more_parents_than_a_disk_can_have(self):
        disks = [ova.Disk(b'', href=f'{number}.vhd',
                          parent=f'{number + 1}.vhd')
                 for number in range(40)]
        self.assert_refused(ova.Package([ova.Machine(disks)]).tar(),
                            exceptions.LimitExceeded, 'appliance.ovf')

    def test_all_disks(self):
        disks = self.disks()
        data = ova.Package([ova.Machine([DATA_DISK, *disks])]).tar()
        paths = [self.scratch / name for name in 'abc']
        with contextlib.ExitStack() as stack:
            targets = [stack.enter_context(open(path, 'w+b')).fileno()
                       for path in paths]
            result = convert.convert_all(io.BytesIO(data), targets)
        for found, layers in zip(result.disks, (
                [disk.content for disk in disks], [DATA_DISK.content])):
            self.assertIsNone(model.difference(
                paths[found.target], layers))


@ddt.ddt
class AllDisks(PackageCase):

    def written(self, source, count):
        """Convert all disks to files of their own."""
        paths = [self.scratch / f'{number}.raw' for number in range(count)]
        files = [open(path, 'w+b') for path in paths]
        for file in files:
            self.addCleanup(file.close)
        result = convert.convert_all(
            source, [file.fileno() for file in files])
        return result, [paths[disk.target] for disk in result.disks]

    @ddt.data(None, ova.gzipped)
    def test_a_package(self, compress):
        odd = ova.Disk(layer('odd', layout=('header', 'blocks', 'bat')),
                       'odd', '2')
        disks = [dataclasses.replace(disk, packed=compress)
                 for disk in (DATA_DISK, SYSTEM, odd)]
        data = ova.Package([ova.Machine(disks)]).tar()
        result, paths = self.written(io.BytesIO(data), 4)
        self.assertEqual(['xvda', 'xvdb', 'xvdc'],
                         [found.disk.device for found in result.disks])
        for path, disk in zip(paths, (SYSTEM, DATA_DISK, odd)):
            self.assertIsNone(model.difference(path, [disk.content]))

    def test_a_pipe(self):
        _, paths = self.written(
            sources.OnceOnly(io.BytesIO(two().tar())), 2)
        for path, disk in zip(paths, (SYSTEM, DATA_DISK)):
            self.assertIsNone(model.difference(path, [disk.content]))

    def test_a_chain(self):
        layers = chains.random_chain('x', [96 * KIB] * 2, [4 * KIB])
        for order in ((0, 1), (1, 0)):
            data = archive.tgz(archive.chain_members(layers, order=order))
            result, [path] = self.written(io.BytesIO(data), 3)
            self.assertIsNone(result.disks[0].disk)
            self.assertIsNone(model.difference(path, layers))

    def test_too_few_files(self):
        with self.assertRaisesRegex(exceptions.LimitExceeded, 'more than 1'):
            self.written(io.BytesIO(two().tar()), 1)

    def test_a_wrong_sum(self):
        data = two(wrong={DATA_DISK.file_name: '0' * 40}).tar()
        with self.assertRaises(exceptions.WrongDigest):
            self.written(io.BytesIO(data), 2)


@ddt.ddt
class Descriptors(PackageCase):

    def test_names_that_cannot_be_shown(self):
        package = one()
        descriptor = package.descriptor().replace(
            b'web-1', '\u202eweb\U0001f600'.encode())
        data = archive.tar([archive.Member('vm.ovf', descriptor),
                            *package.members()[2:]])
        found = api.inspect(io.BytesIO(data)).guest
        self.assertTrue(found.name.isprintable())
        self.assertIsNotNone(re.search('web', found.name))

    @ddt.data('utf-16', 'utf-8-sig')
    def test_encodings(self, encoding):
        package = one(sums=None)
        descriptor = package.descriptor().decode().encode(encoding)
        self.assert_disk_of(SYSTEM, archive.tar([
            archive.Member('vm.ovf', descriptor), *package.members()[1:]]))

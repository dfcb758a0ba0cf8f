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

"""What the descriptor of an OVF package says of machines and disks."""

import re
import unittest

import ddt

from glance_xs_convert.converter.ovf import envelope
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import ova

MIB = 1 << 20
GIB = 1 << 30


def disk(name='system', position='0', **options):
    return ova.Disk(bytes(4096), name, position, href=f'{name}.vhd',
                    **options)


def parse(*machines, path='vm.ovf', replace=()):
    """Read the descriptor of machines, some bytes of it replaced."""
    document = ova.Package(machines).descriptor()
    for old, new in replace:
        if old not in document:
            raise AssertionError(f'{old!r} is not in the descriptor')
        document = document.replace(old, new)
    return envelope.parse(document, path)


def guest(*arguments, **options):
    found, = parse(ova.Machine([disk()], **options), *arguments).guests
    return found


@ddt.ddt
class Guests(unittest.TestCase):

    def test_facts(self):
        found = guest(memory=4096, cpus=3)
        self.assertEqual(
            ('web-1', 'XenCenter', 4 * GIB, 3, 'bios', 'HVM', None),
            (found.name, found.product, found.memory, found.cpus,
             found.firmware, found.boot_mode, found.bootloader))

    def test_firmware(self):
        for parameters, wanted in (
                ('firmware=uefi;order=cdn', 'uefi'), ('firmware=EFI', 'uefi'),
                ('order=dc; firmware = bios ', 'bios'), ('order=dc', None),
                ('firmware=coreboot', None)):
            self.assertEqual(wanted, guest(settings={
                **ova.HVM, 'HVM_boot_params': parameters}).firmware)

    def test_paravirtualized(self):
        found = guest(kind='xen-3.0-unknown', settings=ova.PARAVIRTUALIZED)
        self.assertEqual(('PV', 'pygrub', None), (
            found.boot_mode, found.bootloader, found.firmware))

    @ddt.data(('4', 'byte * 2^30', 4 * GIB), ('4', 'MegaBytes', 4 * MIB),
              ('4', 'byte', 4), ('0', 'MB', None), ('-4', 'MB', None),
              ('4', 'byte * 2^99', None), ('9' * 30, 'byte', None),
              ('\u0664', 'byte', None), ('4e9', 'byte', None))
    @ddt.unpack
    def test_memory(self, number, unit, wanted):
        """What makes no sense is not known."""
        found, = parse(ova.Machine([disk()], memory=77), replace=[
            (b'>77<', f'>{number}<'.encode()),
            (b'byte * 2^20', unit.encode())]).guests
        self.assertEqual(wanted, found.memory)

    def test_guest_of_a_disk(self):
        package = parse(ova.Machine([disk()], 'web'),
                        ova.Machine([disk('data')], 'db'))
        for found in package.disks:
            self.assertEqual(found.machine, package.guest_of(found).name)
        self.assertEqual('web', package.guest_of(None).name)


class Disks(unittest.TestCase):

    def test_paths(self):
        """They are relative to the descriptor's own."""
        for href, wanted in (('system.vhd', 'a/system.vhd'),
                             ('./system.vhd', 'a/system.vhd'),
                             ('my%20disk.vhd', 'a/my disk.vhd')):
            package = parse(ova.Machine([ova.Disk(b'x', href=href)]),
                            path='a/vm.ovf')
            self.assertEqual([wanted], [one.ref for one in package.disks])
            self.assertEqual('a/', package.directory)

    def test_sizes(self):
        """One that makes no sense is that of the VHD's own footer."""
        for capacity, units, wanted in (
                ('3', None, 3), ('3', 'byte * 2^20', 3 * MIB),
                ('3', 'MegaBytes', 3 * MIB), ('-3', None, 0), ('', None, 0),
                ('9' * 19, 'byte * 2^40', 0), ('${size}', None, 0)):
            found, = parse(ova.Machine([disk(
                capacity=capacity, units=units)])).disks
            self.assertEqual(wanted, found.size)

    def test_numbers(self):
        """They are the devices', unless two disks have the same."""
        for positions, numbers, devices in (
                ('03', '03', ['xvda', 'xvdd']), ('10', '01', ['xvda', 'xvdb']),
                ('00', '01', ['xvda', 'xvdb']),
                (('x', '1'), '01', ['xvda', 'xvdb']),
                (('7', '99'), ('7', '99'), ['xvdh', ''])):
            found = parse(ova.Machine([
                disk(f'disk{number}', position)
                for number, position in enumerate(positions)])).disks
            self.assertEqual(([*numbers], devices), (
                [one.position for one in found],
                [one.device for one in found]))

    def test_a_disk_of_two_machines(self):
        package = parse(ova.Machine([disk()], 'web'),
                        ova.Machine([disk()], 'db'))
        self.assertEqual(1, len(package.disks))

    def test_a_disk_that_no_machine_has(self):
        package = parse(ova.Machine([disk(), disk(
            'spare', '1', is_attached=False)]))
        self.assertEqual(['system.vhd', 'spare.vhd'],
                         [one.ref for one in package.disks])

    def test_files_in_pieces(self):
        package = parse(ova.Machine([disk(chunk_size=512)]))
        self.assertTrue(package.files['system.vhd'].is_cut)

    def test_names_that_cannot_be_shown(self):
        with self.assertRaises(exceptions.DamagedPackage):
            parse(ova.Machine([ova.Disk(b'x', href='%1b[31m.vhd')]))


class Chains(unittest.TestCase):
    """Disks that are differences to others."""

    def parse(self, **parents):
        """Read a package with a disk of the first name only."""
        names = list(parents)
        return parse(ova.Machine([
            disk(name, str(number), is_attached=not number,
                 parent=parents[name] and f'{parents[name]}.vhd')
            for number, name in enumerate(names)]))

    def test_parents(self):
        package = self.parse(leaf='middle', middle='base', base=None)
        self.assertEqual(['leaf.vhd'], [one.ref for one in package.disks])
        self.assertEqual(
            {'leaf.vhd': ['leaf.vhd', 'middle.vhd', 'base.vhd']},
            package.chains)

    def test_missing(self):
        with self.assertRaisesRegex(exceptions.DamagedPackage,
                                    'no file is given'):
            self.parse(leaf='middle')

    def test_circle(self):
        with self.assertRaisesRegex(exceptions.DamagedPackage,
                                    'parents of one another'):
            self.parse(leaf='middle', middle='leaf')

    def test_longest(self):
        length = image_limits.MAX_CHAIN_LENGTH
        for count in (length, length + 1):
            parents = {f'd{number}': f'd{number + 1}'
                       for number in range(count)} | {f'd{count - 1}': None}
            if count == length:
                chain = self.parse(**parents).chains['d0.vhd']
                self.assertEqual(length, len(chain))
            else:
                self.assertRaises(exceptions.LimitExceeded, self.parse,
                                  **parents)


@ddt.ddt
class Documents(unittest.TestCase):

    @ddt.data(b'', b'<Envelope>', b'text', b'<Envelope/><Envelope/>',
              b'<Other xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>',
              b'<!DOCTYPE x [<!ENTITY y "z">]><Envelope>&y;</Envelope>')
    def test_damaged(self, document):
        with self.assertRaises(exceptions.DamagedPackage) as caught:
            envelope.parse(document, 'vm\n.ovf')
        self.assertTrue(caught.exception.member.isprintable())

    def test_encrypted(self):
        with self.assertRaises(exceptions.EncryptedVhd):
            envelope.parse(b'<Envelope><x:EncryptedData xmlns:x="y"/>'
                           b'</Envelope>', 'vm.ovf')

    def test_nothing(self):
        package = envelope.parse(b'<Envelope/>', 'vm.ovf')
        self.assertEqual(([], [], {}), (
            package.guests, package.disks, package.files))
        self.assertIsNone(package.guest_of(None))

    def test_what_is_like_one(self):
        """A damaged one is, whatever its encoding."""
        document = ova.Package([ova.Machine([disk()])]).descriptor()
        for data in (document, document[:900],
                     document.decode().encode('utf-16')):
            self.assertTrue(envelope.is_like_one(data))
        self.assertFalse(envelope.is_like_one(
            re.sub(b'Envelope', b'Domain', document)))

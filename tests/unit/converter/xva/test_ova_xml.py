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

"""What ``ova.xml`` says, sound and hostile."""

import unittest

import ddt

from glance_xs_convert.converter.xva import ova_xml
from glance_xs_convert import exceptions
from glance_xs_convert import results

from testbed.images import xva

MIB = xva.MIB


def disks():
    """Two disks; their references sort the other way round."""
    return [xva.random_disk(1, 3 * MIB, ref='Ref:9', name='system'),
            xva.random_disk(2, 5 * MIB, ref='Ref:10', name='data <1> & "2"',
                            device='xvdb', userdevice='1', bootable=False)]


def value(fields):
    return xva.xml_value(fields).encode()


@ddt.ddt
class Guest(unittest.TestCase):

    def guest(self, **options):
        return ova_xml.parse(xva.Export(disks(), **options).ova_xml()).guest

    @ddt.data(True, False)
    def test_all_that_is_shown(self, typed):
        self.assertEqual(
            results.Guest('web-1', 'XenServer', '8.2.1', 2 << 30, 2, 'bios',
                          'HVM', None),
            self.guest(typed=typed))

    def test_uefi(self):
        self.assertEqual('uefi', self.guest(vm=xva.UEFI).firmware)

    @ddt.data({'firmware': 'coreboot'}, {'order': 'c'}, {}, '', None)
    def test_unknown_firmware(self, params):
        guest = self.guest(vm={'HVM_boot_params': params})
        self.assertIsNone(guest.firmware)
        self.assertEqual('HVM', guest.boot_mode)

    def test_paravirtualized(self):
        guest = self.guest(vm=xva.PARAVIRTUALIZED)
        self.assertEqual(('PV', 'pygrub', None),
                         (guest.boot_mode, guest.bootloader, guest.firmware))

    @ddt.data(('hvm', 'HVM'), ('pv', 'PV'), ('pv_in_pvh', 'PV'),
              ('unspecified', 'PV'))
    @ddt.unpack
    def test_the_domain_type_decides(self, domain_type, boot_mode):
        guest = self.guest(vm={**xva.PARAVIRTUALIZED,
                               'domain_type': domain_type})
        self.assertEqual(boot_mode, guest.boot_mode)

    def test_a_kernel_without_a_boot_loader(self):
        guest = self.guest(vm={**xva.PARAVIRTUALIZED, 'PV_bootloader': '',
                               'PV_kernel': '/boot/vmlinuz'})
        self.assertEqual(('PV', None), (guest.boot_mode, guest.bootloader))

    def test_fields_that_are_missing_or_of_another_type(self):
        for odd in (None, [], {}, True, '-1', 'x', '9' * 30):
            guest = self.guest(
                vm={'name_label': odd, 'memory_static_max': odd,
                    'VCPUs_max': odd if odd is not True else 'yes'},
                version={'product_brand': odd})
            self.assertIsInstance(guest.name, str)
            self.assertIn(guest.memory, (None, 1))
            self.assertIsNone(guest.cpus)

    def test_names_are_fit_to_be_shown(self):
        guest = self.guest(vm={'name_label': 'a\x9b[31m\u202e' + 'x' * 999})
        self.assertTrue(guest.name.isprintable())
        self.assertLess(len(guest.name), 300)


@ddt.ddt
class Disks(unittest.TestCase):

    def parse(self, *args, **options):
        return ova_xml.parse(xva.Export(*args, **options).ova_xml())

    def test_in_the_order_of_their_devices(self):
        first, second = self.parse(disks()[::-1]).disks
        self.assertEqual(
            results.Disk('Ref:9', 'system', 3 * MIB, 'xvda', '0', True),
            first)
        self.assertEqual(
            results.Disk('Ref:10', 'data <1> & "2"', 5 * MIB, 'xvdb', '1',
                         False), second)

    def test_ten_comes_after_two(self):
        chosen = [xva.random_disk(n, MIB, ref=f'Ref:{n}', userdevice=str(n))
                  for n in (10, 2)]
        self.assertEqual(['2', '10'], [
            disk.position for disk in self.parse(chosen).disks])

    @ddt.data(('0', 'xvda'), ('3', 'xvdd'), ('25', 'xvdz'), ('26', ''),
              ('9' * 40, ''), ('', ''), ('hda', ''))
    @ddt.unpack
    def test_a_device_that_was_never_plugged(self, position, device):
        found = self.parse([xva.random_disk(
            1, MIB, device='', userdevice=position)]).disks
        self.assertEqual([device], [disk.device for disk in found])

    def test_how_a_disk_is_called(self):
        disk = self.parse(disks()).disks[1]
        for choice in ('xvdb', '1'):
            self.assertTrue(disk.is_called(choice))
        for choice in ('', 'xvda', '0', 'data', 'Ref:10', '01', 'XVDB'):
            self.assertFalse(disk.is_called(choice))

    def test_discs_are_no_disks(self):
        iso = ('VDI', 'Ref:50', {'name_label': 'setup.iso', 'SR': 'Ref:51',
                                 'virtual_size': '-1'})
        drive = ('VBD', 'Ref:52', {'VDI': 'Ref:50', 'type': 'CD'})
        library = ('SR', 'Ref:51', {'content_type': 'iso'})
        plugged = ('VBD', 'Ref:53', {'VDI': 'Ref:50', 'type': 'Disk'})
        for others in ([iso, drive], [iso, library, plugged]):
            self.assertEqual(2, len(self.parse(disks(),
                                               others=others).disks))

    def test_a_suspended_machine_has_one_that_is_no_device(self):
        memory = ('VDI', 'Ref:60', {'name_label': 'Suspend image',
                                    'virtual_size': '4096'})
        found = self.parse(disks(), others=[memory])
        self.assertEqual(2, len(found.disks))
        self.assertEqual(4096, found.sizes['Ref:60'])

    @ddt.data('-1', '0', '', '1.5', '0x1000', '1e9', ' 5', '٣', '9' * 21)
    def test_sizes_that_are_none(self, size):
        with self.assertRaisesRegex(exceptions.DamagedExport, 'system'):
            self.parse([xva.random_disk(1, MIB, virtual_size=size)])

    def test_two_objects_of_one_name(self):
        again = ('VDI', 'Ref:9', {'virtual_size': '1'})
        with self.assertRaisesRegex(exceptions.DamagedExport, 'Ref:9'):
            self.parse(disks(), others=[again])


@ddt.ddt
class Hostile(unittest.TestCase):

    def refuse(self, document, reason='', error=exceptions.DamagedExport):
        with self.assertRaisesRegex(error, reason):
            ova_xml.parse(document)

    def test_cut(self):
        document = xva.Export(disks()).ova_xml()
        for size in (0, 1, 100, len(document) // 2, len(document) - 1):
            self.refuse(document[:size], 'XML')

    def test_deeply_nested(self):
        for name in ('value', 'x', 'struct'):
            self.refuse(f'<{name}>'.encode() * 100_000, 'nested')

    def test_document_type_declarations(self):
        sound = xva.Export(disks()).ova_xml()
        for subset in ('', ' SYSTEM "file:///etc/passwd"',
                       ' [<!ENTITY a "b">]',
                       ' [<!ENTITY % a SYSTEM "http://x/">%a;]'):
            self.refuse(f'<?xml version="1.0"?><!DOCTYPE value{subset}>'
                        .encode() + sound, 'document type')

    def test_entities_without_a_declaration(self):
        self.refuse(b'<value>&lol;</value>', 'XML')

    def test_encodings_are_not_believed(self):
        sound = xva.Export(disks()).ova_xml()
        for encoding in (b'utf-7', b'utf-16', b'idna', b'zlib', b'x'):
            head = b'<?xml version="1.0" encoding="%s"?>' % encoding
            self.assertEqual(ova_xml.parse(sound), ova_xml.parse(head + sound))

    @ddt.data(b'<value/>', b'<value>1</value>', b'<html></html>',
              value([]), value({}), value({'objects': {}}),
              value({'objects': ['x', {}, {'class': 'VM'}]}))
    def test_other_documents(self, document):
        self.refuse(document)

    def test_no_virtual_machine(self):
        self.refuse(value({'objects': [
            {'class': 'VDI', 'id': 'Ref:1',
             'snapshot': {'virtual_size': '1'}}]}), 'machine')

    def test_the_format_before_2007(self):
        self.refuse(b'<?xml version="1.0"?><appliance version="0.1">'
                    b'<vm name="vm"></vm></appliance>', 'XenServer 3',
                    exceptions.OldExport)

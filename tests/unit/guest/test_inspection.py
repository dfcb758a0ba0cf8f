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
"""Reading what the tools say about a guest, and refusing what they do not."""

import unittest

from glance_xs_convert import exceptions
from glance_xs_convert.guest import inspection

# As virt-inspector 1.48.2 wrote it, without most of its packages.
DEBIAN = b"""<?xml version="1.0"?>
<operatingsystems>
  <operatingsystem>
    <root>/dev/sda1</root>
    <name>linux</name>
    <arch>x86_64</arch>
    <distro>debian</distro>
    <product_name>12.15</product_name>
    <major_version>12</major_version>
    <minor_version>15</minor_version>
    <package_format>deb</package_format>
    <package_management>apt</package_management>
    <hostname>vm</hostname>
    <osinfo>debian12</osinfo>
    <mountpoints>
      <mountpoint dev="/dev/sda1">/</mountpoint>
    </mountpoints>
    <applications>
      <application>
        <name>apt</name>
        <version>2.6.1</version>
        <description>commandline package manager</description>
      </application>
%s
    </applications>
  </operatingsystem>
</operatingsystems>
"""

# As virt-v2v-inspector(1) shows it.
V2V = b"""<?xml version='1.0' encoding='utf-8'?>
<v2v-inspection>
  <program>virt-v2v-inspector</program>
  <package>virt-v2v</package>
  <version>2.1.9</version>
  <disks><disk index='0'><virtual-size>6442450944</virtual-size></disk></disks>
  <firmware type='bios'/>
  <operatingsystem>
    <name>windows</name>
    <distro>windows</distro>
    <osinfo>win2k19</osinfo>
    <arch>x86_64</arch>
    <major_version>10</major_version>
    <minor_version>0</minor_version>
    <product_name>Windows Server 2019 Standard</product_name>
  </operatingsystem>
</v2v-inspection>
"""


class Parse(unittest.TestCase):
    """Documents of the tools, and others."""

    def refuse(self, document, reason):
        with self.assertRaisesRegex(exceptions.AdaptingFailed, reason):
            inspection.parse(document)

    def test_linux(self):
        system, = inspection.parse(DEBIAN % b'')
        self.assertEqual(
            inspection.System('linux', 'debian', '12.15', '12.15', 'x86_64',
                              False), system)
        self.assertEqual('debian 12.15', system.name)
        self.assertEqual(12, system.major)

    def test_guest_agent(self):
        for name in (b'qemu-guest-agent', b'QEMU guest agent 8.0'):
            system, = inspection.parse(
                DEBIAN % b'<application><name>%s</name></application>' % name)
            self.assertIs(True, system.has_agent)

    def test_nobody_looked_for_the_agent(self):
        system, = inspection.parse(V2V)
        self.assertIsNone(system.has_agent)

    def test_windows(self):
        system, = inspection.parse(V2V)
        self.assertEqual(
            ('windows', 'windows', '10.0', 'x86_64',
             'Windows Server 2019 Standard 10.0'),
            (system.family, system.distribution, system.version,
             system.architecture, system.name))

    def test_several(self):
        one = b'<operatingsystem><name>linux</name></operatingsystem>'
        self.assertEqual(
            [0, 1, 3],
            [len(inspection.parse(b'<operatingsystems>%s</operatingsystems>'
                                  % (one * count))) for count in (0, 1, 3)])

    def test_unknown_is_absent(self):
        system, = inspection.parse(
            b'<a><operatingsystem><name>linux</name><distro>unknown</distro>'
            b'<major_version>0</major_version><minor_version>0'
            b'</minor_version></operatingsystem></a>')
        self.assertEqual((None, None),
                         (system.distribution, system.version))

    def test_names_are_safe_to_show(self):
        system, = inspection.parse(
            '<a><operatingsystem><name>linux</name><product_name>a\u202eb\n'
            f'{"x" * 5000}</product_name></operatingsystem></a>'.encode())
        self.assertTrue(system.product.isprintable())
        self.assertLess(len(system.product), 300)

    def test_an_application_is_no_field_of_the_system(self):
        system, = inspection.parse(
            b'<a><operatingsystem><applications><application><arch>m68k'
            b'</arch><name>x</name></application></applications>'
            b'<name>linux</name></operatingsystem></a>')
        self.assertEqual(('linux', None),
                         (system.family, system.architecture))

    def test_no_xml(self):
        self.refuse(b'', 'is not well-formed')
        self.refuse(b'<a><b></a>', 'is not well-formed')
        self.refuse(b'\xff\xfe\x00', 'is not well-formed')

    def test_encoding_that_python_cannot_read(self):
        for name in (b'euc-jp', b'nonsense'):
            self.assertEqual([], inspection.parse(
                b'<?xml version="1.0" encoding="%s"?><a/>' % name))

    def test_entities(self):
        self.refuse(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
                    'declares a document type')

    def test_too_much(self):
        self.refuse(b' ' * (inspection.LONGEST + 1), 'is longer than')
        self.refuse(b'<a>' * 20, 'too many elements')
        self.refuse(b'<a>' + b'<b/>' * 1_000_001, 'too many elements')
        self.refuse(b'<a>' + b'<operatingsystem/>' * 65 + b'</a>',
                    'too many operating systems')

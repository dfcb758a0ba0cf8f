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

"""What results say of themselves."""

import unittest

from glance_xs_convert import results

from tests.unit import cases


class Results(unittest.TestCase):

    def test_layers(self):
        self.assertEqual(3, cases.converted().layer_count)
        self.assertEqual(1, cases.converted(layers=[]).layer_count)

    def test_vhd(self):
        self.assertFalse(cases.layer().is_differencing)
        self.assertTrue(
            cases.layer(disk_type='differencing').is_differencing)

    def test_guest(self):
        self.assertEqual('XenServer 8.2.1', cases.guest().exporter)
        self.assertEqual('', cases.guest(product='', version='').exporter)
        self.assertTrue(cases.guest(boot_mode='PV').is_paravirtualized)
        self.assertFalse(cases.guest().is_paravirtualized)

    def test_disk(self):
        disk = results.Disk('Ref:9', 'system', 512, 'xvda', '0', True)
        self.assertEqual(
            [True, True, False, False],
            [*map(disk.is_called, ('xvda', '0', '', 'Ref:9'))])
        self.assertEqual('xvda', disk.label)
        unknown = results.Disk('Ref:9', 'system', 512, '', '', True)
        self.assertEqual('Ref:9', unknown.label)
        self.assertFalse(unknown.is_called(''))

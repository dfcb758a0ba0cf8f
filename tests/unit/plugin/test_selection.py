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

"""Which images the plugin converts."""

import unittest

from oslo_config import cfg
from oslo_config import fixture

from glance_xs_convert.plugin import selection


class Selection(unittest.TestCase):

    def selected(self, **options):
        with fixture.Config(cfg.CONF) as conf:
            conf.config(group='xs_convert', **options)
            return [
                (disk, container)
                for disk in ('vhd', 'vhdx', 'raw', 'qcow2', None)
                for container in ('ovf', 'bare', 'ova', None)
                if selection.is_selected(disk, container)]

    def test_default(self):
        self.assertEqual([('vhd', 'ovf')], self.selected())

    def test_bare(self):
        self.assertEqual([('vhd', 'ovf'), ('vhd', 'bare')],
                         self.selected(convert_bare_vhd=True))

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

"""What is found out beforehand."""

import types
import unittest

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import preflight


def cloud(**imports):
    return types.SimpleNamespace(
        region=lambda: None, interface='public',
        imports=types.SimpleNamespace(**{
            'methods': lambda: ['glance-direct'], 'usage': dict,
            'stores': lambda: ['fast', 'slow']} | imports))


class TestPreflight(unittest.TestCase):
    """Obstacles are found, and facts told."""

    def test_quotas(self):
        rows = [inventory.Row('a', 'a', 'p', 700 * 1024 ** 2, 'waiting'),
                inventory.Row('b', 'b', 'p', 1, 'done')]
        findings = preflight.check(cloud(usage=lambda: {
            'image_count_total': {'limit': 10, 'usage': 9},
            'image_size_total': {'limit': 1000, 'usage': 400},
            'image_stage_total': {'limit': -1, 'usage': 0}}), rows, 'auto')
        self.assertEqual(
            {'quota image_size_total: 600 of 1000 are left, and at least 700 '
             'are needed'},
            {finding.sentence for finding in findings if not finding.ok})
        self.assertTrue(any('700 MiB' in finding.sentence
                            for finding in findings))

    def test_methods(self):
        for wanted, ok in (('auto', True), ('glance-download', False)):
            findings = preflight.check(cloud(), [], wanted)
            self.assertEqual(ok, findings[0].ok)

    def test_stores(self):
        preflight.check_stores(cloud(), ('slow',))
        with self.assertRaisesRegex(errors.WrongArguments, 'fast, slow'):
            preflight.check_stores(cloud(), ('slow', 'other'))

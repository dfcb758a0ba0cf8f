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

"""Images are selected by what they are."""

import unittest

from glance_xs_convert.migrate import selection
from tests.unit.migrate import glance


class TestSelection(unittest.TestCase):
    """All conditions have to hold."""

    def test_conditions(self):
        image = {'id': 'i', 'name': 'web-1', 'owner': 'p', 'os_distro': 'x'}
        for holds, options in (
                (True, {}), (True, {'name': 'web-*'}),
                (True, {'name': 'web-[1]'}), (False, {'name': 'WEB-1'}),
                (True, {'project': 'p'}), (False, {'project': 'q'}),
                (True, {'properties': {'os_distro': 'x'}}),
                (False, {'properties': {'os_distro': 'X'}}),
                (False, {'properties': {'none': 'x'}}),
                (False, {'name': 'web-*', 'project': 'q'})):
            found = selection.Selection(**options)
            self.assertEqual(holds, found.holds(image), options)
        self.assertFalse(selection.Selection(name='*').holds(
            image | {'name': None}) and selection.Selection(
                name='?*').holds(image | {'name': None}))

    def test_candidates(self):
        for disk, container, usual, with_bare in (
                ('vhd', 'ovf', True, True), ('vhd', 'bare', False, True),
                ('raw', 'bare', False, False), (None, None, False, False)):
            image = {'disk_format': disk, 'container_format': container}
            self.assertEqual(
                (usual, with_bare),
                (selection.Selection().is_candidate(image),
                 selection.Selection(bare=True).is_candidate(image)))

    def test_obstacles(self):
        old = {'id': glance.uid('old'), 'status': 'active'}
        self.assertEqual('', selection.obstacle(old, False))
        for change, drop, reason in (
                ({'status': 'deactivated'}, False, 'deactivated'),
                ({'img_signature': 'x'}, False, 'drop-signature'),
                ({'img_signature': 'x'}, True, '^$'),
                ({'id': '../tasks?x'}, False, 'not a UUID')):
            self.assertRegex(selection.obstacle(old | change, drop), reason)

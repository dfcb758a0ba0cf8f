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

"""Properties are copied, unless they are Glance's own."""

import unittest

from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import record


class TestRecord(unittest.TestCase):
    """A new image gets what users see of the old one."""

    def test_what_is_not_copied(self):
        image = dict.fromkeys((
            'id', 'status', 'checksum', 'os_hash_value', 'direct_url',
            'locations', 'stores', 'os_glance_import_task', 'img_signature',
            'img_signature_key_type', 'self', *names.OWN), 'x')
        self.assertEqual({'hw_disk_bus': 'scsi', 'os_hashed': 'y'},
                         record.properties(image | {
                             'hw_disk_bus': 'scsi', 'os_hashed': 'y'}))

    def test_names_are_escaped(self):
        changes = record.changes({'a/b': '1'}, {'a/b': '2', 'c~d': '3'})
        self.assertEqual([('replace', '/a~1b'), ('add', '/c~0d')],
                         [(change['op'], change['path'])
                          for change in changes])

    def test_nothing_is_changed_needlessly(self):
        self.assertEqual([], record.changes(
            {'a': '1', 'tags': ['x', 'y']}, {'a': '1', 'tags': ['y', 'x']}))

    def test_made_up_list_of_copies_removes_nothing_of_glance(self):
        old = {'id': 'o', 'name': 'n', 'min_ram': 0, 'min_disk': 0,
               'os_hidden': False, 'protected': False, 'tags': [],
               'visibility': 'private'}
        new = old | {'id': 'n', 'size': 1, 'status': 'active', 'gone': 'x',
                     names.COPIED: '["status", "size", "id", "gone"]'}
        self.assertEqual({'/gone', '/' + names.COPIED}, {
            change['path'] for change in record.final_changes(old, new, {})
            if change['op'] == 'remove'})

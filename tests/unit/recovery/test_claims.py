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

"""What is written on the tickets of imports."""

import json
import unittest

from glance_xs_convert.recovery import claims
from glance_xs_convert.recovery import records

UNDO_FIELDS = ({'disk_format': 'vhd', 'size': None}, {'os_type': None})


class Claims(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.claim = claims.Claim(
            image_id='image', request_id='req-1', staged='/staging/image')
        self.undo = records.RecordChange(*UNDO_FIELDS)

    def test_text(self):
        self.assertEqual(self.claim, claims.parsed(self.claim.text()))
        full = claims.Claim(image_id='image', staged='/staging/image',
                            task_id='task', stores=['fast', None])
        self.assertEqual(full, claims.parsed(full.text()))

    def test_each_is_another(self):
        other = claims.Claim(image_id='image', request_id='req-1',
                             staged='/staging/image')
        self.assertNotEqual(self.claim.token, other.token)

    def test_additions(self):
        found = claims.parsed(
            self.claim.text() + claims.task_addition('task', ['fast'])
            + claims.undo_addition(self.undo))
        self.assertEqual(
            (self.claim.token, 'image', 'task', ['fast'], self.undo),
            (found.token, found.image_id, found.task_id, found.stores,
             found.undo))

    def test_cut_off(self):
        """What was not written to its end does not count."""
        first = self.claim.text()
        text = first + claims.undo_addition(self.undo)
        for length in range(len(first), len(text)):
            self.assertEqual(self.claim, claims.parsed(text[:length]))
        for length in range(len(first)):
            self.assertRaises(claims.NothingWritten, claims.parsed,
                              text[:length])

    def test_nothing_written(self):
        """What a file system makes of a file when its host breaks down."""
        for text in ('', '\n', '\0' * 300, '\0' * 300 + '\n'):
            self.assertRaises(claims.NothingWritten, claims.parsed, text)

    def test_other_versions(self):
        fields = json.loads(self.claim.text())
        for change in ({'version': 2}, {'version': None}, {'version': '1'},
                       {'region': 'x'}, {'token': 5}, {'stores': 'fast'},
                       {'begun': None}, {'begun': 'now'}, {'begun': True},
                       {'begun': float('nan')}, {'begun': float('inf')},
                       {'stores': [5]}, {'task_id': []}, {'image_id': None},
                       {'staged': '/staging/../other'}, {'undo': {}},
                       {'undo': {'attributes': 1, 'properties': {}}},
                       {'undo': {'attributes': {}, 'properties': {},
                                 'tags': []}}):
            self.assertRaises(claims.NotUnderstood, claims.parsed,
                              json.dumps(fields | change) + '\n')
        del fields['begun']
        for text in (json.dumps(fields) + '\n', '{}\n', '[]\n', '[1]\n',
                     '{"x": 1}\n', 'x\n',
                     self.claim.text() + '{"priority": 1}\n',
                     self.claim.text() + 'x\n'):
            self.assertRaises(claims.NotUnderstood, claims.parsed, text)

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

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import claims
    from glance_xs_convert.plugin import image_record

UNDO_FIELDS = ({'disk_format': 'vhd', 'size': None}, {'os_type': None})


class Claims(base.GlanceCase):

    def setUp(self):
        super().setUp()
        self.claim = claims.Claim(
            image_id='image', request_id='req-1', staged='/staging/image',
            task_id='task', stores=['fast', None])
        self.undo = image_record.Change(*UNDO_FIELDS)

    def test_text(self):
        self.assertEqual(self.claim, claims.parsed(self.claim.text()))

    def test_addition(self):
        found = claims.parsed(self.claim.text() + claims.addition(self.undo))
        self.assertEqual(self.undo, found.undo)
        self.assertEqual('image', found.image_id)

    def test_cut_off(self):
        """What was not written to its end does not count."""
        first = self.claim.text()
        text = first + claims.addition(self.undo)
        for length in range(len(first), len(text)):
            self.assertEqual(self.claim, claims.parsed(text[:length]))
        for length in range(len(first)):
            self.assertRaises(ValueError, claims.parsed, text[:length])

    def test_not_a_claim(self):
        for text in ('', '\n', '{}\n', '[]\n', '[1]\n', '{"x": 1}\n',
                     self.claim.text().replace('/image', '/../other'),
                     self.claim.text() + '{"undo": {}}\n'):
            self.assertRaises(ValueError, claims.parsed, text)

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

"""What does not have the right form is not there."""

import json
import unittest

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import names
from tests.unit.migrate import glance

OLD = glance.uid('old')
NONE = annotations.Annotations()


class TestAnnotations(unittest.TestCase):
    """Properties are read into a typed record."""

    def test_right_ones(self):
        found = annotations.of({
            names.SOURCE: OLD, names.REPLACED_BY: OLD,
            names.RETIRED: 'deactivated hidden', names.KEPT: 'True',
            names.COPIED: '["a", "b"]', names.UPLOADING: 'a' * 32 + ' 7',
            names.REFUSED: 'broken', names.SECONDS: '75',
            names.VERIFIED: 'sha512:' + '0f' * 64,
            names.MIGRATED_AT: '2026-01-31T23:59:59Z',
            'xs_convert_archive_size': '1000'})
        self.assertEqual(annotations.Annotations(
            source=OLD, replaced_by=OLD, kept=True, copied=('a', 'b'),
            retired=frozenset((names.HIDDEN, names.DEACTIVATED)),
            upload=annotations.Upload('a' * 32, 7), refused='broken',
            seconds=75, verified='sha512:' + '0f' * 64,
            migrated_at='2026-01-31T23:59:59Z', archive_size=1000), found)
        self.assertEqual(OLD, found.old_id)

    def test_wrong_ones(self):
        wrong = {
            names.SOURCE: ('../tasks?x', OLD + '/file', ' ' + OLD, OLD + '\n',
                           OLD[:-1] + '²', '', None, 7, [OLD], 'x' * 65535),
            names.REPLACED_BY: (OLD + '?', '..'),
            names.RETIRED: ('hidden deleted', 'HIDDEN', 'hidden  x'),
            names.KEPT: ('true', 'False', True),
            names.COPIED: ('{}', '[1]', '[', '[' * 60000, '["' + 'x' * 256
                           + '"]', json.dumps(['x'] * 1001)),
            names.UPLOADING: ('a' * 32, 'a' * 32 + ' ²', 'a' * 32 + ' -1',
                              'A' * 32 + ' 1', 'a' * 32 + ' ' + '1' * 10),
            names.SECONDS: ('²', '٧', '-1', '1.5', '1e9', '9' * 19, '7\n'),
            names.VERIFIED: ('sha512:', '=1+1', 'sha512:' + 'g' * 64),
            names.MIGRATED_AT: ('2026-02-30T00:00:00Z', 'now',
                                '2026-01-01T00:00:00', '=2026'),
            'xs_convert_archive_size': ('²', '0x7'),
        }
        for name, values in wrong.items():
            for value in values:
                with self.subTest(name, value=str(value)[:80]):
                    self.assertEqual(NONE, annotations.of({name: value}))

    def test_reasons_are_short_and_safe_to_show(self):
        found = annotations.of({names.FAILED: '\x1b[2J\u202e' + 'x' * 9999})
        self.assertTrue(found.failed.startswith('\\x1b[2J\\x202ex'))
        self.assertLess(len(found.failed), 1100)

    def test_what_is_written_is_read_again(self):
        upload = annotations.Upload('b' * 32).next()
        self.assertEqual(upload, annotations.of(
            {names.UPLOADING: str(upload)}).upload)
        words = frozenset((names.HIDDEN, names.AWAITING))
        self.assertEqual(words, annotations.of(
            {names.RETIRED: annotations.retired_text(words)}).retired)
        now = annotations.now_text()
        self.assertEqual(now, annotations.of(
            {names.MIGRATED_AT: now}).migrated_at)

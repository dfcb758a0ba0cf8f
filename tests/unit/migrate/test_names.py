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

"""Ids are derived."""

import unittest
import uuid

from glance_xs_convert.migrate import names

OLD = '41ac97bf-01d1-45ee-811e-fe51c85d5cb7'
#: Images of earlier releases are found only by the same ids.
STABLE_ID = 'be8dd386-c0d6-50f7-941c-cce00db7057d'


class TestIds(unittest.TestCase):
    """The id of a new image follows from that of the old one."""

    def test_ids_differ_and_stay_the_same(self):
        ids = {names.new_id(old, attempt)
               for old in (OLD, STABLE_ID) for attempt in range(3)}
        self.assertEqual(6, len(ids))
        self.assertEqual(STABLE_ID, names.new_id(OLD, 0))

    def test_attempts_are_known_by_their_ids(self):
        for attempt in (0, 1, 999):
            self.assertEqual(attempt, names.attempt_of(
                OLD, names.new_id(OLD, attempt)))
        for other in (names.new_id(STABLE_ID, 0), names.new_id(OLD, 1000),
                      str(uuid.uuid4()), STABLE_ID.upper(), OLD, ''):
            self.assertIsNone(names.attempt_of(OLD, other))

    def test_uuids(self):
        for good in (OLD, OLD.upper()):
            self.assertTrue(names.is_id(good))
        for bad in (OLD[:-1], OLD + '/file', OLD + '\n', '../tasks?x', '',
                    OLD.replace('-', ''), '{' + OLD[1:], None, 7,
                    OLD.replace('4', '٤')):
            self.assertFalse(names.is_id(bad), bad)

    def test_nothing_of_ours_is_copied(self):
        self.assertLessEqual({*names.PROVISIONAL, names.SOURCE,
                              names.REPLACED_BY, names.RETIRED}, names.OWN)

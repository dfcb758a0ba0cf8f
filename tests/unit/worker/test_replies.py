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

"""What a converter says is checked; the fuzzer plays converters."""

import logging
import random
import unittest
from unittest import mock

import ddt

from glance_xs_convert import limits
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import replies

from tests.fuzz import messages

GUEST = {'name': 'web-1', 'product': 'XenServer 8.2.1', 'firmware': 'uefi',
         'is_paravirtualized': False}
SIZE = 1000
LIMITS = limits.Limits(max_virtual_size=4096, max_chain_length=8)


class Replies(unittest.TestCase):

    def outcome(self, **changes):
        fields = {'virtual_size': 4096, 'layers': 8, 'bytes_written': 0,
                  'source_size': SIZE, 'source_sha256': '0' * 64,
                  'guest': None, 'disk': None}
        return replies.outcome({**fields, **changes}, LIMITS, True, SIZE)

    def assert_invalid(self, line):
        with self.assertRaises(replies.Invalid):
            replies.parse(line)

    def test_lines(self):
        self.assertEqual(('progress', {}), replies.parse(b'{"progress": {}}'))
        for line in (b'', b'{}', b'[]', b'1', b'{"a": 1}', b'{"a": []}',
                     b'{"a": {}, "b": {}}', b'{"a": {}, "a": {}}',
                     b'{"a": {"b": NaN}}', b'{"a": {"b": 1.0}}', b'\xc3\xa4',
                     b'{"a": {"b": Infinity}}', b'[' * 16_000,
                     b'{"a":' * 3000, b'9' * 10_000):
            self.assert_invalid(line)

    def test_length(self):
        line = b'{"a": {"b": "%s"}}'
        room = protocol.MAX_LINE - len(line) + 2
        replies.parse(line % (room * b'x'))
        self.assert_invalid(line % ((room + 1) * b'x'))

    def test_outcome(self):
        self.assertEqual(4096, self.outcome().virtual_size)
        for changes in (
                {'virtual_size': 4097}, {'virtual_size': -1},
                {'virtual_size': True}, {'virtual_size': '1'},
                {'virtual_size': None}, {'layers': 0}, {'layers': 9},
                {'source_size': SIZE + 1}, {'bytes_written': 2 ** 63},
                {'source_sha256': ''}, {'source_sha256': 'G' * 64},
                {'source_sha256': '0' * 64 + '\n'}, {'guest': []},
                {'guest': {}}, {'disk': 1}, {'disk': '\n'}, {'more': 1}):
            with (self.subTest(changes),
                  self.assertRaises(replies.Invalid)):
                self.outcome(**changes)

    def test_unwanted_digest(self):
        fields = {**vars(self.outcome()), 'source_sha256': ''}
        replies.outcome(fields, LIMITS, False, SIZE)
        fields['source_sha256'] = '0' * 64
        with self.assertRaises(replies.Invalid):
            replies.outcome(fields, LIMITS, False, SIZE)

    def test_texts_are_fit_to_be_shown(self):
        fields = {'name': 'NoVhd', 'member': None, 'offset': None}
        for reason in ('\x1b[2J', 'two\nlines', '\u202e', '\U0001f600',
                       '\ud800', 20_000 * 'x', None, 1):
            with self.assertRaises(replies.Invalid):
                replies.error({**fields, 'reason': reason})

    def test_whatever_a_sound_child_says_is_valid(self):
        name = 'schl\u00fcssel\n\ud800\U0001f600' * 100
        line = protocol.encode_error(replies.exceptions.DamagedVhd(
            name * 100, member=name, offset=7))
        self.assertLessEqual(len(line), protocol.MAX_LINE)
        _, fields = replies.parse(line)
        self.assertEqual(7, replies.error(fields).offset)

    def test_fuzzed(self):
        """Neither result nor error breaks a rule of the fuzzer."""
        rng = random.Random(1)
        pool = list(messages.sown())
        self.addCleanup(logging.disable, logging.NOTSET)
        with mock.patch.object(messages, '_check', autospec=True,
                               side_effect=messages._check) as accepted:
            for seed in range(3000):
                data = messages.mutate(rng.choice(pool), 40_000, seed)
                messages.test_one_input(data)
        self.assertLess(100, accepted.call_count)


@ddt.ddt
class Guests(unittest.TestCase):
    """What a converter says of a guest is not believed without a look."""

    def outcome(self, guest):
        return replies.outcome(
            {'virtual_size': 1024, 'layers': 1, 'bytes_written': 0,
             'source_size': 7, 'source_sha256': '', 'guest': guest,
             'disk': 'xvda'},
            limits.DEFAULT, digest=False, source=7)

    def test_sound(self):
        self.assertEqual(protocol.Guest(**GUEST), self.outcome(GUEST).guest)
        self.assertIsNone(self.outcome(None).guest)

    @ddt.data(
        [], 'guest', 1, {}, {'name': 'web-1'}, {**GUEST, 'more': 1},
        {**GUEST, 'name': None}, {**GUEST, 'name': 'x' * 3000},
        {**GUEST, 'name': 'web\n1'}, {**GUEST, 'product': ['x']},
        {**GUEST, 'product': '\U0001f600'}, {**GUEST, 'firmware': 'xen'},
        {**GUEST, 'firmware': ['uefi']}, {**GUEST, 'is_paravirtualized': 1})
    def test_unsound(self, guest):
        with self.assertRaises(replies.Invalid):
            self.outcome(guest)

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

"""What a converter says of a guest is not believed without a look."""

import unittest

import ddt

from glance_xs_convert import limits
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import replies

GUEST = {'name': 'web-1', 'product': 'XenServer 8.2.1', 'firmware': 'uefi',
         'is_paravirtualized': False}


@ddt.ddt
class Guests(unittest.TestCase):

    def outcome(self, guest):
        return replies.outcome(
            {'virtual_size': 1024, 'layers': 1, 'bytes_written': 0,
             'source_size': 7, 'source_sha256': '', 'guest': guest,
             'disk': None},
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

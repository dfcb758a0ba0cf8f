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

"""Counting the imports of a host by their tickets."""

import os
import unittest

from glance_xs_convert.deployment import tickets

from tests.unit import cases
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.recovery import tickets as real_tickets


@unittest.skipUnless(base.HAS_GLANCE, 'Glance is not installed')
class Count(cases.ScratchCase):
    """The tickets are those of the plugin."""

    def draw(self, directory, suffix='.import'):
        box = real_tickets.Box(str(self.scratch / directory), suffix)
        ticket = box.draw()
        self.addCleanup(ticket.drop)
        return ticket

    def count(self):
        return tickets.count(str(self.scratch))

    def test_running_and_interrupted(self):
        self.draw('one')
        self.draw('one')
        self.draw('other').drop()
        self.draw('one').release()
        self.assertEqual((2, 1), self.count())

    def test_other_files(self):
        self.draw('one', '.turn')
        self.scratch.joinpath('note.import').write_text('')
        self.assertEqual((0, 0), self.count())

    def test_no_directory(self):
        self.assertEqual((0, 0),
                         tickets.count(str(self.scratch / 'missing')))

    def test_counting_takes_nothing(self):
        self.draw('one').drop()
        for _ in range(2):
            self.assertEqual((0, 1), self.count())
        self.assertEqual(1, len(os.listdir(self.scratch / 'one')))

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

"""What the commands say on the members of an archive."""

import json

from glance_xs_convert.cli import findings
from glance_xs_convert import results

from testbed.images import archive
from testbed.images import shapes
from tests.unit.cli import base

IGNORED = [results.Ignored('notes.txt', 23), results.Ignored('vmlinuz', 2048)]


class Members(base.CommandCase):

    def test_fields(self):
        self.assertEqual({}, findings.members([], [], True))
        self.assertEqual({
            'notes': 'one; two', 'ignored': [
                {'name': 'notes.txt', 'size': 23},
                {'name': 'vmlinuz', 'size': 2048}]},
            findings.members(['one', 'two'], IGNORED, True))
        self.assertEqual(
            {'ignored': 'notes.txt (23 B), vmlinuz (2 KiB)'},
            findings.members([], IGNORED, False))

    def test_sentences(self):
        self.assertEqual([], findings.describe_members([], []))
        self.assertEqual(
            ['Note: one.', 'Not part of a disk: notes.txt (23 B), vmlinuz '
             '(2 KiB).'], findings.describe_members(['one'], IGNORED))

    def test_commands(self):
        shape = shapes.accepted()['full and delta, not linked']
        path = self.source(archive.tgz([*shape.members, shapes.TEXT]))
        ignored = [{'name': 'notes.txt', 'size': 23}]
        [first, _] = self.run_here('inspect', '-f', 'json', path).json()
        checked = self.run_here('check', '-f', 'json', path).json()
        self.assertEqual(ignored, first['Ignored'])
        self.assertEqual(ignored, checked['ignored'])
        self.assertEqual(first['Notes'], checked['notes'])
        for words in ('delta.vhd', 'full.vhd', 'only this order'):
            self.assertIn(words, checked['notes'])
        for command in ('inspect', 'check'):
            shown = self.run_here(command, path).stdout
            self.assertIn('notes.txt (23 B)', shown)
            self.assertIn('only this order', ' '.join(shown.split()))

    def test_nothing_is_said_where_there_is_nothing(self):
        path = self.source(archive.tgz(shapes.accepted()['dates'].members))
        [first, *_] = json.loads(
            self.run_here('inspect', '-f', 'json', path).stdout)
        self.assertNotIn('Ignored', first)
        self.assertNotIn('Notes', first)

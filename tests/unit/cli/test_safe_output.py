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

"""Output is safe for a terminal and for a spreadsheet."""

import unittest

from cliff import columns

from glance_xs_convert.cli import common
from glance_xs_convert.cli import safe_output


class _Text(columns.FormattableColumn):
    def human_readable(self):
        return 'x'


class TestCells(unittest.TestCase):
    """Texts are made safe, and everything else stays."""

    def test_texts(self):
        for form, cell, shown in (
                ('table', 'a\x1b[2J\n', 'a\\x1b[2J\\x0a'),
                ('json', '=1', '=1'), ('csv', '=1', "'=1"),
                ('csv', ' -1', "' -1"), ('csv', '\t=1', '\\x09=1'),
                ('csv', '＝1', "'＝1"), ('csv', 'a=1', 'a=1'),
                ('csv', '\u202e=', '\\x202e='), ('csv', -1, -1),
                ('csv', None, None), ('json', None, None),
                ('table', None, ''), ('value', None, ''),
                ('value', True, True)):
            self.assertEqual([shown], safe_output.cells([cell], form))
            self.assertEqual([(shown, 7)],
                             safe_output.cells([(cell, 7)], form))

    def test_columns(self):
        size = common.Size(7)
        self.assertEqual([size], safe_output.cells([size], 'csv'))
        self.assertEqual(["'=1"], safe_output.cells([_Text('=1')], 'csv'))
        text = _Text('=1')
        self.assertEqual([text], safe_output.cells([text], 'json'))

    def test_lines(self):
        self.assertEqual('a\\x0ab', safe_output.line('a\nb'))

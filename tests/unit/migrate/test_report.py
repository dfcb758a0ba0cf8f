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

"""Programs can read it."""

import csv
import io
import types
import unittest

from glance_xs_convert.migrate import report

from tests.unit.migrate import rows


class TestReport(unittest.TestCase):
    """There is a line for each image that is done."""

    def test_lines(self):
        one, other, third = report.lines(rows.rows())
        self.assertEqual(('a', 'n', 1024, 4096, 75, 'hidden'),
                         (one.old_id, one.new_id, one.archive, one.disk,
                          one.seconds, one.old_image))
        self.assertEqual('deleted', other.old_image)
        self.assertEqual('kept', third.old_image)

    def test_mapping(self):
        self.assertEqual([('a', 'n'), ('d', 'o')], report.pairs(rows.rows()))
        target = io.StringIO()
        users = types.SimpleNamespace(
            of=lambda image_id: ['server 1', 'volume 2'])
        report.write_mapping(target, [('a', 'n')], users)
        self.assertEqual('old_id,new_id,used_by\r\na,n,server:1 volume:2\r\n',
                         target.getvalue())

    def test_mapping_in_a_spreadsheet(self):
        target = io.StringIO()
        report.write_mapping(target, [('a', 'n')], types.SimpleNamespace(
            of=lambda image_id: ['=HYPERLINK("http://evil")']))
        row = list(csv.reader(io.StringIO(target.getvalue())))[1]
        self.assertTrue(row[2].startswith("'="))

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

"""Managers can read it."""

import html.parser
import io
import unittest

from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import page
from tests.unit.migrate import rows


class _Page(html.parser.HTMLParser):
    """Collects the texts and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.links, self.widths = [], [], []
        self.feed(text)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ('src', 'href'):
                self.links.append(value)
            if name == 'style':
                self.widths.append(value)


def written(rows, cloud='cloud'):
    target = io.StringIO()
    page.write(target, rows, cloud, 'today')
    return _Page(target.getvalue())


class TestPage(unittest.TestCase):
    """It shows all images, and loads nothing."""

    def test_converted(self):
        found = written(rows.rows(), 'my <cloud>')
        for text in ('<b>&', 'a', 'n', '1 min 15 s', 'my <cloud>, today',
                     'sha512:' + 'ab' * 64, 'p'):
            self.assertIn(text, found.texts)
        self.assertEqual([], found.links)
        self.assertIn('width:25.0%', found.widths)

    def test_not_converted(self):
        reason = 'it is signed'
        found = written([inventory.Row(
            'whole-id', 'web', 'project', 1024, 'skipped', reason=reason)])
        for text in ('whole-id', 'web', 'project', '1 KiB', 'skipped',
                     reason, 'Not converted'):
            self.assertIn(text, found.texts)

    def test_what_users_write_is_safe_to_show(self):
        evil = '<script>\x1b[2J\u202e'
        found = written([inventory.Row(
            'a', evil, 'p', None, 'failed', reason=evil)])
        self.assertIn('<script>\\x1b[2J\\x202e', found.texts)
        self.assertFalse(any('\u202e' in text for text in found.texts))

    def test_empty_page(self):
        self.assertIn('Not yet converted', written([]).texts)

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

"""How far it is, in lines or on a terminal."""

import io
import unittest
from unittest import mock

from glance_xs_convert.cli.migrate import progress
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import runner


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgress(unittest.TestCase):
    """The progress is shown."""

    ROW = inventory.Row('a', 'web\x1b[2J', 'p', 1000, 'waiting')

    def show(self, stream, quiet=False):
        with progress.shown(stream, quiet, 2, 2000) as watch:
            watch.started(self.ROW)
            watch.advanced(self.ROW, 'Converting\u202e', 0.5)
            watch.refresh()
            watch.said('another\x07 method')
            watch.ended(runner.Outcome(
                inventory.Row('a', 'web', 'p', 1000, 'failed',
                              reason='broken\x1b'), 3.0))
            watch.refresh()
        return stream.getvalue()

    def test_lines(self):
        self.assertEqual(
            ['web\\x1b[2J: begun (a)', 'another\\x07 method',
             'web: failed after 3 s: broken\\x1b'],
            self.show(io.StringIO()).splitlines())

    def test_terminal(self):
        said = self.show(_Terminal())
        self.assertIn('Converting\\x202e: 50%', said)
        self.assertIn('another\\x07 method', said)
        self.assertIn('1 of 2 images', said)
        self.assertNotIn('\x1b[2J', said)
        self.assertNotIn('\u202e', said)
        self.assertTrue(said.endswith('\x1b[J'))

    def test_one_image(self):
        stream = _Terminal()
        with progress.shown(stream, False, 1, 1000) as watch:
            watch.refresh()
        self.assertIn('0 of 1 image\n', stream.getvalue())

    def test_time_left_after_an_interruption(self):
        """It counts only the images that have begun, and never grows."""
        stream = io.StringIO()
        with mock.patch.object(progress.time, 'monotonic',
                               autospec=True) as now:
            now.return_value = 0.0
            watch = progress.Lines(stream, 100, 100000)
            for image_id in 'ab':
                watch.started(inventory.Row(image_id, image_id, 'p', 1000,
                                            'waiting'))
            now.return_value = 50.0
            watch.ended(runner.Outcome(
                inventory.Row('a', 'a', 'p', 1000, 'done'), 3.0))
            watch.refresh()
            watch.interrupted()
            for moment in (100.0, 150.0, 200.0):
                now.return_value = moment
                watch.refresh()
        left = [line for line in stream.getvalue().splitlines()
                if line.endswith('left')]
        self.assertEqual(
            ['1 of 100 images, 1 h 22 min left',
             *['1 of 2 images, 1 min 40 s left'] * 3], left)

    def test_quiet(self):
        self.assertEqual('', self.show(_Terminal(), quiet=True))

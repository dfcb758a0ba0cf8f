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

"""What is shown of a conversion while it runs."""

import io
import threading
import time
import unittest
from unittest import mock

from glance_xs_convert.cli import progress_display
from glance_xs_convert import conversion_progress

from tests.unit import cases


class Stream(io.StringIO):
    """Standard error, on a terminal or not."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


def seen(text, terminal=False, wanted=None):
    """Show a progress until a text has appeared; return all that has."""
    stream = Stream(terminal)
    state = conversion_progress.Progress(source_size=2048)
    with (mock.patch.object(progress_display, '_LINE_INTERVAL', 0.01),
          mock.patch.object(progress_display, '_PATIENCE', 0.01),
          mock.patch.object(progress_display, '_BAR_INTERVAL', 0.01),
          progress_display.shown(state, stream, wanted)):
        state.source_read = 1024
        state.layer, state.layers = './1.vhd', 2
        deadline = time.monotonic() + cases.PATIENCE
        while text not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    return stream.getvalue()


class Shown(unittest.TestCase):

    def setUp(self):
        super().setUp()
        # Those of other tests may end meanwhile.
        self.threads = {*threading.enumerate()}
        self.addCleanup(lambda: self.assertEqual(set(), self.new_threads()))

    def new_threads(self):
        """The threads that have begun in this test."""
        return {*threading.enumerate()} - self.threads

    def test_lines(self):
        lines = seen('layer', wanted=True).splitlines()
        self.assertRegex(
            lines[-1],
            r'\A50%, \d+ s left, 1 KiB read, layer 2 \(\./1\.vhd\)\Z')

    def test_time_left(self):
        for read, size, shown in (
                (512, 2048, '25%, 1 min 30 s left, 512 B read'),
                (2048, 2048, '100%, 0 s left, 2 KiB read'),
                (0, 2048, '0%, 0 B read'), (512, None, '512 B read')):
            state = conversion_progress.Progress(
                source_size=size, source_read=read)
            self.assertEqual(shown, progress_display._line(state, 30.0))

    def test_bar(self):
        shown = seen('./1.vhd', terminal=True)
        self.assertIn('1.00k/2.00k', shown)
        self.assertRegex(shown, r'50%.*\[\d\d:\d\d<')
        self.assertTrue(shown.endswith('\r'), shown)

    def test_nothing(self):
        for terminal, wanted in ((False, None), (False, False),
                                 (True, False)):
            stream = Stream(terminal)
            with progress_display.shown(
                    conversion_progress.Progress(), stream, wanted):
                self.assertEqual(set(), self.new_threads())
            self.assertEqual('', stream.getvalue())

    def test_error_ends_it(self):
        with (self.assertRaises(KeyError),
              progress_display.shown(
                  conversion_progress.Progress(), Stream(True), None)):
            raise KeyError

    def test_nothing_for_what_is_soon_over(self):
        stream = Stream(True)
        with progress_display.shown(
                conversion_progress.Progress(), stream, None):
            pass
        self.assertEqual('', stream.getvalue())

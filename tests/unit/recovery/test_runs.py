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

"""Whether Glance still runs an import."""

import threading
import unittest

from glance_xs_convert.recovery import runs

from tests.unit import cases
from tests.unit.recovery import calls


class Runs(unittest.TestCase):

    def test_call_that_goes_on(self):
        def call():
            run = runs.current()
            self.assertFalse(run.is_over())
            return run
        run = calls.in_glance(call)
        for _ in range(2):
            self.assertTrue(run.is_over())

    def test_call_in_another_thread(self):
        found = []
        begun, go_on = threading.Event(), threading.Event()

        def call():
            found.append(runs.current())
            begun.set()
            go_on.wait(cases.PATIENCE)

        thread = threading.Thread(target=calls.in_glance, args=[call])
        thread.start()
        begun.wait(cases.PATIENCE)
        self.assertFalse(found[0].is_over())
        go_on.set()
        thread.join(cases.PATIENCE)
        self.assertTrue(found[0].is_over())

    def test_call_that_ends_with_an_error(self):
        found = []

        def call():
            found.append(runs.current())
            raise ValueError

        try:
            calls.in_glance(call)
        except ValueError as error:
            # The error keeps the frame alive, as it does in a future.
            self.assertIsNotNone(error.__traceback__)
            self.assertTrue(found[0].is_over())

    def test_outermost_call_counts(self):
        """Glance asks for the flow in an inner call, which returns soon."""
        def call():
            run = calls.in_glance(runs.current)
            self.assertFalse(run.is_over())
            return run
        self.assertTrue(calls.in_glance(call).is_over())

    def test_another_caller(self):
        self.assertFalse(runs.current().is_over())

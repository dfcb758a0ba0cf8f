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

"""Entering the sandbox where some of its means are missing.

The means themselves are stood in for: no test can have all kernels, and none
could leave the sandbox again.
"""

import contextlib
import errno
import unittest
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import sandbox


class Enter(unittest.TestCase):

    def enter(self, wanted=protocol.BEST_EFFORT, lacks=(), **failures):
        """Enter a sandbox some of whose steps fail.

        :param lacks: what the kernel's Landlock cannot deny
        """
        self.steps = []

        def step(name, returned=None):
            def taken(*arguments):
                self.steps.append(name)
                if name in failures:
                    raise failures[name]
                return returned
            return taken

        calls = mock.Mock(load=step('load'))
        with contextlib.ExitStack() as stack:
            for module, name, taken in (
                    (sandbox.seccomp, 'Filter', step('filter', calls)),
                    (sandbox.privileges, 'drop', step('drop')),
                    (sandbox.landlock, 'restrict', step('restrict', lacks)),
                    (sandbox.resource, 'setrlimit', step('limit'))):
                stack.enter_context(mock.patch.object(module, name, taken))
            return sandbox.enter(wanted)

    def test_all(self):
        """The filter comes last: it would forbid the others."""
        found = self.enter(protocol.REQUIRED)
        self.assertEqual((4, []), (len(found.means), found.missing))
        self.assertEqual(['filter', 'drop', 'restrict', 'limit', 'load'],
                         self.steps)

    def test_one_is_missing(self):
        """The others are set up all the same."""
        for name, error, reason in (
                ('drop', OSError(errno.EPERM, 'x'), 'not permitted'),
                ('restrict', sandbox.landlock.Unavailable('old kernel'),
                 'old kernel'),
                ('limit', OSError(errno.EINVAL, 'x'), 'Invalid argument'),
                ('load', sandbox.seccomp.Unavailable('no filters'),
                 'no filters')):
            found = self.enter(**{name: error})
            self.assertEqual(3, len(found.means))
            [missing] = found.missing
            self.assertIn(reason, missing)
            self.assertNotIn(missing.partition(':')[0], found.means)
            self.assertEqual(5, len(self.steps))
            with self.assertRaisesRegex(exceptions.SandboxIncomplete, reason):
                self.enter(protocol.REQUIRED, **{name: error})

    def test_no_filter_can_be_made(self):
        found = self.enter(filter=sandbox.seccomp.Unavailable('a VAX'))
        self.assertEqual(['seccomp: a VAX'], found.missing)
        self.assertNotIn('load', self.steps)

    def test_what_an_old_kernel_cannot_deny(self):
        """It only matters without the filter."""
        self.assertEqual([], self.enter(lacks=['TCP', 'signals']).missing)
        found = self.enter(lacks=['TCP', 'signals'],
                           load=OSError(errno.ENOSYS, 'x'))
        self.assertEqual(2, len(found.missing))
        self.assertIn('TCP or signals', found.missing[1])
        self.assertIn('Landlock', found.means)

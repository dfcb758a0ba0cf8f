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

"""Running checks as another user."""

import os
import unittest

from glance_xs_convert.deployment import users


class Names(unittest.TestCase):

    def test_names(self):
        self.assertEqual('root', users.name(0))
        self.assertEqual('user 4711', users.name(4711))


@unittest.skipIf(os.geteuid(), 'only root may become another user')
class Run(unittest.TestCase):

    def test_without_a_name(self):
        found = users.run(4711, lambda: [
            os.getresuid(), os.getresgid(), os.getgroups()])
        self.assertEqual([[4711] * 3, [4711] * 3, []], found)

    def test_with_a_name(self):
        self.assertEqual([1, 1], users.run(
            1, lambda: [os.getuid(), os.getgid()]))
        self.assertEqual(0, os.geteuid())

    def test_error(self):
        def fail():
            raise RuntimeError('it broke')

        with self.assertRaisesRegex(
                users.CannotRun, 'as user 4711: RuntimeError: it broke'):
            users.run(4711, fail)

    def test_no_answer(self):
        with self.assertRaisesRegex(users.CannotRun, 'without a result'):
            users.run(4711, lambda: os._exit(1))

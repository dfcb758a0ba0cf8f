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

"""Loading a share of the tests."""

import types
import unittest

import testtools

from tests import unit


def loaded(**classes):
    """A suite as discovery makes it, with numbers of tests by class."""
    module = types.ModuleType('module')
    for name, number in classes.items():
        setattr(module, name, type(name, (unittest.TestCase,), {
            f'test_{index}': lambda self: None for index in range(number)}))
    return unittest.defaultTestLoader.loadTestsFromModule(module)


class Share(testtools.TestCase):

    def names(self, tests, number):
        return ['.'.join(test.id().split('.')[-2:])
                for test in unit.share(tests, number)]

    def test_each_class_has_its_share(self):
        self.assertEqual(
            ['A.test_0', 'A.test_3', 'A.test_6', 'B.test_0'],
            self.names(loaded(A=7, B=2), 3))

    def test_all(self):
        self.assertEqual(['A.test_0', 'A.test_1'],
                         self.names(loaded(A=2), 1))

    def test_modules_that_cannot_be_imported(self):
        """Each of them is told."""
        names = ['no_such_one', 'no_such_other']
        tests = unittest.TestLoader().loadTestsFromNames(names)
        self.assertEqual([f'_FailedTest.{name}' for name in names],
                         self.names(tests, 3))

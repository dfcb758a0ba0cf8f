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

"""Tests of the package's modules.

If ``TEST_SHARE`` is set to a number, one in so many tests of each class is
loaded, at least one.
"""

import collections
import itertools
import os
import unittest

import testtools

_SHARE = int(os.environ.get('TEST_SHARE') or 1)


def load_tests(loader, tests, pattern):
    """Load the tests, or a share of them: see the module ``unittest``."""
    found = loader.discover(os.path.dirname(__file__), pattern or 'test*.py')
    if _SHARE > 1:
        found = share(found, _SHARE)
    tests.addTests(found)
    return tests


def share(tests, number):
    """Return one in so many tests of each class.

    :param tests: a suite
    """
    classes = collections.defaultdict(list)
    for test in testtools.iterate_tests(tests):
        kind = type(test)
        # All modules that cannot be imported have the same class.
        classes[test.id() if kind.__module__ == unittest.loader.__name__
                else (kind.__module__, kind.__qualname__)].append(test)
    return unittest.TestSuite(itertools.chain.from_iterable(
        found[::number] for found in classes.values()))

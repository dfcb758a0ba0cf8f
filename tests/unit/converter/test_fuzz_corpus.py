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

"""What the fuzzers have kept still keeps to all rules."""

import logging
import unittest

import ddt

from tests.fuzz import corpus
from tests.fuzz import replay


@ddt.ddt
class Corpus(unittest.TestCase):

    @ddt.data(*corpus.TARGETS)
    def test_rules(self, target):
        # A target may have switched it off.
        self.addCleanup(logging.disable, logging.NOTSET)
        self.assertGreater(replay.replay(target), 0)

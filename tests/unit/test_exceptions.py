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

"""The kinds of errors."""

import unittest

from glance_xs_convert import exceptions


class Kinds(unittest.TestCase):

    def test_kind_leads_back_to_the_class(self):
        error = exceptions.MissingBase('its parent is missing')
        self.assertIs(exceptions.MissingBase,
                      exceptions.by_kind(error.kind))

    def test_unknown_kinds(self):
        for kind in ('', 'Exception', 'by_kind', '__name__', 'Newer'):
            self.assertIsNone(exceptions.by_kind(kind))

    def test_faults_of_the_host_may_pass(self):
        self.assertTrue(exceptions.OutOfSpace.may_pass)
        self.assertTrue(exceptions.ImportInterrupted.may_pass)
        self.assertFalse(exceptions.EncryptedVhd.may_pass)

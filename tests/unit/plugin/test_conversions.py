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

"""Plugins of one import tell each other what was converted."""

import gc
import unittest
import weakref

from glance_xs_convert.plugin import conversions
from glance_xs_convert.recovery import records


class Wrapper:
    """What Glance hands to all plugins of an import."""


class Conversions(unittest.TestCase):

    def test_import(self):
        one, other = Wrapper(), Wrapper()
        undo = records.RecordChange({'disk_format': 'vhd'}, {})
        conversions.note(one, undo)
        self.assertIs(undo, conversions.undo_of(one))
        self.assertIsNone(conversions.undo_of(other))

    def test_end_of_the_import(self):
        """Then nothing of it is kept."""
        undo = records.RecordChange({}, {})
        wrapper = Wrapper()
        conversions.note(wrapper, undo)
        kept = weakref.ref(undo)
        del undo, wrapper
        gc.collect()
        self.assertIsNone(kept())

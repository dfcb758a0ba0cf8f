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

"""The keeper of this plugin's imports."""

import os
import pathlib

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert import options
    from glance_xs_convert.plugin import keeping


class Keeping(base.GlanceCase):

    def test_directory_of_the_tickets(self):
        path = pathlib.Path(keeping.tickets())
        self.assertEqual(self.scratch / 'lock', path.parent)
        self.conf.config(group=options.GROUP, lock_path=None)
        beside = pathlib.Path(keeping.tickets())
        self.assertEqual(self.scratch / 'xs_convert', beside.parent)
        # Other hosts may share the file system.
        self.assertNotEqual(path.name, beside.name)

    def test_staging_area_of_an_old_setup(self):
        self.conf.config(group=options.GROUP, lock_path=None)
        self.conf.config(enabled_backends={})
        self.conf.config(node_staging_uri=f'file://{self.scratch}/old/')
        self.scratch.joinpath('old').mkdir()
        self.assertEqual(str(self.scratch / 'xs_convert'),
                         os.path.dirname(keeping.tickets()))

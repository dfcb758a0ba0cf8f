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

"""One Glance's tickets lie apart from another's."""

import os
import socket
from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.recovery import places


class Places(base.GlanceCase):

    def place(self, staging=None, host='one', is_local=False):
        path = staging or self.staging
        path.mkdir(exist_ok=True)
        with (mock.patch.object(places.housekeeping, 'staging_store_path',
                                autospec=True, return_value=str(path)),
              mock.patch.object(socket, 'gethostname', autospec=True,
                                return_value=host)):
            return places.of_this_glance('/above', is_local)

    def test_same_for_each_process(self):
        self.assertEqual(self.place(), self.place())
        self.assertEqual('/above', os.path.dirname(self.place()))

    def test_however_staging_is_written(self):
        link = self.scratch / 'link'
        link.symlink_to(self.staging)
        first = self.place()
        for path in (link, self.staging / '..' / 'staging'):
            self.assertEqual(first, self.place(path))

    def test_another_glance(self):
        self.assertNotEqual(self.place(), self.place(self.scratch / 'other'))

    def test_another_host(self):
        """It may share the file system."""
        self.assertNotEqual(self.place(), self.place(host='two'))

    def test_container_in_the_place_of_another(self):
        self.assertEqual(self.place(is_local=True),
                         self.place(host='two', is_local=True))
        self.assertNotEqual(
            self.place(is_local=True),
            self.place(self.scratch / 'other', is_local=True))

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
"""Data under another name goes, and nobody else's does."""

from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception

    from glance_xs_convert.plugin import other_names


class OtherNames(base.GlanceCase):

    def setUp(self):
        super().setUp()
        self.image_id = 'abcdefab-1234-4abc-8def-abcdefabcdef'
        self.new_image(image_id=self.image_id)
        self.image = self.image_repo.get(self.image_id)

    def repo(self):
        """A repository whose database overlooks capitals and the like."""
        def get(name):
            if name.casefold().replace('é', 'e').strip() != self.image_id:
                raise exception.ImageNotFound(name)
            return self.image

        return mock.Mock(get=mock.Mock(side_effect=get))

    def left(self, names, repo, own=None):
        for name in names:
            self.stage(name, b'data')
        path = self.stage(own or self.image_id, b'data')
        other_names.remove(str(path), self.image, repo)
        return self.staged()

    def test_other_names(self):
        names = [self.image_id.upper(), self.image_id.replace('a', 'A'),
                 f'{self.image_id} ', self.image_id.replace('e', 'é')]
        self.assertEqual([self.image_id], self.left(names, self.repo()))

    def test_own_name_is_the_other_one(self):
        own = self.image_id.upper()
        self.assertEqual([own], self.left(
            [self.image_id], self.repo(), own=own))

    def test_database_that_distinguishes_them(self):
        """There, the other name can be another image's."""
        capitals = self.image_id.upper()
        self.new_image(image_id=capitals)
        self.assertEqual(
            sorted([self.image_id, capitals, self.image_id.title()]),
            self.left([capitals, self.image_id.title()], self.image_repo))

    def test_others(self):
        names = ['0bcdefab-1234-4abc-8def-abcdefabcdef', 'README',
                 f'{self.image_id}.task.raw', f'{self.image_id}x']
        repo = self.repo()
        self.assertEqual(sorted([*names, self.image_id]),
                         self.left(names, repo))
        repo.get.assert_not_called()

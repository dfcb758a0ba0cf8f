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

"""The files of imports in the staging area."""

import os

from glance_xs_convert.recovery import staging

from tests.unit import cases


class Staging(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.directory = self.scratch / 'with [brackets]*'
        self.directory.mkdir()

    def make(self, *names):
        for name in names:
            self.directory.joinpath(name).touch()

    def path(self, name):
        return str(self.directory / name)

    def test_raw_path(self):
        """Glance's housekeeping knows it by the image's id."""
        self.assertEqual(self.path('image.task.raw'),
                         staging.raw_path(self.path('image'), 'task'))

    def test_remove_raw(self):
        self.make('image', 'image.one.raw', 'image.two.raw.part', 'image.raw',
                  'image2.one.raw', 'image.one.qcow2')
        staging.remove_raw(self.path('image'))
        self.assertEqual({'image', 'image.raw', 'image2.one.raw',
                          'image.one.qcow2'},
                         set(os.listdir(self.directory)))

    def test_remove_raw_of_one_task(self):
        self.make('image.one.raw.part', 'image.two.raw', 'image.*.raw')
        staging.remove_raw(self.path('image'), 'one')
        staging.remove_raw(self.path('image'), '*')
        self.assertEqual(['image.two.raw'], os.listdir(self.directory))

    def test_remove(self):
        self.make('image')
        for _ in range(2):
            staging.remove(self.path('image'))
            self.assertEqual([], os.listdir(self.directory))

    def test_what_cannot_be_removed(self):
        self.directory.joinpath('image').mkdir()
        with self.assertRaises(OSError):
            staging.remove(self.path('image'))

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

"""Changes to the record of an image of Glance's, and how they are undone."""

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.recovery import records


class RecordChange(base.GlanceCase):

    def setUp(self):
        super().setUp()
        self.image_id = self.new_image(extra_properties={
            'os_type': 'linux', 'vm_mode': 'hvm'})
        self.task_id = self.new_import(self.image_id)
        self.before = self.record()

    def record(self):
        """What the change can change, as Glance has stored it."""
        image = self.image_repo.get(self.image_id)
        return (image.disk_format, image.container_format, image.size,
                image.virtual_size, dict(image.extra_properties))

    def apply(self, change):
        """Apply a change, and give the one that undoes it."""
        with self.wrapper(self.image_id, self.task_id) as action:
            undo = change.inverse(action)
            change.apply(action)
        return undo

    def change(self):
        return records.RecordChange(
            {'disk_format': 'raw', 'container_format': 'bare', 'size': 4096,
             'virtual_size': 4096},
            {'os_type': 'windows', 'vm_mode': None, 'absent': None,
             'xs_convert_layers': '3'})

    def test_apply(self):
        self.apply(self.change())
        *attributes, properties = self.record()
        self.assertEqual(['raw', 'bare', 4096, 4096], attributes)
        self.assertEqual(
            {'os_type': 'windows', 'xs_convert_layers': '3'},
            {name: value for name, value in properties.items()
             if not name.startswith('os_glance')})

    def test_undo(self):
        """Twice, because nobody may know whether it was done already."""
        undo = self.apply(self.change())
        for _ in range(2):
            self.apply(undo)
            self.assertEqual(self.before, self.record())

    def test_undo_before_it_was_applied(self):
        """The process may have ended in between."""
        with self.wrapper(self.image_id, self.task_id) as action:
            undo = self.change().inverse(action)
        self.apply(undo)
        self.assertEqual(self.before, self.record())

    def test_properties_of_others_stay(self):
        undo = self.apply(self.change())
        self.apply(records.RecordChange({}, {'hw_disk_bus': 'scsi'}))
        self.apply(undo)
        *_, properties = self.record()
        self.assertEqual('scsi', properties['hw_disk_bus'])

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
"""What Glance would refuse later, judged by Glance's own objects."""

import os
from unittest import mock

from tests import property_protection
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception
    from glance.common import property_utils
    from glance import gateway

    from glance_xs_convert import exceptions
    from glance_xs_convert.plugin import admission
    from glance_xs_convert.plugin import image_record
    from glance_xs_convert.plugin import staged_task


class AdmissionCase(base.GlanceCase):

    def prepare(self, **attributes):
        self.image_id = self.new_image(**attributes)
        self.task_id = self.new_import(self.image_id)
        self.begin(self.image_id, self.task_id)
        self.of = staged_task.import_of(
            self.flow_arguments(self.image_id, self.task_id))

    def image(self):
        return self.image_repo.get(self.image_id)


class Size(AdmissionCase):

    def setUp(self):
        super().setUp()
        self.prepare()

    def bound(self):
        found = admission.disk_bound(self.of)
        return found.size, found.option, found.kind.__name__

    def store(self, size):
        """Let another image of the project have data in a store."""
        image = self.image_repo.get(self.new_image())
        image.status = 'saving'
        self.image_repo.save(image)
        image = self.image_repo.get(image.image_id)
        image.size = size
        self.image_repo.save(image)
        admission.db.get_api().image_location_add(
            self.context, image.image_id, {
                'url': 'file:///x', 'metadata': {}, 'status': 'active'})

    def test_cap(self):
        self.assertEqual((1 << 40, 'image_size_cap', 'DiskTooLarge'),
                         self.bound())
        self.conf.config(image_size_cap=1000)
        self.assertEqual((1000, 'image_size_cap', 'DiskTooLarge'),
                         self.bound())

    def test_what_is_left_of_the_quota(self):
        self.conf.config(user_storage_quota='5MB')
        what = 'what is left of user_storage_quota', 'QuotaExceeded'
        self.assertEqual((5 << 20, *what), self.bound())
        self.store(2 << 20)
        self.assertEqual((3 << 20, *what), self.bound())
        self.store(4 << 20)
        self.assertEqual((0, *what), self.bound())

    def test_the_lower_one_counts(self):
        self.conf.config(user_storage_quota='5MB', image_size_cap=1000)
        self.assertEqual((1000, 'image_size_cap', 'DiskTooLarge'),
                         self.bound())

    def test_limits_in_keystone_replace_the_quota(self):
        """Glance does not look at the disk then."""
        self.conf.config(user_storage_quota='5MB', use_keystone_limits=True)
        self.assertEqual('image_size_cap', self.bound()[1])


class Stores(AdmissionCase):

    def test_reserved(self):
        for store in ('os_glance_staging_store', 'os_glance_tasks_store'):
            error = self.assertRaises(
                exceptions.NotPermitted, admission.check_stores,
                ['fast', store])
            self.assertIn(store, str(error))

    def test_others(self):
        admission.check_stores([])
        admission.check_stores(['fast', 'os_glance'])


class Room(AdmissionCase):

    def check(self, free, total=1000):
        found = mock.Mock(f_bavail=free, f_bfree=free, f_blocks=total)
        with mock.patch.object(os, 'statvfs', autospec=True,
                               return_value=found) as statvfs:
            admission.check_room(str(self.staging / 'image'))
        statvfs.assert_called_once_with(str(self.staging))

    def test_none(self):
        error = self.assertRaises(exceptions.OutOfSpace, self.check, 0)
        self.assertIn('staging area', str(error))

    def test_some(self):
        self.check(1)

    def test_file_system_without_a_size(self):
        self.check(0, 0)

    def test_real(self):
        admission.check_room(str(self.staging / 'image'))


class Properties(AdmissionCase):

    def saves(self):
        """Whether Glance accepts the properties of a conversion."""
        image = self.image()
        for name in image_record.PROVENANCE:
            image.extra_properties[name] = 'x'
        try:
            self.image_repo.save(image)
        except exception.ImagePropertyLimitExceeded:
            return False
        return True

    def accepts(self, remove=()):
        try:
            admission.check_properties(
                self.image(), image_record.PROVENANCE, remove)
        except exceptions.QuotaExceeded as error:
            self.assertIn('image_property_quota is', str(error))
            return False
        return True

    def test_as_glance(self):
        for count in (123, 124, 125, 128):
            self.prepare(extra_properties={
                f'name_{number}': 'x' for number in range(count)})
            accepts = self.accepts()
            self.assertEqual((count <= 124, self.saves()),
                             (accepts, accepts))

    def test_no_limit(self):
        self.prepare(extra_properties={'a': 'x', 'b': 'x'})
        self.conf.config(image_property_quota=-1)
        self.assertTrue(self.accepts())

    def test_none_allowed(self):
        self.prepare()
        self.conf.config(image_property_quota=0)
        self.assertFalse(self.accepts())
        admission.check_properties(self.image(), (), ())

    def test_words(self):
        self.prepare(extra_properties={'a': 'x', 'b': 'x'})
        self.conf.config(image_property_quota=5)
        error = self.assertRaises(
            exceptions.QuotaExceeded, admission.check_properties,
            self.image(), image_record.PROVENANCE, ())
        self.assertIn('has 2 properties, and the conversion has to add 4',
                      str(error))

    def test_properties_that_will_be_removed(self):
        self.prepare(extra_properties={'a': 'x', 'vm-mode': 'x'})
        self.conf.config(image_property_quota=5)
        self.assertFalse(self.accepts())
        self.assertTrue(self.accepts(['vm_mode']))

    def test_properties_of_an_earlier_conversion(self):
        """They are replaced, so Glance does not count them again."""
        self.prepare(extra_properties=dict.fromkeys(
            image_record.PROVENANCE, 'x'))
        self.conf.config(image_property_quota=2)
        self.assertTrue(self.accepts())
        self.assertTrue(self.saves())


class Protection(AdmissionCase):

    def protect(self):
        rules = self.scratch / 'protection.conf'
        rules.write_text(property_protection.RULES)
        self.conf.config(property_protection_file=str(rules))
        fresh = mock.patch.object(property_utils, 'CONFIG',
                                  property_utils.configparser.ConfigParser())
        fresh.start()
        self.addCleanup(fresh.stop)
        self.image_repo = gateway.Gateway().get_repo(self.context)
        admission._logged.clear()
        self.of = staged_task.import_of(
            self.flow_arguments(self.image_id, self.task_id))

    def test_no_rules(self):
        self.prepare()
        self.assertEqual({'a', 'b'}, admission.writable(self.of, ['a', 'b']))

    def test_rules(self):
        self.prepare()
        self.protect()
        with mock.patch.object(admission.LOG, 'warning',
                               autospec=True) as warning:
            for _ in range(3):
                self.assertEqual({'hw_firmware_type'}, admission.writable(
                    self.of, ['xs_convert_layers', 'hw_firmware_type']))
        warning.assert_called_once()
        self.assertEqual('xs_convert_layers', warning.call_args[0][1])

    def test_record_is_not_changed(self):
        self.prepare()
        self.protect()
        admission.writable(self.of, ['hw_firmware_type'])
        self.assertNotIn('hw_firmware_type',
                         dict(self.image().extra_properties))

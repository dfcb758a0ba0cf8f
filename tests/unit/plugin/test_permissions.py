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
"""Who may upload, by Glance's own policies and records."""

from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.api import policy
    from glance import context

    from glance_xs_convert.plugin import permissions


class Upload(base.GlanceCase):

    def status(self, image_id, project=base.OWNER, roles=('member', 'reader'),
               **attributes):
        """The status of the refusal; None if the user may upload."""
        user = context.RequestContext(
            user_id='somebody', project_id=project, roles=list(roles),
            overwrite=False, **attributes)
        refusal = permissions.refusal_of_upload(user, image_id)
        return refusal and refusal.status_int

    def test_owner(self):
        self.assertIsNone(self.status(self.new_image()))

    def test_strangers(self):
        for visibility, status in (('private', 404), ('shared', 404),
                                   ('community', 403), ('public', 403)):
            with self.subTest(visibility):
                image_id = self.new_image(visibility=visibility)
                self.assertEqual(status, self.status(image_id, 'other'))

    def test_reader(self):
        self.assertEqual(403, self.status(self.new_image(),
                                          roles=['reader']))

    def test_read_only(self):
        self.assertEqual(403, self.status(self.new_image(), read_only=True))

    def test_no_such_image(self):
        self.assertEqual(404, self.status(
            '00000000-0000-0000-0000-000000000000'))

    def test_either_right_is_missing(self):
        image_id = self.new_image()
        enforce = policy.Enforcer.enforce
        for forbidden in ('upload_image', 'modify_image'):

            def partly(enforcer, user, action, *args, forbidden=forbidden,
                       **options):
                if action == forbidden:
                    raise policy.exception.Forbidden(action=action)
                return enforce(enforcer, user, action, *args, **options)

            with mock.patch.object(policy.Enforcer, 'enforce', partly):
                self.assertEqual(403, self.status(image_id))

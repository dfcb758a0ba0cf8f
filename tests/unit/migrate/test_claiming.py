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

"""One command creates an image, and the others find it."""

from unittest import mock

from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import names
from tests.unit.migrate import migrations

OLD = migrations.OLD
ATTRIBUTES = {'name': 'web'}


class TestClaim(migrations.MigrationCase):
    """Ids are claimed one after the other."""

    def claim(self, known=None, uploads=False):
        return claiming.claim_next(self.cloud, self.old, ATTRIBUTES, known,
                                   uploads=uploads)

    def test_first_and_second(self):
        first, second = self.claim(), self.claim()
        self.assertEqual(first.new_id, second.new_id)
        self.assertEqual((True, False), (first.is_fresh, second.is_fresh))
        self.assertIsNone(first.upload)

    def test_only_the_creator_uploads(self):
        first, second = self.claim(uploads=True), self.claim(uploads=True)
        self.assertEqual(first.new[names.UPLOADING], str(first.upload))
        self.assertIsNone(second.upload)

    def test_request_whose_answer_is_lost_is_known_as_ones_own(self):
        """The library above sends it twice."""
        create = self.cloud.create

        def lose(attributes):
            create(attributes)
            return create(attributes)

        self.cloud.create = lose
        claim = self.claim(uploads=True)
        self.assertEqual(claim.new[names.UPLOADING], str(claim.upload))

    def test_image_that_is_taken_up_again(self):
        claim = self.claim(uploads=True)
        record = self.cloud.records[claim.new_id]
        record[names.REFUSED] = 'broken'
        patch = self.cloud.patch

        def lose(*arguments):
            patch(*arguments)
            return patch(*arguments)

        self.cloud.patch = lose
        again = claiming.reclaim(self.cloud, dict(record), True)
        self.assertNotEqual(claim.upload, again.upload)
        self.assertEqual(str(again.upload), record[names.UPLOADING])
        self.assertNotIn(names.REFUSED, record)
        # Another command finds that it is.
        other = claiming.reclaim(
            self.cloud, {**record, names.REFUSED: 'x'}, False)
        self.assertIsNone(other.upload)
        before = dict(record)
        del self.cloud.records[claim.new_id]
        with self.assertRaises((errors.Lost, errors.NotFound)):
            claiming.reclaim(self.cloud, before, True)

    def test_ids_of_deleted_images(self):
        first = self.claim()
        self.cloud.delete(first.new_id)
        for known in (None, first.new_id):
            second = self.claim(known)
            self.assertEqual(names.new_id(OLD, 1), second.new_id)

    def test_all_ids_are_taken(self):
        self.cloud.deleted = {names.new_id(OLD, attempt)
                              for attempt in range(names.MAX_ATTEMPTS)}
        with self.assertRaisesRegex(errors.Failed, 'taken'):
            self.claim()

    def test_existing_claim(self):
        self.assertIsNone(claiming.find(self.cloud, self.old, None))
        first = self.claim()
        self.assertEqual(first.new_id, claiming.find(
            self.cloud, self.old, first.new_id).new_id)
        self.assertIsNone(claiming.find(
            self.cloud, self.old, names.new_id(OLD, 7)))
        first = self.cloud.records[first.new_id]
        first['owner'] = 'evil'
        self.assertIsNone(claiming.find(self.cloud, self.old, first['id']))

    def test_what_the_old_image_names_comes_first(self):
        new_id = self.migrate().new_id
        self.assertEqual(new_id, claiming.find(
            self.cloud, self.old, names.new_id(OLD, 5)).new_id)


class TestDiscard(migrations.MigrationCase):
    """An image is deleted only as long as nobody works on it."""

    def setUp(self):
        super().setUp()
        self.new = claiming.claim_next(
            self.cloud, self.old, ATTRIBUTES, None, uploads=False).new

    def test_idle_image(self):
        claiming.discard(self.cloud, self.new)
        self.assertIn(self.new['id'], self.cloud.deleted)
        claiming.discard(self.cloud, self.new)

    def test_host_with_the_data_is_down(self):
        """The image does not stand in the way, and its ID is not used."""
        with mock.patch.object(self.cloud.images, 'delete', autospec=True,
                               side_effect=errors.Unreachable('500')):
            claiming.discard(self.cloud, self.new)
        self.assertNotIn(self.new['id'], self.cloud.deleted)
        self.assertIsNone(
            claiming.find(self.cloud, self.old, self.new['id']))
        following = claiming.claim_next(
            self.cloud, self.old, ATTRIBUTES, self.new['id'], uploads=False)
        self.assertEqual(names.new_id(OLD, 1), following.new_id)

    def test_image_that_moved(self):
        for change in ({'status': 'uploading'}, {'os_glance_import_task': 't'},
                       {'updated_at': 'later'}, {names.SOURCE: OLD}):
            record = self.cloud.records[self.new['id']]
            before = dict(record)
            record.update(change)
            with self.assertRaises(errors.Lost):
                claiming.discard(self.cloud, self.new)
            self.cloud.records[self.new['id']] = before

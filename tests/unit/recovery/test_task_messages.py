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

"""Messages in the tasks of imports."""

from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception

    from glance_xs_convert.recovery import task_messages


class Messages(base.GlanceCase):

    def setUp(self):
        super().setUp()
        self.image_id = self.new_image()
        self.task_id = self.new_import(self.image_id)
        self.clock = self.useFixture(base.fixture.fixtures.MockPatchObject(
            task_messages.time, 'monotonic', return_value=0.0)).mock
        self.messages = task_messages.TaskMessages(
            task_repo=self.task_repo, task_id=self.task_id,
            action_wrapper=self.wrapper(self.image_id, self.task_id))

    def task(self):
        return self.task_repo.get(self.task_id)

    def test_no_more_than_one_a_second(self):
        shown = []
        for tenth in range(35):
            self.clock.return_value = tenth / 10
            self.messages.tell(f'after {tenth}')
            shown.append(self.task().message)
        self.assertEqual(
            ['after 0', 'after 11', 'after 22', 'after 33'],
            sorted(set(shown), key=shown.index))

    def test_at_once(self):
        for text in ('one', 'two'):
            self.messages.tell_now(text)
            self.assertEqual(text, self.task().message)
        self.messages.tell('three')
        self.assertEqual('two', self.task().message)

    def test_same_text_is_not_saved_again(self):
        self.messages.tell_now('one')
        with mock.patch.object(self.task_repo, 'save', autospec=True) as save:
            self.messages.tell_now('one')
        save.assert_not_called()

    def test_task_that_was_stopped(self):
        task = self.task()
        task.fail('by the operator')
        self.task_repo.save(task)
        self.assertRaises(exception.TaskAbortedError,
                          self.messages.tell, 'one')
        self.assertEqual('by the operator', self.task().message)

    def test_another_task_imports_the_image(self):
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.new_import(self.image_id)
        self.assertRaises(exception.TaskAbortedError,
                          self.messages.tell, 'one')

    def test_image_is_gone(self):
        self.delete(self.image_id)
        self.assertRaises(exception.NotFound, self.messages.tell, 'one')

    def test_task_is_gone(self):
        self.task_repo.remove(self.task())
        self.assertRaises(exception.NotFound, self.messages.tell, 'one')
        self.messages.fail('gone')

    def test_failure(self):
        self.messages.fail('why')
        self.assertEqual(('failure', 'why'),
                         (self.task().status, self.task().message))
        self.messages.fail('another reason')
        self.assertEqual('why', self.task().message)

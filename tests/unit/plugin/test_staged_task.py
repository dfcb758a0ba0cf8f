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
"""What all tasks on staged images share, by a task that is made up."""

from unittest import mock

from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert import exceptions
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.plugin import reasons
    from glance_xs_convert.plugin import staged_task
    from glance_xs_convert.plugin import turns

    class Copy(staged_task.StagedImageTask):
        """Works on raw images; tests say what it does."""

        failure = 'The image cannot be copied'
        waiting = 'Waiting to be copied'

        def __init__(self, of):
            super().__init__('copy', of)
            self.do = mock.Mock()

        def concerns(self, image):
            return image.disk_format == 'raw'

        def work(self, image, staged):
            with self.turn(image):
                self.do(image.image_id, staged)


class StagedTask(base.GlanceCase):

    def prepare(self, **attributes):
        self.image_id = self.new_image(**attributes)
        self.task_id = self.new_import(self.image_id)
        self.begin(self.image_id, self.task_id)
        self.path = self.stage(self.image_id, b'data')
        self.task = Copy(staged_task.import_of(
            self.flow_arguments(self.image_id, self.task_id)))

    def execute(self):
        return self.task.execute(f'file://{self.path}')

    def test_works(self):
        self.prepare(disk_format='raw')
        self.assertEqual(f'file://{self.path}', self.execute())
        self.task.do.assert_called_once_with(self.image_id, str(self.path))
        self.assertEqual([], self.tickets())

    def test_does_not_concern(self):
        self.prepare(disk_format='qcow2')
        self.execute()
        self.task.do.assert_not_called()
        self.assertIsNone(self.task.staged)

    def test_reasons(self):
        self.prepare(disk_format='raw')
        for error, message in (
                (exceptions.NoVhd('there is none', member='x'),
                 'The image cannot be copied: x: there is none. [NoVhd]'),
                (reasons.ImportFailed('It is said already. [NoVhd]'),
                 'It is said already. [NoVhd]'),
                (KeyError('x'),
                 'The image cannot be copied: the image service failed in an '
                 'unexpected way; its log has the details. '
                 '[ServiceFailed]')):
            self.task.do.side_effect = error
            failed = self.assertRaises(reasons.ImportFailed, self.execute)
            self.assertEqual(message, str(failed))
        self.assertEqual([], self.tickets())

    def test_progress(self):
        self.prepare(disk_format='raw')
        self.task.do.side_effect = lambda *_: self.task.tell('Copying: 42%')
        self.execute()
        self.assertEqual('Copying: 42%',
                         self.task_repo.get(self.task_id).message)

    def test_wait(self):
        self.prepare(disk_format='raw')
        self.conf.config(group='xs_convert', max_concurrent=1, max_waiting=1)
        seen = []

        def waiting(ahead):
            seen.append(ahead)
            first.release()

        first = turns.tickets.Box(
            keeping.tickets(), turns.tickets.TURN_SUFFIX).draw()
        with mock.patch.object(self.task, '_tell_waiting', waiting):
            self.execute()
        self.assertEqual([1], seen)

    def test_no_place_to_wait(self):
        self.prepare(disk_format='raw')
        self.conf.config(group='xs_convert', max_concurrent=1, max_waiting=0)
        box = turns.tickets.Box(
            keeping.tickets(), turns.tickets.TURN_SUFFIX)
        first = box.draw()
        failed = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertIn('[TooManyWaiting]', str(failed))
        # The work of an import that has had its turn is not lost.
        with (mock.patch.object(self.task, '_tell_waiting',
                                lambda ahead: first.release()),
              self.task.turn(self.image_repo.get(self.image_id),
                             has_had_one=True)):
            self.assertEqual(1, len(self.tickets()))

    def test_words_of_waiting(self):
        self.prepare(disk_format='raw')
        for ahead, words in ((1, '1 other XenServer image comes first'),
                             (2, '2 other XenServer images come first')):
            with mock.patch.object(self.task, 'tell', autospec=True) as tell:
                self.task._tell_waiting(ahead)
            tell.assert_called_once_with(f'Waiting to be copied: {words}')


class Bounds(base.GlanceCase):
    """How many may wait."""

    def test_three_quarters_of_the_threads(self):
        for threads, at_once, bounds in (
                (16, 2, (2, 10, 8)), (16, 11, (11, 1, 1)),
                (16, 20, (20, 1, 1)), (64, 4, (4, 44, 33)),
                (1, 0, (0, 1, 1))):
            self.conf.config(group='wsgi', task_pool_threads=threads)
            self.conf.config(group='xs_convert', max_concurrent=at_once)
            self.assertEqual(turns.Bounds(*bounds), staged_task._bounds())

    def test_options(self):
        self.conf.config(group='xs_convert', max_waiting=5)
        self.assertEqual(turns.Bounds(2, 5, 4), staged_task._bounds())
        self.conf.config(group='xs_convert', max_waiting_per_project=5)
        self.assertEqual(turns.Bounds(2, 5, 5), staged_task._bounds())

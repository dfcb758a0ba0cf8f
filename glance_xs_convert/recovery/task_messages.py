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

"""Import tasks in Glance's database, and their messages."""

from collections.abc import Callable
import math
import time

from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from glance.common import utils as glance_utils

from glance_xs_convert.recovery import interfaces

#: The shortest time between two messages, in seconds.
_INTERVAL = 1.0

#: Repeats a call that fails because SQLite's file is locked. Glance before 33
#: does not have this function.
retried: Callable[[Callable[[], None]], None] = getattr(
    glance_utils, 'retry_on_db_lock', lambda call: call())


class TaskMessages:
    """The messages that the owner of an image reads during its import.

    :param task_id: ID of the task that imports the image
    :param action_wrapper: Glance's ImportActionWrapper for the image
    """

    def __init__(self, *, task_repo: interfaces.TaskRepository, task_id: str,
                 action_wrapper: interfaces.ActionWrapper) -> None:
        self._task_repo = task_repo
        self._task_id = task_id
        self._action_wrapper = action_wrapper
        self._told_at = -math.inf

    def tell(self, text: str) -> None:
        """Show a text, unless the last one is less than a second old.

        :raises TaskAbortedError: the import is no longer wanted, or another
                                  task imports the image now
        :raises NotFound: the image or its task is gone
        """
        if time.monotonic() - self._told_at > _INTERVAL:
            self.tell_now(text)

    def tell_now(self, text: str) -> None:
        """Show a text without delay.

        It raises the same errors as ``tell``.
        """
        retried(lambda: self._save(text))
        self._told_at = time.monotonic()

    def fail(self, text: str) -> None:
        """Mark the task as failed, unless it has ended or is gone."""
        fail(self._task_repo, self._task_id, text)

    def _save(self, text: str) -> None:
        self._action_wrapper.assert_task_lock()
        task = script_utils.get_task(self._task_repo, self._task_id)
        if task is None:
            raise glance_exception.TaskNotFound(self._task_id)
        if task.status != 'processing':
            raise glance_exception.TaskAbortedError()
        if task.message != text:
            task.message = text
            self._task_repo.save(task)


def fail(task_repo: interfaces.TaskRepository, task_id: str, text: str,
         ) -> None:
    """Mark a task as failed, unless it has ended or is gone."""
    _end(task_repo, task_id, lambda task: task.fail(text))


def succeed(task_repo: interfaces.TaskRepository, task_id: str, image_id: str,
            ) -> None:
    """Mark a task as successful, unless it has ended or is gone."""
    _end(task_repo, task_id,
         lambda task: task.succeed({'image_id': image_id}))


def _end(task_repo: interfaces.TaskRepository, task_id: str,
         end: Callable[[interfaces.TaskRecord], None]) -> None:
    def call() -> None:
        task: interfaces.TaskRecord | None = script_utils.get_task(
            task_repo, task_id)
        if task is not None and task.status == 'pending':
            # In Glance, a task cannot fail before it begins.
            task.begin_processing()
            task_repo.save(task)
        if task is not None and task.status == 'processing':
            end(task)
            task_repo.save(task)

    retried(call)

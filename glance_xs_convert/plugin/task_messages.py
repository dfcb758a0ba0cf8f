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

"""The tasks of imports, in Glance's database."""

from collections.abc import Callable
from typing import Any

from glance.common.scripts import utils as script_utils
from glance.common import utils as glance_utils

#: Calls again what fails because SQLite's file is locked; Glance before 33
#: has no such thing.
retried: Callable[[Callable[[], None]], None] = getattr(
    glance_utils, 'retry_on_db_lock', lambda call: call())


def fail(task_repo: Any, task_id: str, message: str) -> None:
    """Fail a task, unless it has ended or is gone."""
    def call() -> None:
        task = script_utils.get_task(task_repo, task_id)
        if task is not None and task.status == 'processing':
            task.fail(message)
            task_repo.save(task)

    retried(call)

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

"""Imports whose Glance was killed while it converted them.

Glance never takes up such an import again: its image would stay importing,
and its archive in staging, until somebody deletes the image.
"""

import dataclasses
import json
from typing import Any

from glance.async_.flows import api_image_import
from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from glance import context
from glance import gateway
from oslo_log import log as logging

from glance_xs_convert import staging
from glance_xs_convert import turns

LOG = logging.getLogger(__name__)

_MESSAGE = ('The XenServer image cannot be converted: the image service was '
            'stopped while it did so; import the image again.')


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is needed to end an import in the place of who began it.

    :ivar staged: the path of the archive
    """

    image_id: str
    task_id: str
    staged: str

    def label(self) -> str:
        """For the conversion's turn."""
        return json.dumps(dataclasses.asdict(self))


def recover(image_repo: Any, directory: str | None) -> None:
    """Let the images of imports go that were cut off on this host.

    They are queued again, with nothing in staging, and the reason is in the
    message of their task. What goes wrong is logged, and tried again when
    this is called the next time.

    :param image_repo: may change all images
    :param directory: where the conversions take their turns
    """
    try:
        for label in turns.cut_off(directory):
            _end(Conversion(**json.loads(label)), image_repo)
    except Exception:
        LOG.exception('Imports that were cut off cannot be set back')


def _end(conversion: Conversion, image_repo: Any) -> None:
    LOG.warning('The conversion of image %s was cut off: its process ended',
                conversion.image_id)
    wrapper = api_image_import.ImportActionWrapper(
        image_repo, conversion.image_id, conversion.task_id)
    try:
        wrapper.assert_task_lock()
        staging.remove_raw(conversion.staged)
        staging.remove(conversion.staged)
        _fail_task(conversion.task_id)
        with wrapper as action:
            stores = action.image_extra_properties.get(
                action.IMPORTING_STORES_KEY, '').split(',')
            action.set_image_attribute(status='queued')
            action.remove_importing_stores(stores)
            action.add_failed_stores(stores)
        wrapper.drop_lock_for_task()
    except (glance_exception.TaskAbortedError, glance_exception.NotFound):
        LOG.info('Image %s was deleted or imported again meanwhile',
                 conversion.image_id)


def _fail_task(task_id: str) -> None:
    repo = gateway.Gateway().get_task_repo(context.get_admin_context())
    fail_task(repo, task_id, _MESSAGE)


def fail_task(task_repo: Any, task_id: str, message: str) -> None:
    """Fail a task, unless it has ended."""
    task = script_utils.get_task(task_repo, task_id)
    if task is not None and task.status == 'processing':
        task.fail(message)
        task_repo.save(task)

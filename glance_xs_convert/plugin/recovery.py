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

"""Imports whose Glance was stopped while it converted them.

Glance never takes up such an import again: its image would stay importing,
and its archive in staging, until somebody deletes the image.
"""

from collections.abc import Sequence
import dataclasses
import json
import os
from typing import Any

from glance.async_.flows import api_image_import
from glance.common import exception as glance_exception
from glance import context
from glance import gateway
from oslo_log import log as logging

from glance_xs_convert.plugin import staging
from glance_xs_convert.plugin import task_messages
from glance_xs_convert.plugin import turns

LOG = logging.getLogger(__name__)

#: What the owner of the image is told.
MESSAGE = ('The XenServer image cannot be converted: the image service was '
           'stopped while it did so; import the image again.')


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is needed to end an import in the place of who began it.

    :ivar staged: the path of the archive, the name of which is the image's id
    :raises ValueError: that is not so
    """

    image_id: str
    task_id: str
    staged: str

    def __post_init__(self) -> None:
        if os.path.basename(self.staged) != self.image_id:
            raise ValueError(f'{self.staged} is no image in staging')

    def label(self) -> str:
        """For the conversion's turn."""
        return json.dumps(dataclasses.asdict(self))


def recover(directory: str | None) -> None:
    """Let the images of imports go that were cut off on this host.

    They are queued again, with nothing in staging, and the reason is in the
    message of their task. What goes wrong is logged, and tried again when
    this is called the next time.

    :param directory: where the conversions take their turns
    """
    try:
        turns.collect(_is_dealt_with, directory)
    except OSError:
        LOG.exception('Imports that were cut off cannot be looked for')


def _is_dealt_with(label: str) -> bool:
    """End an import, and say whether that is all there is to do."""
    try:
        conversion = Conversion(**json.loads(label))
    except (TypeError, ValueError):
        LOG.error('A conversion was cut off, but %r does not say which one',
                  label)
        return True
    LOG.warning('The conversion of image %s was cut off: its process ended',
                conversion.image_id)
    try:
        _end(conversion)
    except Exception:
        LOG.exception('Image %s cannot be set back', conversion.image_id)
        return False
    return True


def _end(conversion: Conversion) -> None:
    """Do for an import what its own task would do after a failure.

    It may have been done in part before. The user's own rights would not do:
    whose import comes next may be anybody.
    """
    admin = context.get_admin_context()
    glance = gateway.Gateway()
    image_repo = glance.get_repo(admin)
    wrapper = api_image_import.ImportActionWrapper(
        image_repo, conversion.image_id, conversion.task_id)
    try:
        status = image_repo.get(conversion.image_id).status
        wrapper.assert_task_lock()
    except glance_exception.NotFound:
        LOG.info('Image %s was deleted meanwhile', conversion.image_id)
        staging.remove_raw(conversion.staged)
        staging.remove(conversion.staged)
        return
    except glance_exception.TaskAbortedError:
        LOG.info('Image %s was imported again meanwhile', conversion.image_id)
        staging.remove_raw(conversion.staged, conversion.task_id)
        return
    if status == 'importing':
        with wrapper as action:
            stores = action.image_extra_properties.get(
                action.IMPORTING_STORES_KEY, '').split(',')
            set_back(action, stores, failed=True)
        status = 'queued'
    if status == 'queued':
        staging.remove_raw(conversion.staged)
        staging.remove(conversion.staged)
    task_messages.fail(glance.get_task_repo(admin), conversion.task_id,
                       MESSAGE)
    wrapper.drop_lock_for_task()


def set_back(action: Any, stores: Sequence[str], failed: bool) -> None:
    """Queue an image again, as Glance's tasks do after a failure.

    :param stores: to which the image was to be imported
    :param failed: whether they are to be noted as failed
    """
    if action.image_status == 'importing':
        action.set_image_attribute(status='queued')
    action.remove_importing_stores(stores)
    if failed:
        action.add_failed_stores(stores)

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

"""The imports of a Glance, and what it tells about how they are set up."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import service
from glance_xs_convert.migrate import tasks as tasks_

_DATA_TYPE = 'application/octet-stream'


class Imports:
    """The imports of a Glance.

    :param glance: the image service
    """

    def __init__(self, glance: service.Service) -> None:
        self._glance = glance

    def methods(self) -> list[str]:
        """Return the import methods that users can choose from."""
        info = self._glance.get('/info/import')
        return [str(name) for name in info['import-methods']['value']]

    def stores(self) -> list[str]:
        """Return the names of the writable stores.

        The list is empty if stores have no names.
        """
        try:
            found = self._glance.get('/info/stores')['stores']
        except errors.NotFound:
            return []
        return [store['id'] for store in found if not store.get('read-only')]

    def usage(self) -> dict[str, dict[str, int]]:
        """Return the user's quotas: of each, the limit and the usage.

        The dictionary is empty if Glance has none.
        """
        try:
            return dict(self._glance.get('/info/usage')['usage'])
        except errors.NotFound:
            return {}

    def tasks(self, image_id: str) -> Sequence[tasks_.Task]:
        """Return the tasks of an image that the user may see."""
        try:
            found = self._glance.get(images.path(image_id, 'tasks'))
        except errors.NotFound:
            return []
        return [tasks_.Task.of(task) for task in found.get('tasks', [])]

    def stage(self, image_id: str, data: Any, size: int) -> None:
        """Upload data to the staging area, in one attempt.

        :param data: file with a length
        :raises Unreachable: the upload failed, or its answer was lost
        """
        self._glance.change(
            'PUT', images.path(image_id, 'stage'), data=data, once=True,
            headers={'Content-Type': _DATA_TYPE,
                     'X-OpenStack-Image-Size': str(size)})

    def begin(self, image_id: str, method: Mapping[str, Any],
              stores: Iterable[str] = ()) -> None:
        """Begin an import.

        :param method: the import method's name and its arguments
        :raises Conflict: another import of the image is under way
        """
        body: dict[str, Any] = {'method': dict(method)}
        if stores:
            body['stores'] = list(stores)
        self._glance.change(
            'POST', images.path(image_id, 'import'), json=body)

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

"""Which servers, volumes and images refer to an image.

This module queries Nova and Cinder if the cloud has them. A migration needs
neither: if one of them is missing or fails, its references are not known.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import service
from glance_xs_convert import text

_PAGE = 500

_References = Iterable[tuple[str, str | None]]


class Users:
    """The references to images, each as a word and an ID.

    :param cloud: the cloud
    :param images: IDs of the images that matter, and the project that owns
                   each
    :param snapshots: whether to look for images made of servers, too. Any
                      image can claim to be one, so only those of the same
                      project count
    """

    def __init__(self, cloud: cloud_.Cloud, images: Mapping[str, str | None],
                 snapshots: bool = False) -> None:
        self._cloud = cloud
        self._owners = images
        self._users: dict[str, list[str]] = {image: [] for image in images}
        #: What could not be asked, and why.
        self.unseen: list[str] = []
        if self._users:
            self._ask('servers', self._servers)
            self._ask('volumes', self._volumes)
            if snapshots:
                self._ask('images', self._snapshots)

    def of(self, image_id: str) -> list[str]:
        """Return what refers to an image, for example ``server 1234``."""
        return self._users.get(image_id, [])

    def _ask(self, what: str, call: Callable[[], _References]) -> None:
        try:
            for user, image_id in call():
                if image_id in self._users:
                    self._users[image_id].append(text.printable(user))
        except Exception as error:
            # The other services come in all kinds and versions.
            self.unseen.append(f'{what}: {text.one_line(error)}')

    def _servers(self) -> Iterator[tuple[str, str | None]]:
        for server in self._listed('compute', 'servers'):
            yield f'server {server["id"]}', (
                server.get('image') or {}).get('id')

    def _volumes(self) -> Iterator[tuple[str, str | None]]:
        for volume in self._listed('block-storage', 'volumes'):
            yield f'volume {volume["id"]}', (
                volume.get('volume_image_metadata') or {}).get('image_id')

    def _listed(self, kind: str, what: str) -> Iterator[dict[str, Any]]:
        """Yield what a service lists.

        :param kind: type of the service
        :param what: name of the list
        """
        asked = self._cloud.service(kind)
        if asked is None:
            return
        query = {'limit': str(_PAGE)}
        if self._cloud.is_admin:
            query['all_tenants'] = 'True'
        while True:
            found = _page(asked, f'/{what}/detail', query)[what]
            yield from found
            if not found:
                return
            if found[-1]['id'] == query.get('marker'):
                raise errors.RequestRefused(
                    'the same page of the list follows itself')
            query['marker'] = found[-1]['id']

    def _snapshots(self) -> Iterator[tuple[str, str | None]]:
        for image in self._cloud.images.listed_both():
            base = image.get('base_image_ref')
            if isinstance(base, str) and base in self._owners and (
                    image['owner'] == self._owners[base]):
                yield f'image {image["id"]}', base


def _page(asked: service.Service, path: str, query: dict[str, str],
          ) -> dict[str, Any]:
    """Return a page of a list: a smaller one if it would be too long."""
    while True:
        try:
            return asked.get(path, params=query)
        except errors.AnswerTooLong:
            if query['limit'] == '1':
                raise
            query['limit'] = str(max(int(query['limit']) // 4, 1))

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
from typing import Any

from glance_xs_convert.migrate import cloud as cloud_

Pairs = Iterable[tuple[str, str | None]]


class Users:
    """What refers to images, each as a word and an id.

    :param cloud: the cloud
    :param images: the ids of the images that matter
    :param snapshots: whether to look for images made of servers, too
    """

    def __init__(self, cloud: cloud_.Cloud, images: Iterable[str],
                 snapshots: bool = False) -> None:
        self._cloud = cloud
        self._users: dict[str, list[str]] = {image: [] for image in images}
        #: What could not be asked, and why.
        self.unseen: list[str] = []
        if self._users:
            self._ask('servers', 'compute', self._servers)
            self._ask('volumes', 'block-storage', self._volumes)
            if snapshots:
                self._ask('images', 'image', self._images)

    def of(self, image_id: str) -> list[str]:
        """What refers to an image, for example ``server 1234``."""
        return self._users.get(image_id, [])

    def _ask(self, what: str, service: str, call: Callable[[], Pairs],
             ) -> None:
        try:
            if not self._cloud.connection.has_service(service):
                return
            for user, image_id in call():
                if image_id in self._users:
                    self._users[image_id].append(user)
        except Exception as error:
            # The other services come in all kinds and versions.
            self.unseen.append(f'{what}: {" ".join(str(error).split())}')

    def _all_projects(self) -> dict[str, Any]:
        return {'all_projects': True} if self._cloud.is_admin else {}

    def _servers(self) -> Iterator[tuple[str, str | None]]:
        compute = self._cloud.connection.compute
        for server in compute.servers(**self._all_projects()):
            yield f'server {server.id}', (server.image or {}).get('id')

    def _volumes(self) -> Iterator[tuple[str, str | None]]:
        storage = self._cloud.connection.block_storage
        for volume in storage.volumes(**self._all_projects()):
            metadata = volume.volume_image_metadata or {}
            yield f'volume {volume.id}', metadata.get('image_id')

    def _images(self) -> Iterator[tuple[str, str | None]]:
        for hidden in ('false', 'true'):
            for image in self._cloud.images(os_hidden=hidden):
                yield f'image {image["id"]}', image.get('base_image_ref')

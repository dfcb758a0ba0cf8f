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

"""The methods of importing the old image's archive into the new image."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import remote

AUTO = 'auto'
DOWNLOAD = 'glance-download'
DIRECT = 'glance-direct'
CHOICES = (AUTO, DOWNLOAD, DIRECT)

#: Is called with how many bytes of an archive were uploaded.
Uploaded = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Download:
    """The hosts of the cloud download from their own region.

    :ivar region: of the image service
    :ivar interface: of the endpoint that the hosts use
    """

    region: str
    interface: str
    name: str = DOWNLOAD

    def begin(self, cloud: cloud_.Cloud, old: cloud_.Image, new_id: str,
              stores: Sequence[str], uploaded: Uploaded) -> None:
        """Begin the import of a new image that is queued."""
        cloud.begin_import(new_id, {
            'name': DOWNLOAD,
            'glance_region': self.region,
            'glance_image_id': old['id'],
            'glance_service_interface': self.interface,
        }, stores)


@dataclasses.dataclass(frozen=True)
class Direct:
    """The archive is streamed through the client to the staging area."""

    name: str = DIRECT

    def begin(self, cloud: cloud_.Cloud, old: cloud_.Image, new_id: str,
              stores: Sequence[str], uploaded: Uploaded) -> None:
        """Stage the data of a new image that is queued, and import it."""
        size = old['size']
        with remote.RemoteFile(cloud, old['id'], size) as archive:
            cloud.stage(new_id, _Counted(archive, uploaded), size)
        self.begin_staged(cloud, new_id, stores)

    def begin_staged(self, cloud: cloud_.Cloud, new_id: str,
                     stores: Sequence[str]) -> None:
        """Begin the import of a new image whose data is staged."""
        cloud.begin_import(new_id, {'name': DIRECT}, stores)


Method = Download | Direct


class _Counted(remote.OneWay):
    """An archive that is uploaded, with a count of its bytes."""

    def __init__(self, source: remote.RemoteFile, uploaded: Uploaded) -> None:
        super().__init__(source)
        self._uploaded = uploaded
        self._count = 0

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._count += count
        self._uploaded(self._count)
        return count


def choose(cloud: cloud_.Cloud, wanted: str, interface: str | None = None,
           ) -> Method:
    """The method for this cloud.

    :param wanted: one of ``CHOICES``
    :param interface: of the endpoint that the cloud's hosts download from
    :raises CannotMigrate: it is not enabled
    """
    enabled = cloud.import_methods()
    region = cloud.region()
    if wanted in (AUTO, DOWNLOAD) and DOWNLOAD in enabled and region:
        return Download(region, interface or cloud.interface)
    if wanted == DOWNLOAD and DOWNLOAD in enabled:
        raise errors.CannotMigrate(
            'glance-download needs the name of the region: give it with '
            '--os-region-name')
    if wanted in (AUTO, DIRECT) and DIRECT in enabled:
        return Direct()
    raise errors.CannotMigrate(
        'this cloud does not enable the import method '
        f'{DOWNLOAD + " or " + DIRECT if wanted == AUTO else wanted}; it '
        f'enables {", ".join(enabled) or "none"}')

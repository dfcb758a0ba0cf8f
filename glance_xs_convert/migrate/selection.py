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

"""The operator's selection of images."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import fnmatch

from glance_xs_convert.migrate import images as images_
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import record

ARCHIVE = ('vhd', 'ovf')
BARE = ('vhd', 'bare')


@dataclasses.dataclass(frozen=True)
class Selection:
    """The images to consider, all of them by default.

    :ivar images: IDs or names. A UUID is an ID, and everything else is a name
    :ivar project: ID of the project that owns the images
    :ivar name: pattern for names, with ``*``, ``?`` and ``[]``
    :ivar properties: property values that images must have
    :ivar bare: whether bare VHDs are candidates, too
    :ivar drop_signature: whether to migrate signed images without a signature
    """

    images: Sequence[str] = ()
    project: str | None = None
    name: str | None = None
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bare: bool = False
    drop_signature: bool = False

    def holds(self, image: images_.Image) -> bool:
        """Whether an image is selected, apart from IDs and names."""
        if self.project is not None and image['owner'] != self.project:
            return False
        if self.name is not None and not fnmatch.fnmatchcase(
                image['name'] or '', self.name):
            return False
        return all(str(image.get(name)) == value
                   for name, value in self.properties.items())

    def is_candidate(self, image: images_.Image) -> bool:
        """Whether an image is declared as a XenServer image."""
        return formats(image) == ARCHIVE or (
            self.bare and formats(image) == BARE)


def formats(image: images_.Image) -> tuple[str | None, str | None]:
    """Return the format of the disk and that of its container."""
    return image['disk_format'], image['container_format']


def obstacle(old: images_.Image, drop_signature: bool) -> str:
    """Return the reason why an image cannot be migrated now, or ''.

    :param drop_signature: whether the new image may lack the signature
    """
    if not names.is_id(old['id']):
        return 'its ID is not a UUID, so Glance cannot import from it'
    if old['status'] != 'active':
        return f'its status is {old["status"]}'
    if record.is_signed(old) and not drop_signature:
        return ('it is signed, and the signature of the archive does not '
                'apply to the disk: use --drop-signature to migrate it '
                'without the signature')
    return ''

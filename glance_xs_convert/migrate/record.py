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

"""What a new image gets from the old one."""

from collections.abc import Iterable
from collections.abc import Mapping
import json
from typing import Any

from glance_xs_convert import limits
from glance_xs_convert.migrate import cloud
from glance_xs_convert.migrate import names

Change = dict[str, Any]

#: What Glance itself says about an image.
_ATTRIBUTES = frozenset((
    'checksum', 'container_format', 'created_at', 'direct_url', 'disk_format',
    'file', 'id', 'locations', 'min_disk', 'min_ram', 'name', 'os_hash_algo',
    'os_hash_value', 'os_hidden', 'owner', 'protected', 'schema', 'self',
    'size', 'status', 'stores', 'tags', 'updated_at', 'virtual_size',
    'visibility'))
_RESERVED_PREFIX = 'os_glance_'
_SIGNATURE_PREFIX = 'img_signature'
#: What is copied as it is.
_COPIED_ATTRIBUTES = ('name', 'min_ram', 'os_hidden', 'protected', 'tags')
SHARED = 'shared'
PRIVATE = 'private'


def is_signed(image: cloud.Image) -> bool:
    """Whether the image has a signature of its data."""
    return any(name.startswith(_SIGNATURE_PREFIX) for name in image)


def properties(image: cloud.Image) -> dict[str, Any]:
    """The properties of an image that a new one gets.

    Not a signature: it is one of the archive.
    """
    return {name: value for name, value in image.items()
            if name not in _ATTRIBUTES and name not in names.OWN
            and not name.startswith((_RESERVED_PREFIX, _SIGNATURE_PREFIX))}


def first(old: cloud.Image, new_id: str, foreign: bool) -> dict[str, Any]:
    """The initial attributes of a new image: private and hidden.

    :param foreign: whether the old image belongs to a project other than the
                    user's, so that the owner must be set
    """
    copied = properties(old)
    made = {
        **copied,
        'id': new_id,
        'name': old['name'],
        'disk_format': old['disk_format'],
        'container_format': old['container_format'],
        'visibility': PRIVATE,
        'os_hidden': True,
        'min_disk': old['min_disk'],
        'min_ram': old['min_ram'],
        'tags': sorted(old['tags']),
        names.MIGRATING: old['id'],
        names.COPIED: json.dumps(sorted(copied)),
    }
    if foreign:
        made['owner'] = old['owner']
    return made


def last(old: cloud.Image, new: cloud.Image, more: Mapping[str, str],
         ) -> list[Change]:
    """The changes that complete the new image and publish it to its users.

    They do not restore the properties that the import plugin has removed.

    :param old: current state of the old image
    :param new: current state of the new image
    :param more: further properties
    """
    wanted = {name: old[name] for name in _COPIED_ATTRIBUTES}
    wanted['visibility'] = old['visibility']
    wanted['min_disk'] = max(old['min_disk'], -(-new['size'] // limits.GIB))
    copied = set(json.loads(new.get(names.COPIED, '[]')))
    now = properties(old)
    taken_off = copied - set(new)
    wanted |= {name: value for name, value in now.items()
               if name not in taken_off}
    wanted |= {names.SOURCE: old['id'], **more}
    gone = [name for name in (*copied, *names.PROVISIONAL)
            if name in new and name not in wanted]
    return [*changes(new, wanted), *removals(gone)]


def changes(image: cloud.Image, wanted: Mapping[str, Any]) -> list[Change]:
    """The operations that give an image attributes and properties."""
    return [{'op': 'replace' if name in image else 'add',
             'path': _path(name), 'value': value}
            for name, value in wanted.items()
            if name not in image or not _equal(name, image[name], value)]


def removals(gone: Iterable[str]) -> list[Change]:
    """The operations that take properties off an image that has them."""
    return [{'op': 'remove', 'path': _path(name)} for name in sorted(gone)]


def _equal(name: str, one: Any, other: Any) -> bool:
    if name == 'tags':
        return sorted(one) == sorted(other)
    return bool(one == other)


def _path(name: str) -> str:
    return '/' + name.replace('~', '~0').replace('/', '~1')

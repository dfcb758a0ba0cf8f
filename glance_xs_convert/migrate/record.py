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

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import names
from glance_xs_convert import terms
from glance_xs_convert import units

Change = dict[str, Any]

#: What Glance itself says about an image.
_ATTRIBUTES = frozenset((
    'checksum', 'container_format', 'created_at', 'direct_url', 'disk_format',
    'file', 'id', 'locations', 'min_disk', 'min_ram', 'name', 'os_hash_algo',
    'os_hash_value', 'os_hidden', 'owner', 'protected', 'schema', 'self',
    'size', 'status', 'stores', 'tags', 'updated_at', 'virtual_size',
    'visibility'))
#: What is copied as it is.
_COPIED_ATTRIBUTES = ('name', 'min_ram', 'os_hidden', 'protected', 'tags')
SHARED = 'shared'
PRIVATE = 'private'


def is_signed(image: images.Image) -> bool:
    """Whether the image has a signature of its data."""
    return any(name.startswith(terms.SIGNATURE_PREFIX) for name in image)


def properties(image: images.Image) -> dict[str, Any]:
    """Return the properties of an image that a new one gets.

    A signature is not one of them, since it applies to the archive.
    """
    return {name: value for name, value in image.items()
            if name not in _ATTRIBUTES and name not in names.OWN
            and not name.startswith((terms.RESERVED_PREFIX,
                                     terms.SIGNATURE_PREFIX))}


def initial_attributes(old: images.Image, is_foreign: bool) -> dict[str, Any]:
    """Return the initial attributes of a new image: private and hidden.

    :param is_foreign: whether the owner must be set, because the old image
                       belongs to another project than the user's
    """
    copied = properties(old)
    made = {
        **copied,
        'name': old['name'],
        'disk_format': old['disk_format'],
        'container_format': old['container_format'],
        'visibility': PRIVATE,
        'os_hidden': True,
        'min_disk': old['min_disk'],
        'min_ram': old['min_ram'],
        'tags': sorted(old['tags']),
        names.COPIED: json.dumps(sorted(copied)),
    }
    if is_foreign:
        made['owner'] = old['owner']
    return made


def final_changes(old: images.Image, new: images.Image,
                  more: Mapping[str, str]) -> list[Change]:
    """Return the changes that complete the new image and publish it.

    They do not restore the properties that the import plugin has removed.

    :param old: current state of the old image
    :param new: current state of the new image
    :param more: further properties
    """
    wanted = {name: old[name] for name in _COPIED_ATTRIBUTES}
    wanted['visibility'] = old['visibility']
    wanted['min_disk'] = max(old['min_disk'], -(-new['size'] // units.GIB))
    copied = set(annotations.of(new).copied)
    now = properties(old)
    removed = copied - set(new)
    notes = annotations.of(new)
    if notes.adapted_by or notes.not_adapted:
        # The devices of a guest on Xen are not those of the adapted one.
        removed |= {name for name in names.DEVICES if name in new}
    wanted |= {name: value for name, value in now.items()
               if name not in removed}
    wanted |= {names.SOURCE: old['id'], **more}
    gone = [name for name in (*copied & set(properties(new)),
                              *names.PROVISIONAL)
            if name in new and name not in wanted and name not in removed]
    return [*changes(new, wanted), *removals(gone)]


def changes(image: images.Image, wanted: Mapping[str, Any]) -> list[Change]:
    """Return the operations that give an image attributes and properties."""
    return [{'op': 'replace' if name in image else 'add',
             'path': _path(name), 'value': value}
            for name, value in wanted.items()
            if name not in image or not _equal(name, image[name], value)]


def removals(gone: Iterable[str]) -> list[Change]:
    """Return the operations that remove properties that an image has."""
    return [{'op': 'remove', 'path': _path(name)} for name in sorted(gone)]


def _equal(name: str, one: Any, other: Any) -> bool:
    if name == 'tags':
        return sorted(one) == sorted(other)
    return bool(one == other)


def _path(name: str) -> str:
    return '/' + name.replace('~', '~0').replace('/', '~1')

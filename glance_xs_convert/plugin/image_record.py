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

"""The changes of a conversion to an image's record, and how to undo them.

Source for the possible changes: Glance, ``_ImportActions`` in
``async_/flows/api_image_import.py``.
"""

from collections.abc import Iterable
import dataclasses
import fnmatch
from typing import Any

from glance_xs_convert.worker import protocol

#: Properties with this prefix are Glance's own.
_RESERVED_PREFIX = 'os_glance_'
#: Properties with this prefix record the origin of an image.
PROVENANCE_PREFIX = 'xs_convert_'
#: The property with the user's choice of a disk.
_DISK = 'xs_convert_disk'
_FIRMWARE = 'hw_firmware_type'
#: The number of characters after which Nova cuts a property off.
_LONGEST = 255


@dataclasses.dataclass(frozen=True)
class Change:
    """A change to an image's record.

    :ivar attributes: new values of attributes, by name
    :ivar properties: new values of properties; None removes a property
    """

    attributes: dict[str, Any]
    properties: dict[str, str | None]

    def apply(self, action: Any) -> None:
        """Change the record.

        :param action: the context of Glance's ImportActionWrapper
        """
        action.set_image_attribute(**self.attributes)
        for name, value in self.properties.items():
            if value is None:
                action.pop_extra_property(name)
        action.set_image_extra_properties(
            {name: value for name, value in self.properties.items()
             if value is not None})

    def inverse(self, action: Any) -> 'Change':
        """Return the change that undoes this one.

        :param action: see ``apply``, which must not have been called yet
        """
        properties = action.image_extra_properties
        return Change(
            attributes={
                'disk_format': action.image_disk_format,
                'container_format': action.image_container_format,
                'size': action.image_size,
                # Glance does not show it, but it is unset before.
                'virtual_size': None},
            properties={
                name: properties.get(name) for name in self.properties})


def conversion(action: Any, outcome: protocol.Outcome, *,
               remove: Iterable[str], provenance: bool) -> Change:
    """Return the change that turns the record into that of the raw disk.

    :param action: see ``Change.apply``
    :param remove: patterns of the names of properties to remove
    :param provenance: whether to record the origin of the image
    """
    patterns = list(remove)
    properties: dict[str, str | None] = {
        name: None for name in action.image_extra_properties
        if _is_unwanted(name, patterns)}
    if provenance:
        properties |= {
            f'{PROVENANCE_PREFIX}source_format':
                f'{action.image_disk_format}/'
                f'{action.image_container_format}',
            f'{PROVENANCE_PREFIX}layers': str(outcome.layers),
            f'{PROVENANCE_PREFIX}archive_size': str(outcome.source_size),
            f'{PROVENANCE_PREFIX}archive_sha256': outcome.source_sha256,
        }
    if provenance and outcome.guest is not None:
        properties |= _guest_properties(outcome.guest)
    if (outcome.guest is not None and outcome.guest.firmware is not None
            and _FIRMWARE not in action.image_extra_properties):
        properties[_FIRMWARE] = outcome.guest.firmware
    return Change(
        attributes={'disk_format': 'raw', 'container_format': 'bare',
                    'size': outcome.virtual_size,
                    'virtual_size': outcome.virtual_size},
        properties=properties)


def wanted_disk(image: Any) -> str | None:
    """Return the disk that the user has chosen for an export, if any.

    :param image: Glance's record of the image
    """
    # Glance's own mapping lacks the methods of a dictionary.
    chosen: str | None = dict(image.extra_properties).get(_DISK)
    return chosen


def _guest_properties(guest: protocol.Guest) -> dict[str, str]:
    """Return the properties that describe an export's virtual machine."""
    return {f'{PROVENANCE_PREFIX}{name}': value[:_LONGEST]
            for name, value in (('vm_name', guest.name),
                                ('product', guest.product)) if value}


def _is_unwanted(name: str, patterns: list[str]) -> bool:
    """Whether to remove a property from converted images."""
    return not name.startswith(_RESERVED_PREFIX) and any(
        fnmatch.fnmatchcase(name.replace('-', '_'), pattern.replace('-', '_'))
        for pattern in patterns)

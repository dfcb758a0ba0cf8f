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

"""The changes of a conversion to an image's record."""

from collections.abc import Container
from collections.abc import Iterable
import fnmatch
from typing import Any

from glance_xs_convert.recovery import records
from glance_xs_convert import results
from glance_xs_convert import terms

#: Properties with this prefix record the origin of an image.
_PROVENANCE_PREFIX = 'xs_convert_'
#: The property with the firmware that the guest needs.
FIRMWARE = 'hw_firmware_type'
_SOURCE_FORMAT = f'{_PROVENANCE_PREFIX}source_format'
_LAYERS = f'{_PROVENANCE_PREFIX}layers'
_ARCHIVE_SHA256 = f'{_PROVENANCE_PREFIX}archive_sha256'
_VM_NAME = f'{_PROVENANCE_PREFIX}vm_name'
_PRODUCT = f'{_PROVENANCE_PREFIX}product'
#: The properties that record the origin of every image, and those that
#: describe the guest of an export.
PROVENANCE = (_SOURCE_FORMAT, _LAYERS, terms.ARCHIVE_SIZE, _ARCHIVE_SHA256)
GUEST = (_VM_NAME, _PRODUCT)
#: The number of characters after which Nova cuts a property off.
_LONGEST = 255


def conversion(action: Any, outcome: results.ConversionResult, *,
               remove: Iterable[str], writable: Container[str],
               quota: int = -1) -> records.RecordChange:
    """Return the change that turns the record into that of the raw disk.

    :param action: see :meth:`.records.RecordChange.apply`
    :param remove: patterns of the names of properties to remove
    :param writable: names of the properties that may be set
    :param quota: number of properties that an image may have; negative for
                  any. What describes the guest is left out beyond it.
    """
    patterns = list(remove)
    before = action.image_extra_properties
    properties: dict[str, str | None] = {
        name: None for name in before if _is_unwanted(name, patterns)}
    added = {
        _SOURCE_FORMAT: f'{action.image_disk_format}/'
                        f'{action.image_container_format}',
        _LAYERS: str(outcome.layer_count),
        terms.ARCHIVE_SIZE: str(outcome.source_size),
        _ARCHIVE_SHA256: outcome.source_sha256,
    }
    if outcome.guest is not None:
        added |= _guest_properties(outcome.guest, before)
    count = len(counted(before, patterns))
    for name, value in added.items():
        is_new = name not in before or name in properties
        has_room = count < quota or quota < 0 or not is_new
        if name in writable and (has_room or name in PROVENANCE):
            properties[name] = value
            count += is_new
    return records.RecordChange(
        attributes={'disk_format': 'raw', 'container_format': 'bare',
                    'size': outcome.virtual_size,
                    'virtual_size': outcome.virtual_size},
        properties=properties)


def counted(properties: Iterable[str], remove: Iterable[str]) -> set[str]:
    """Return the names that count for Glance's quota after the conversion.

    :param properties: names of an image's properties
    :param remove: patterns of the names of properties to remove
    """
    patterns = list(remove)
    return {name for name in properties
            if not name.startswith(terms.RESERVED_PREFIX)
            and not _is_unwanted(name, patterns)}


def wanted_disk(image: Any) -> str | None:
    """Return the disk that the user has chosen for an export, if any.

    :param image: Glance's record of the image
    """
    # Glance's own mapping lacks the methods of a dictionary.
    chosen: str | None = dict(image.extra_properties).get(terms.DISK)
    return chosen


def _guest_properties(guest: results.Guest, before: Container[str],
                      ) -> dict[str, str]:
    """Return the properties that describe an export's virtual machine.

    :param before: names of the image's properties; the user's choice of a
                   firmware counts
    """
    firmware = guest.firmware if FIRMWARE not in before else None
    return {name: value[:_LONGEST] for name, value in (
        (FIRMWARE, firmware), (_VM_NAME, guest.name),
        (_PRODUCT, guest.exporter)) if value}


def _is_unwanted(name: str, patterns: list[str]) -> bool:
    """Whether to remove a property from converted images."""
    return not name.startswith(terms.RESERVED_PREFIX) and any(
        fnmatch.fnmatchcase(name.replace('-', '_'), pattern.replace('-', '_'))
        for pattern in patterns)

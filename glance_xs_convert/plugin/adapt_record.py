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
"""The changes of adapting a guest to its image's record."""

from collections.abc import Mapping
import dataclasses

from oslo_utils import strutils

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import properties
from glance_xs_convert import terms
from glance_xs_convert import text

#: The number of characters after which Nova cuts a property off.
_LONGEST = 255

Properties = Mapping[str, str]


def asked(found: Properties) -> bool | None:
    """Return whether the owner wants it adapted; None if nothing was said.

    A value that means neither yes nor no says nothing.

    :param found: the image's properties
    """
    try:
        return bool(strutils.bool_from_string(found.get(terms.ADAPT, ''),
                                              strict=True))
    except ValueError:
        return None


def adapted(found: Properties, guest: adapt.Adapted, sha512: str,
            ) -> dict[str, str | None]:
    """Return the new properties for an adapted guest.

    :param found: the image's properties
    :param guest: what was found and done
    :param sha512: SHA-512 of the disk before that
    :returns: values by name; None removes a property
    """
    gone = {name: None for name, value in found.items()
            if properties.is_xen_only(name, value)
            or name == terms.NOT_ADAPTED}
    firmware = found.get(properties.FIRMWARE)
    if firmware in (adapt.BIOS, adapt.UEFI):
        guest = dataclasses.replace(guest, firmware=firmware)
    return {
        **gone,
        **_missing(properties.of_guest(guest), found, gone),
        terms.ADAPTED_BY: guest.tool[:_LONGEST],
        terms.DISK_SHA512: sha512,
    }


def unadapted(found: Properties, error: exceptions.XsConvertError,
              firmware: str) -> dict[str, str | None]:
    """Return the new properties for a guest that stays as it is.

    :param found: the image's properties
    :param error: the reason
    :param firmware: what the disk boots with
    """
    devices = properties.of_unadapted(
        error, found.get(properties.FIRMWARE, firmware) == adapt.UEFI)
    gone = {name: None for name, value in found.items()
            if devices and properties.is_xen_only(name, value)}
    reason = text.printable(str(error), _LONGEST - len(error.kind) - 5)
    return {
        **gone,
        **_missing(devices, found, gone),
        terms.NOT_ADAPTED: text.tagged(f'{reason}.', error.kind),
    }


def _missing(wanted: Properties, found: Properties,
             gone: Mapping[str, None]) -> dict[str, str]:
    """Return those properties that the image does not have."""
    return {name: value for name, value in wanted.items()
            if name not in found or name in gone}

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

"""Changes to an image's record, and how to undo them.

Source for the possible changes: Glance, ``_ImportActions`` in
``async_/flows/api_image_import.py``.
"""

import dataclasses
from typing import Any

from glance_xs_convert.recovery import interfaces


@dataclasses.dataclass(frozen=True)
class RecordChange:
    """A change to an image's record.

    :ivar attributes: new values of attributes, by name
    :ivar properties: new values of properties; None removes a property
    """

    attributes: dict[str, Any]
    properties: dict[str, str | None]

    def apply(self, action: interfaces.ImportActions) -> None:
        """Change the record.

        :param action: what Glance's ImportActionWrapper yields
        """
        action.set_image_attribute(**self.attributes)
        for name, value in self.properties.items():
            if value is None:
                action.pop_extra_property(name)
        action.set_image_extra_properties(
            {name: value for name, value in self.properties.items()
             if value is not None})

    def inverse(self, action: interfaces.ImportActions) -> 'RecordChange':
        """Return the change that undoes this one.

        :param action: see ``apply``, which must not have been called yet
        """
        properties = action.image_extra_properties
        return RecordChange(
            attributes={
                'disk_format': action.image_disk_format,
                'container_format': action.image_container_format,
                'size': action.image_size,
                # Glance does not show it, but it is unset before.
                'virtual_size': None},
            properties={
                name: properties.get(name) for name in self.properties})

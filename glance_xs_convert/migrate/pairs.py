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

"""Which images belong together.

A new image belongs to an old one if its ID was derived from that of the old
one, if the same project owns both, and if its annotation names the old one.
The two are a pair, complete, if the old one names the new one, too.

Neither a snapshot nor a copy of an image meets this, since its ID is a random
one, nor does an image in another project, whatever ID and properties it has.
"""

from collections.abc import Mapping
from typing import Any

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import names

_Image = Mapping[str, Any]


def belongs(old: _Image, new: _Image) -> bool:
    """Whether an image is a new image of an old one, in whatever state."""
    return (new['owner'] == old['owner']
            and annotations.of(new).old_id == old['id']
            and names.attempt_of(old['id'], new['id']) is not None)


def is_current(old: _Image, new: _Image) -> bool:
    """Whether an image is a new one that undo has not withdrawn."""
    found = annotations.of(new)
    return belongs(old, new) and not found.undone and not found.kept


def is_complete(old: _Image, new: _Image) -> bool:
    """Whether an old and a new image name each other."""
    return (is_current(old, new)
            and annotations.of(new).source == old['id']
            and annotations.of(old).replaced_by == new['id'])


def replacement(old: _Image) -> str | None:
    """Return the ID of the new image that an old one names.

    :returns: None if it names none, or one that was not derived from it
    """
    new_id = annotations.of(old).replaced_by
    if new_id and names.attempt_of(old['id'], new_id) is None:
        return None
    return new_id

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
"""Data that was staged for an image under another name than its ID.

Some databases, such as MariaDB, do not distinguish capitals or accents: they
find an image by an ID that differs in these. Glance stages data under the name
that stands in the request's path, and no other request would find it again.
"""

import os
from typing import Any
import unicodedata

from glance.common import exception as glance_exception

from glance_xs_convert.recovery import staging


def remove(staged: str, image: Any, image_repo: Any) -> None:
    """Remove an image's data under other names, during its import.

    Nobody else can stage data for the image until the import ends.

    :param staged: path of the data that is imported
    :param image: Glance's record of the image
    :param image_repo: Glance's repository of images
    """
    directory, own = os.path.split(staged)
    alike = _folded(image.image_id)
    for name in os.listdir(directory):
        if (name != own and _folded(name) == alike
                and _is_name_of(name, image, image_repo)):
            staging.remove(os.path.join(directory, name))


def _is_name_of(name: str, image: Any, image_repo: Any) -> bool:
    """Whether the database finds the image by a name."""
    try:
        return bool(image_repo.get(name).image_id == image.image_id)
    except glance_exception.NotFound:
        return False


def _folded(name: str) -> str:
    """Return a name without what a database may overlook."""
    return ''.join(
        character for character in unicodedata.normalize('NFKD', name)
        if not unicodedata.combining(character)).casefold().strip()

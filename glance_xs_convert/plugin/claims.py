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

"""The claim to an import, which its process writes on a ticket.

The process holds the ticket from the request for the import, or at least from
when Glance asks for the plugin's flow, until the end of the import. A process
that finds the ticket without its holder can recover the import with it.
"""

from collections.abc import Sequence
import dataclasses
import json
import os

from glance_xs_convert.plugin import image_record

#: The suffix of the tickets' names.
SUFFIX = '.import'


@dataclasses.dataclass(frozen=True)
class Claim:
    """An import of an image.

    :ivar request_id: ID of the request for it, as in Glance's tasks
    :ivar staged: path of the image's staged data, which is named after the
                  image's ID
    :ivar task_id: ID of Glance's task, which locks the image; None as long as
                   it may not exist
    :ivar stores: names of the stores that the image is imported to; None
                  stands for Glance's only store
    :ivar undo: the change that undoes the conversion in the image's record;
                None if there is nothing to undo
    :raises ValueError: the path does not have the image's ID
    """

    image_id: str
    request_id: str
    staged: str
    task_id: str | None = None
    stores: Sequence[str | None] = ()
    undo: image_record.Change | None = None

    def __post_init__(self) -> None:
        if os.path.basename(self.staged) != self.image_id:
            raise ValueError(f'{self.staged} is not an image in staging')

    @property
    def staging(self) -> str:
        """The staging area, which identifies the Glance."""
        return os.path.dirname(self.staged)

    def text(self) -> str:
        """Return the text for a new ticket."""
        fields = dataclasses.asdict(self)
        return json.dumps(fields) + '\n'


def addition(undo: image_record.Change) -> str:
    """Return the text to add before the image's record changes."""
    return json.dumps({'undo': dataclasses.asdict(undo)}) + '\n'


def parsed(text: str) -> Claim:
    """Parse the claim on a ticket.

    Incomplete lines are ignored.

    :raises ValueError: the text is not a claim
    """
    fields = {}
    try:
        for line in text.splitlines(keepends=True):
            if line.endswith('\n'):
                fields.update(json.loads(line))
        if fields.get('undo') is not None:
            fields['undo'] = image_record.Change(**fields['undo'])
        return Claim(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from error

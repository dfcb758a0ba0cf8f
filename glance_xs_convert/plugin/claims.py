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

"""What a process says on a ticket of the import that it does.

The ticket is held from the request for the import, or at least from the
moment in which Glance asks for the plugin's flow, to the end of the import.
Whoever finds it without its holder knows from it what to set back.
"""

from collections.abc import Sequence
import dataclasses
import json
import os

from glance_xs_convert.plugin import image_record

#: Of the names of the tickets.
SUFFIX = '.import'


@dataclasses.dataclass(frozen=True)
class Claim:
    """An import of an image.

    :ivar request_id: of the request for it, as Glance's tasks have it
    :ivar staged: the path of the image's data in staging, the name of which
                  is the image's id
    :ivar task_id: of Glance's task, by which the image is locked; None as
                   long as there may be none
    :ivar stores: the names of those to which the image is imported; None
                  where Glance has but one
    :ivar undo: what the conversion changed in the image's record is undone
                by this; None if it changed nothing
    :raises ValueError: it is not so
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
        """The staging area: of another Glance if it is another one."""
        return os.path.dirname(self.staged)

    def text(self) -> str:
        """For a new ticket."""
        fields = dataclasses.asdict(self)
        return json.dumps(fields) + '\n'


def addition(undo: image_record.Change) -> str:
    """What is added to a ticket before the image's record is changed."""
    return json.dumps({'undo': dataclasses.asdict(undo)}) + '\n'


def parsed(text: str) -> Claim:
    """The claim on a ticket.

    A line that was not written to its end does not count.

    :raises ValueError: there is none
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

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

A ticket has one JSON object a line. The first one has the version of the
format and most fields; later ones add fields that were not known before. The
reader of a ticket may be older or newer than its writer, so it leaves alone
what it does not understand.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import math
import os
import secrets
import time
from typing import Any

from glance_xs_convert.recovery import records

#: The suffix of the tickets' names.
SUFFIX = '.import'

_VERSION = 1
#: The number of characters that Glance's database has for a request ID.
_LONGEST_REQUEST_ID = 64


class NothingWritten(ValueError):
    """A ticket has no complete line, because its host broke down."""


class NotUnderstood(ValueError):
    """A ticket was written by another version of this package."""


def _unique() -> str:
    """Return a short text that nobody else has or can guess."""
    return secrets.token_hex(10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim to an import of an image.

    :ivar staged: path of the image's staged data, which is named after the
                  image's ID
    :ivar token: identifies the claim
    :ivar begun: when the import began, in seconds since the epoch
    :ivar request_id: the request ID in the record of the import's task, which
                      no other task has; None if ``task_id`` was known from
                      the beginning
    :ivar task_id: ID of Glance's task, which locks the image; None as long as
                   it may not exist
    :ivar stores: names of the stores that the image is imported to; None
                  stands for Glance's only store
    :ivar undo: the change that undoes what the plugin changed in the image's
                record; None if it has not changed it
    :raises ValueError: the path does not have the image's ID
    """

    image_id: str
    staged: str
    token: str = dataclasses.field(default_factory=_unique)
    begun: float = dataclasses.field(default_factory=time.time)
    request_id: str | None = None
    task_id: str | None = None
    stores: Sequence[str | None] = dataclasses.field(default_factory=list)
    undo: records.RecordChange | None = None

    def __post_init__(self) -> None:
        if os.path.basename(self.staged) != self.image_id:
            raise ValueError(f'{self.staged} is not an image in staging')

    @property
    def staging(self) -> str:
        """The staging area, which identifies the Glance."""
        return os.path.dirname(self.staged)

    def text(self) -> str:
        """Return the text for a new ticket."""
        return _line({'version': _VERSION, **dataclasses.asdict(self)})


def unique_request_id(request_id: str) -> str:
    """Return a request ID that no other request has.

    A client may choose the ID of its requests, and use one for several.

    :param request_id: the client's ID, which the result begins with
    """
    rest = f'.{_unique()}'
    return request_id[:_LONGEST_REQUEST_ID - len(rest)] + rest


def task_addition(task_id: str, stores: Sequence[str | None]) -> str:
    """Return the text to add when the task of a request is known."""
    return _line({'task_id': task_id, 'stores': list(stores)})


def undo_addition(undo: records.RecordChange) -> str:
    """Return the text to add before the image's record changes."""
    return _line({'undo': dataclasses.asdict(undo)})


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields) + '\n'


def parsed(text: str) -> Claim:
    """Parse the claim on a ticket.

    An incomplete line at the end is ignored, because its writer was killed
    before it acted upon it.

    :raises NothingWritten: there is no complete line
    :raises NotUnderstood: the text has another format
    """
    lines = [line for line in text.splitlines(keepends=True)
             if line.endswith('\n')]
    if not lines or not text.strip('\0\n'):
        raise NothingWritten('the ticket has no content')
    fields: dict[str, Any] = {}
    for line in lines:
        try:
            fields.update(json.loads(line))
        except (TypeError, ValueError) as error:
            raise NotUnderstood('the ticket has an unknown format') from error
    version = fields.pop('version', None)
    if version != _VERSION:
        raise NotUnderstood(f'the ticket has version {version!r}')
    if 'begun' not in fields:
        raise NotUnderstood('the ticket does not say when the import began')
    return _checked(fields)


def _checked(fields: dict[str, Any]) -> Claim:
    """Make a claim of a ticket's fields.

    :raises NotUnderstood: there are other fields, or other types
    """
    try:
        if fields.get('undo') is not None:
            fields['undo'] = records.RecordChange(**fields['undo'])
        claim = Claim(**fields)
    except (TypeError, ValueError) as error:
        raise NotUnderstood('the ticket has unknown fields') from error
    if not _has_right_types(claim):
        raise NotUnderstood('the ticket has fields of unknown types')
    return claim


def _has_right_types(claim: Claim) -> bool:
    texts = [claim.image_id, claim.staged, claim.token, *(
        text for text in (claim.request_id, claim.task_id, *claim.stores)
        if text is not None)]
    mappings = [] if claim.undo is None else [
        claim.undo.attributes, claim.undo.properties]
    return (isinstance(claim.stores, list)
            and isinstance(claim.begun, float) and math.isfinite(claim.begun)
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(mapping, dict) for mapping in mappings))

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

"""The tasks of Glance that import an image, and what they say."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from glance_xs_convert import exceptions
from glance_xs_convert import text

SUCCESS = 'success'
FAILURE = 'failure'

#: What the cloud does not allow, whichever image it is.
_FOR_OPERATORS = (exceptions.NotPermitted, exceptions.QuotaExceeded)
#: What happens to one image in Glance, and not to the next one.
_OF_ONE_IMAGE = (exceptions.ImportAborted, exceptions.NotStored)

_LONGEST = 1000
_CONVERTED = re.compile(r'Converted .*\b([0-9]{1,18}) bytes')
_PERCENT = re.compile(r'([0-9]{1,3})\s?%')


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A task of Glance.

    :ivar message: message for people, safe to show
    :ivar kind: kind of the error that the message carries, or None
    """

    id: str
    status: str
    message: str
    kind: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> 'Task':
        """Read what Glance says of a task."""
        message = str(found.get('message') or '').strip()
        return cls(
            id=str(found.get('id')), status=str(found.get('status')),
            message=text.printable(message, _LONGEST),
            kind=text.tag_of(message),
            created_at=str(found.get('created_at')),
            updated_at=str(found.get('updated_at')))

    @property
    def has_ended(self) -> bool:
        """Whether the task has ended."""
        return self.status in (SUCCESS, FAILURE)

    @property
    def size(self) -> int | None:
        """The size of the disk in bytes, once it is converted."""
        found = _CONVERTED.match(self.message)
        return int(found[1]) if found else None

    @property
    def fraction(self) -> float | None:
        """The progress of a conversion, from 0 to 1, if it is known."""
        found = _PERCENT.search(self.message)
        return min(int(found[1]), 100) / 100 if found else None


def current(found: Iterable[Task], lock: str | None,
            ended_before: Collection[str]) -> Task | None:
    """Return the task that imports an image now, or did so last.

    Times do not tell which one it is: they have whole seconds.

    :param found: tasks of the image
    :param lock: ID of the task for which Glance has locked the image
    :param ended_before: IDs of tasks that had ended before the import began
    """
    left = [task for task in found if task.id not in ended_before]
    for task in left:
        if task.id == lock:
            return task
    return max(left, default=None, key=lambda task: (
        not task.has_ended, task.created_at, task.updated_at))


def blames_archive(kind: str | None) -> bool:
    """Whether every other import of the archive would fail, too.

    :param kind: kind of the error of an import
    """
    error = exceptions.by_kind(kind) if kind else None
    return (error is not None and not error.may_pass
            and not issubclass(error, (*_FOR_OPERATORS, *_OF_ONE_IMAGE)))


def concerns_operators(kind: str | None) -> bool:
    """Whether imports fail until somebody has changed the cloud."""
    error = exceptions.by_kind(kind) if kind else None
    return error is not None and issubclass(error, _FOR_OPERATORS)


def asks_for_patience(kind: str | None) -> bool:
    """Whether the host has so much to convert that it takes no more."""
    return kind == 'TooManyWaiting'

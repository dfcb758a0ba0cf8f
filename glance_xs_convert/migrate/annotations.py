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

"""The properties of a migration, parsed and checked.

Anybody may write any text into these properties, and they are found on images
that have nothing to do with a migration. So this module checks each of them,
and what does not have the right form counts as absent. Nothing here says that
two images belong together: see :mod:`.pairs`.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import json
import re
from typing import Any

from glance_xs_convert.migrate import names
from glance_xs_convert import terms
from glance_xs_convert import text

#: The most characters of a reason that are kept.
LONGEST_REASON = 1000
#: More characters than Glance stores in a property.
_LONGEST = 70000
#: More properties than an image has.
_MOST_COPIED = 1000
_LONGEST_NAME = 255

_NUMBER = re.compile(r'[0-9]{1,18}')
_TIME = re.compile(r'[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}Z')
_SUM = re.compile(r'[a-z0-9_]{1,32}:[0-9a-f]{32,128}')
_UPLOAD = re.compile(r'([0-9a-f]{32}) ([0-9]{1,9})')
_SHA512 = re.compile(r'[0-9a-f]{128}')
_RETIRED = frozenset((names.HIDDEN, names.DEACTIVATED, names.AWAITING))


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A command that uploads the archive of an image.

    :ivar token: a random name of the command
    :ivar beats: how often it has confirmed that it is still there
    """

    token: str
    beats: int = 0

    def __str__(self) -> str:
        return f'{self.token} {self.beats}'

    def next(self) -> 'Upload':
        """Return the annotation for the next confirmation."""
        return Upload(self.token, self.beats + 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Annotations:
    """The properties of one image; :mod:`.names` says what each means."""

    source: str | None = None
    migrating: str | None = None
    undone: str | None = None
    replaced_by: str | None = None
    retired: frozenset[str] = frozenset()
    kept: bool = False
    copied: tuple[str, ...] = ()
    upload: Upload | None = None
    failed: str = ''
    refused: str = ''
    verified: str = ''
    migrated_at: str = ''
    seconds: int | None = None
    archive_size: int | None = None
    adapted_by: str = ''
    not_adapted: str = ''
    disk_sum: str = ''

    @property
    def adapting(self) -> str:
        """What became of the guest, for people; empty if nobody asked."""
        if self.adapted_by:
            return f'adapted by {self.adapted_by}'
        return f'not adapted: {self.not_adapted}' if self.not_adapted else ''

    @property
    def old_id(self) -> str | None:
        """The ID of the old image, if this claims to be a new one."""
        return self.source or self.migrating or self.undone


def of(image: Mapping[str, Any]) -> Annotations:
    """Read the annotations of an image."""
    return Annotations(
        source=_id(image, names.SOURCE),
        migrating=_id(image, names.MIGRATING),
        undone=_id(image, names.UNDONE),
        replaced_by=_id(image, names.REPLACED_BY),
        retired=_retired(image),
        kept=_value(image, names.KEPT) == 'True',
        copied=_copied(image),
        upload=_upload(image),
        failed=_reason(image, names.FAILED),
        refused=_reason(image, names.REFUSED),
        verified=_matching(image, names.VERIFIED, _SUM),
        migrated_at=_time(image),
        seconds=_number(image, names.SECONDS),
        archive_size=_number(image, terms.ARCHIVE_SIZE),
        adapted_by=_short(image, terms.ADAPTED_BY),
        not_adapted=_reason(image, terms.NOT_ADAPTED),
        disk_sum=_matching(image, terms.DISK_SHA512, _SHA512))


def retired_text(words: frozenset[str]) -> str:
    """Return what was done to an old image as a property records it."""
    return ' '.join(sorted(words))


def now_text() -> str:
    """Return the present time as a property records it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime(
        '%Y-%m-%dT%H:%M:%SZ')


def _value(image: Mapping[str, Any], name: str) -> str:
    value = image.get(name)
    return value if isinstance(value, str) and len(value) < _LONGEST else ''


def _matching(image: Mapping[str, Any], name: str, form: re.Pattern[str],
              ) -> str:
    value = _value(image, name)
    return value if form.fullmatch(value) else ''


def _short(image: Mapping[str, Any], name: str) -> str:
    return text.printable(_value(image, name), _LONGEST_NAME)


def _id(image: Mapping[str, Any], name: str) -> str | None:
    value = _value(image, name)
    return value if names.is_id(value) else None


def _number(image: Mapping[str, Any], name: str) -> int | None:
    value = _matching(image, name, _NUMBER)
    return int(value) if value else None


def _time(image: Mapping[str, Any]) -> str:
    value = _matching(image, names.MIGRATED_AT, _TIME)
    try:
        datetime.datetime.fromisoformat(value.removesuffix('Z'))
    except ValueError:
        return ''
    return value


def _reason(image: Mapping[str, Any], name: str) -> str:
    return text.printable(_value(image, name), LONGEST_REASON)


def _retired(image: Mapping[str, Any]) -> frozenset[str]:
    words = frozenset(_value(image, names.RETIRED).split(' '))
    return words if words <= _RETIRED else frozenset()


def _copied(image: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        found = json.loads(_value(image, names.COPIED) or '[]')
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, list) or len(found) > _MOST_COPIED or not all(
            isinstance(name, str) and len(name) <= _LONGEST_NAME
            for name in found):
        return ()
    return tuple(found)


def _upload(image: Mapping[str, Any]) -> Upload | None:
    found = _UPLOAD.fullmatch(_value(image, names.UPLOADING))
    return Upload(found[1], int(found[2])) if found else None

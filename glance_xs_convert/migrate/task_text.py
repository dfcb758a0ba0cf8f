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

"""Reading the plugin's messages in the import tasks of Glance."""

import re

#: The beginning of every message that gives the reason for a refusal.
_REFUSAL = 'The XenServer image cannot be converted'
#: Words that show that the fault lies with the host, not with the archive.
_PASSING = re.compile(
    r'no (?:space|progress)|not enough space|was (?:stopped|silent)|'
    r'ended unexpectedly|took more than|memory|'
    r'cannot be (?:fully confined|ended|used|run|read|written|opened)')
_CONVERTED = re.compile(r'Converted .*\b(\d+) bytes')
_PERCENT = re.compile(r'(\d{1,3})\s?%')


def blames_archive(message: str) -> bool:
    """Whether another attempt would fail in the same way."""
    return (message.startswith(_REFUSAL)
            and not _PASSING.search(message.removeprefix(_REFUSAL)))


def reported_size(message: str) -> int | None:
    """Return the size of the disk in bytes, once it is converted."""
    found = _CONVERTED.match(message)
    return int(found.group(1)) if found else None


def fraction(message: str) -> float | None:
    """Return the progress of a conversion, from 0 to 1, if it is known."""
    found = _PERCENT.search(message)
    return min(int(found.group(1)), 100) / 100 if found else None

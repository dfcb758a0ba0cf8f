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

"""What the plugin tells of a conversion, in the message of Glance's task."""

import re

#: How every message begins that says why an archive is not converted.
_REFUSAL = 'The XenServer image cannot be converted'
#: What shows that not the archive is at fault, but the host.
_PASSING = re.compile(
    r'no (?:space|room|progress)|was stopped|ended unexpectedly|'
    r'memory|cannot be (?:used|run|read|written|opened)')
_CONVERTED = re.compile(r'Converted .*\b(\d+) bytes')
_PERCENT = re.compile(r'(\d{1,3})\s?%')


def blames_archive(message: str) -> bool:
    """Whether another attempt would end like this one."""
    return (message.startswith(_REFUSAL)
            and not _PASSING.search(message.removeprefix(_REFUSAL)))


def reported_size(message: str) -> int | None:
    """The size of the disk, in bytes, once the conversion is over."""
    found = _CONVERTED.match(message)
    return int(found.group(1)) if found else None


def fraction(message: str) -> float | None:
    """How far a conversion is, from 0 to 1."""
    found = _PERCENT.search(message)
    return min(int(found.group(1)), 100) / 100 if found else None

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

"""The values that a field may have, as annotations of its type.

What a process reports that reads a stranger's image goes to its parent as
dataclasses. Their annotations say what is valid, so that the parent can check
them as it checks any other input (see ``worker.replies``).
"""

import dataclasses
import re
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class Between:
    """A whole number in a range, both ends included."""

    lowest: int
    highest: int

    def accepts(self, value: int) -> bool:
        return self.lowest <= value <= self.highest


@dataclasses.dataclass(frozen=True)
class Printable:
    """Text for people, which terminals and databases can take."""

    longest: int

    def accepts(self, value: str) -> bool:
        return (len(value) <= self.longest and value.isprintable()
                and max(value, default='') <= '\uffff')


@dataclasses.dataclass(frozen=True)
class Matches:
    """Text that matches a regular expression as a whole."""

    expression: str

    def accepts(self, value: str) -> bool:
        return re.fullmatch(self.expression, value) is not None


@dataclasses.dataclass(frozen=True)
class AtMost:
    """A list with a bounded number of items."""

    items: int

    def accepts(self, value: list[object]) -> bool:
        return len(value) <= self.items


#: A number of bytes or of anything else, as large as a file can be.
Size = Annotated[int, Between(0, 2 ** 63 - 1)]
#: A name that has been made fit to be shown (see ``text.printable``).
Name = Annotated[str, Printable(2500)]
#: A UUID in hexadecimal digits.
Uuid = Annotated[str, Matches('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')]
#: A SHA-256 in hexadecimal digits; empty if it was not requested.
Digest = Annotated[str, Matches('([0-9a-f]{64})?')]

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

"""Output that is safe to show on a terminal and to open in a spreadsheet.

Users choose names and properties of images, and archives contain names, too.
"""

from collections.abc import Iterable
from typing import Any

from cliff import columns

from glance_xs_convert import text

#: The name of cliff's formatter for spreadsheets.
CSV = 'csv'
#: The formats in which nothing is left of a missing value.
_BLANK = ('table', 'value')
#: No text of ours is longer, in characters.
_LONGEST = 4000


def cells(data: Iterable[Any], formatter: str) -> list[Any]:
    """Return what a command outputs in a safe form.

    :param data: the rows of a table, or the values of one object
    :param formatter: name of cliff's formatter
    """
    return [_safe(value, formatter) for value in data]


def line(sentence: str) -> str:
    """Return a sentence for the operator in a safe form."""
    return text.printable(sentence, _LONGEST)


def _safe(value: Any, formatter: str) -> Any:
    is_csv = formatter == CSV
    if value is None and formatter in _BLANK:
        return ''
    if isinstance(value, list | tuple):
        return tuple(_safe(part, formatter) for part in value)
    if isinstance(value, columns.FormattableColumn):
        raw = value.machine_readable()
        return _safe(raw, formatter) if is_csv and isinstance(
            raw, str) else value
    if not isinstance(value, str):
        return value
    shown = line(value)
    return text.for_spreadsheet(shown) if is_csv else shown

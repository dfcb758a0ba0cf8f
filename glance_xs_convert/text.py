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

"""Names, numbers and messages in a form for people to read."""

import re

_UNITS = ('KiB', 'MiB', 'GiB', 'TiB')

#: The number of characters after which a name is cut.
_LONGEST = 200

#: Spreadsheets compute what begins with these; some accept the wide forms.
_FORMULA = frozenset('=+-@＝＋－＠')

_TAG = re.compile(r' \[([A-Za-z]{1,64})\]\Z')


def size(number: int) -> str:
    """Return a number of bytes in a fitting unit, such as 1.5 GiB.

    A whole number of units has no decimals.
    """
    exponent = min((abs(number).bit_length() - 1) // 10, len(_UNITS))
    if exponent <= 0:
        return f'{number} B'
    # What would be rounded to 1024.0 has the next unit.
    if exponent < len(_UNITS) and round(abs(number) / 1024 ** exponent, 1) >= (
            1024):
        exponent += 1
    unit = 1024 ** exponent
    amount = f'{number / unit:.1f}' if number % unit else f'{number // unit}'
    return f'{amount} {_UNITS[exponent - 1]}'


def exact_size(number: int) -> str:
    """Return a size for messages, such as ``1.5 GiB (1610612736 bytes)``."""
    exact = count(number, 'byte')
    return exact if abs(number) < 1024 else f'{size(number)} ({exact})'


def duration(seconds: float) -> str:
    """Return a time for people, such as ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things, for example ``2 layers``."""
    return f'{number} {noun if number == 1 else plural or f"{noun}s"}'


def printable(name: str, longest: int = _LONGEST) -> str:
    """Return a name from an archive in a form that is safe to show.

    It is short, contains no control or formatting characters (such as those
    that reverse the direction of the text), and fits a database that stores at
    most three bytes per character.
    """
    shown = ''.join(c if c.isprintable() and c <= '\uffff'
                    else f'\\x{ord(c):02x}' for c in name[:longest])
    return shown if len(name) <= longest else shown + '…'


def one_line(error: BaseException, longest: int = 1000) -> str:
    """Return the text of an error on one line that is safe to show."""
    return printable(' '.join(str(error).split()) or type(error).__name__,
                     longest)


def for_spreadsheet(shown: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    :param shown: text without control characters
    """
    return f"'{shown}" if shown.lstrip()[:1] in _FORMULA else shown


def tagged(message: str, kind: str) -> str:
    """Append a kind to a message for people, so that programs can read it.

    For example: ``The archive is cut short. [DamagedArchive]``.

    :param kind: ASCII letters
    """
    return f'{message} [{kind}]'


def tag_of(message: str) -> str | None:
    """Return the kind at the end of a message; None if it has none."""
    found = _TAG.search(message)
    return found[1] if found else None

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

"""Names and numbers in a form for people to read."""

_UNITS = ('KiB', 'MiB', 'GiB', 'TiB')

#: The number of characters after which a name is cut.
_LONGEST = 200


def size(number: int) -> str:
    """Return a number of bytes in a fitting unit, such as 1.5 GiB.

    A whole number of units has no decimals.
    """
    exponent = min((abs(number).bit_length() - 1) // 10, len(_UNITS))
    if exponent <= 0:
        return f'{number} B'
    unit = 1024 ** exponent
    amount = f'{number / unit:.1f}' if number % unit else f'{number // unit}'
    return f'{amount} {_UNITS[exponent - 1]}'


def count(number: int, noun: str) -> str:
    """Return a number of things, for example ``2 layers``."""
    return f'{number} {noun}{"" if number == 1 else "s"}'


def printable(name: str, longest: int = _LONGEST) -> str:
    """Return a name from an archive in a form that is safe to show.

    It is short, contains no control characters, and fits a database that
    stores at most three bytes per character.
    """
    shown = ''.join(c if c.isprintable() and c <= '\uffff'
                    else f'\\x{ord(c):02x}' for c in name[:longest])
    return shown if len(name) <= longest else shown + '…'

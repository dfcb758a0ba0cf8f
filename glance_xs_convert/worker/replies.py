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

"""The messages of a converter's process, checked like any other input.

The process reads an image from a stranger, who may have taken it over.
Therefore its lines are bounded before they are parsed, and each field must
have a value that its annotation allows (see ``bounds``).
"""

import dataclasses
import functools
import json
import types
import typing
from typing import Any
from typing import TypeVar

from glance_xs_convert import exceptions
from glance_xs_convert.worker import protocol

_T = TypeVar('_T')

#: The longest number, in characters.
_LONGEST_NUMBER = 20


class Invalid(ValueError):
    """A message is not one that a healthy converter sends."""


def parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """Split a line into the kind of message and its fields.

    :raises Invalid: the line is not a message
    """
    if len(line) > protocol.MAX_RESULT:
        raise Invalid('it is too long')
    try:
        message = json.loads(
            line.decode('ascii'), object_pairs_hook=_object,
            parse_constant=_refuse, parse_float=_refuse, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise Invalid('it cannot be parsed') from error
    if not isinstance(message, dict) or len(message) != 1:
        raise Invalid('it is not an object with one member')
    [(kind, fields)] = message.items()
    if not isinstance(fields, dict):
        raise Invalid('its value is not an object')
    if len(line) > protocol.MAX_LINE and kind != protocol.RESULT:
        raise Invalid('it is too long')
    return kind, fields


def build(kind: type[_T], fields: Any) -> _T:
    """Make an instance of a dataclass, whose annotations are bounds.

    :raises Invalid: a field is missing, unknown or out of bounds
    """
    hints = _hints(typing.cast(type, kind))
    if not isinstance(fields, dict) or fields.keys() != hints.keys():
        raise Invalid(f'it has the wrong fields for {kind.__name__}')
    values = {}
    for name, hint in hints.items():
        try:
            values[name] = _checked(hint, fields[name])
        except _OutOfBounds:
            raise Invalid(f'its {name} is out of bounds') from None
    return kind(**values)


def error(fields: dict[str, Any]) -> exceptions.XsConvertError:
    """Make the error that the child reports.

    If this version does not know the error's kind, it has the base class: the
    package may have been upgraded since the parent was started.
    """
    refusal = build(protocol.Refusal, fields)
    kind = exceptions.by_kind(refusal.kind) or exceptions.XsConvertError
    return kind(refusal.reason, member=refusal.member, offset=refusal.offset)


class _OutOfBounds(Exception):
    """A value is not one that its annotation allows."""


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _checked(hint: Any, value: Any) -> Any:
    """Return a value as its annotation wants it.

    :raises _OutOfBounds: the annotation does not allow it
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        checked = _checked_plain(arguments[0], value)
        if not all(bound.accepts(checked) for bound in arguments[1:]):
            raise _OutOfBounds
        return checked
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        [hint] = [one for one in arguments if one is not type(None)]
        return _checked(hint, value)
    if origin is typing.Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _OutOfBounds
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    if hint is bool and isinstance(value, bool):
        return value
    raise _OutOfBounds


def _checked_plain(hint: Any, value: Any) -> Any:
    """Return a value of a type that needs bounds; see ``_checked``."""
    if typing.get_origin(hint) is list and isinstance(value, list):
        [item] = typing.get_args(hint)
        return [_checked(item, one) for one in value]
    # A bool is an int, too, but not a number here.
    if hint in (int, str) and type(value) is hint:
        return value
    raise _OutOfBounds


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Invalid('a name occurs twice')
    return fields


def _number(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise Invalid('it has a number that is too long')
    return int(digits)


def _refuse(number: str) -> None:
    raise Invalid('it has a number that is not an integer')

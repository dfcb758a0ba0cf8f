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
Therefore its lines are bounded before they are parsed, each field has a type
and a range, and text that people will read is printable.
"""

from collections.abc import Callable
import json
import re
import stat
from typing import Any
from typing import TypeVar

from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress
from glance_xs_convert.worker import protocol

_T = TypeVar('_T')

#: The largest size that a file can have.
_MAX_SIZE = 2 ** 63 - 1
_MAX_NAME = 2500
_MAX_REASON = 10000
_MAX_ITEMS = 16
_CLASS_NAME = re.compile(r'[A-Za-z]{1,64}')
_SHA256 = re.compile(r'([0-9a-f]{64})?')

Check = Callable[[Any], bool]


class Invalid(ValueError):
    """A message is not one that a healthy converter sends."""


def parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """Split a line into the kind of message and its fields.

    :raises Invalid: the line is not a message
    """
    if len(line) > protocol.MAX_LINE:
        raise Invalid('it is too long')
    try:
        message = json.loads(
            line.decode('ascii'), object_pairs_hook=_object,
            parse_constant=_refuse, parse_float=_refuse)
    except (ValueError, RecursionError) as error:
        raise Invalid('it cannot be parsed') from error
    if not isinstance(message, dict) or len(message) != 1:
        raise Invalid('it is not an object with one member')
    [(kind, fields)] = message.items()
    if not isinstance(fields, dict):
        raise Invalid('its value is not an object')
    return kind, fields


def confinement(fields: dict[str, Any]) -> protocol.Confinement:
    return _checked(protocol.Confinement, fields, {
        'means': _texts, 'missing': _texts})


def progress_of(fields: dict[str, Any], bounds: limits.Limits,
                ) -> progress.Progress:
    return _checked(progress.Progress, fields, {
        'source_size': _optional(_size),
        'source_read': _size,
        'layers': _between(0, bounds.max_chain_length),
        'layer': _optional(_text(_MAX_NAME)),
        'bytes_written': _size,
    })


def outcome(fields: dict[str, Any], bounds: limits.Limits, digest: bool,
            source: int) -> protocol.Outcome:
    """Make the outcome that the child reports.

    :param bounds: bounds on the image
    :param digest: whether the source's SHA-256 was requested
    :param source: largest possible size of the source, in bytes
    """
    if isinstance(fields.get('guest'), dict):
        fields = {**fields, 'guest': _guest(fields['guest'])}
    return _checked(protocol.Outcome, fields, {
        'virtual_size': _between(0, bounds.max_virtual_size),
        'layers': _between(1, bounds.max_chain_length),
        'bytes_written': _size,
        'source_size': _between(0, source),
        'source_sha256': lambda value: (
            isinstance(value, str) and _SHA256.fullmatch(value) is not None
            and bool(value) == digest),
        'guest': _optional(lambda value: isinstance(value, protocol.Guest)),
        'disk': _optional(_text(_MAX_NAME)),
    })


def _guest(fields: dict[str, Any]) -> protocol.Guest:
    return _checked(protocol.Guest, fields, {
        'name': _text(_MAX_NAME),
        'product': _text(_MAX_NAME),
        'firmware': lambda value: value in (None, 'bios', 'uefi'),
        'is_paravirtualized': _is(bool),
    })


def assessment(fields: dict[str, Any], bounds: limits.Limits, source: int,
               ) -> protocol.Assessment:
    """What would come out; see ``outcome``."""
    disk = _between(0, bounds.max_virtual_size)
    return _checked(protocol.Assessment, fields, {
        'virtual_size': disk,
        'layers': _between(1, bounds.max_chain_length),
        'source_size': _between(0, source),
        'allocated': _size,
        'room': _size,
        'partition_table': lambda value: value in (None, 'GPT', 'MBR'),
        'has_efi_system_partition': _is(bool),
        'has_boot_code': _is(bool),
        'hints': _texts,
    })


def findings(fields: dict[str, Any]) -> protocol.Findings:
    flag = _is(bool)
    return _checked(protocol.Findings, fields, {
        'files': flag, 'network': flag, 'programs': flag, 'processes': flag})


def error(fields: dict[str, Any]) -> exceptions.XsConvertError:
    """Make the error that the child reports.

    If this version does not know the error's class, it has the base class: the
    package may have been upgraded since the parent was started.
    """
    checks: dict[str, Check] = {
        'name': lambda value: (isinstance(value, str) and
                               _CLASS_NAME.fullmatch(value) is not None),
        'reason': _text(_MAX_REASON),
        'member': _optional(_text(_MAX_NAME)),
        'offset': _optional(_size),
    }
    return _checked(_error, fields, checks)


def largest_source(mode: int, size: int) -> int:
    """Return the most bytes that can be read from a file.

    :param mode: its ``st_mode``
    :param size: its ``st_size``, in bytes
    """
    return size if stat.S_ISREG(mode) else _MAX_SIZE


def _error(name: str, reason: str, member: str | None, offset: int | None,
           ) -> exceptions.XsConvertError:
    kind = getattr(exceptions, name, None)
    if not (isinstance(kind, type)
            and issubclass(kind, exceptions.XsConvertError)):
        kind = exceptions.XsConvertError
    return kind(reason, member=member, offset=offset)


def _checked(kind: Callable[..., _T], fields: dict[str, Any],
             checks: dict[str, Check]) -> _T:
    if fields.keys() != checks.keys():
        raise Invalid('it has the wrong fields')
    for name, check in checks.items():
        if not check(fields[name]):
            raise Invalid(f'its {name} is out of bounds')
    return kind(**fields)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Invalid('a name occurs twice')
    return fields


def _refuse(number: str) -> None:
    raise Invalid('it has a number that is not an integer')


def _is(kind: type) -> Check:
    # A bool is an int, too, but not a number here.
    return lambda value: type(value) is kind


def _between(lowest: int, highest: int) -> Check:
    return lambda value: type(value) is int and lowest <= value <= highest


_size = _between(0, _MAX_SIZE)


def _text(longest: int) -> Check:
    return lambda value: (isinstance(value, str) and len(value) <= longest
                          and value.isprintable()
                          and max(value, default='') <= '\uffff')


def _texts(value: Any) -> bool:
    return (isinstance(value, list) and len(value) <= _MAX_ITEMS
            and all(map(_text(_MAX_NAME), value)))


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)

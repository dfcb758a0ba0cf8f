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

"""The messages between a converter's process and its parent.

The parent writes the job to the child's standard input, as one line of JSON,
and keeps this pipe open. When the pipe closes, because the parent gives up or
is gone, the child ends. The child writes lines of JSON to its standard output:
first its confinement, then its progress, and finally the result or an error.
Each of these lines is an object with one member, whose name is the kind of the
message and whose value has the fields of a dataclass. The dataclass says which
values are valid (see ``bounds``).
"""

import dataclasses
import json
from typing import Annotated

from glance_xs_convert import bounds
from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text
from glance_xs_convert import units

#: The operations of a child.
CONVERT = 'convert'
CONVERT_ALL = 'convert_all'
CHECK = 'check'
INSPECT = 'inspect'
DESCRIBE = 'describe'
PROBE = 'probe'
#: Those that write disks.
CONVERSIONS = (CONVERT, CONVERT_ALL)

#: How strictly a child is confined before it reads an image.
REQUIRED = 'required'
BEST_EFFORT = 'best_effort'
OFF = 'off'
SANDBOXES = (REQUIRED, BEST_EFFORT, OFF)

#: The interval at which the child reports its progress, in seconds.
REPORT_INTERVAL = 0.5
#: How long the child may take to end when told to, in seconds. It empties the
#: disk before, and comes last where processors are few.
GRACE = 15.0

#: The longest line that a child writes, in bytes; all but the result are
#: shorter. The longest sentence in it, in characters.
MAX_RESULT = units.MIB
MAX_LINE = 16 * 1024
MAX_TEXT = 1000
#: The largest map of a disk, in bytes.
MAX_MAP = 64 * units.MIB

#: The kinds of messages.
CONFINED = 'confined'
PROGRESS = 'progress'
RESULT = 'result'
ERROR = 'error'


@dataclasses.dataclass(frozen=True)
class Request:
    """How the child must do its work, and what it may use.

    :ivar limits: bounds on the image
    :ivar disk: device or number of the disk to convert, if an export holds
                several; None without a choice
    :ivar digest: whether to compute the source's SHA-256
    :ivar max_memory: address space in bytes; 0 for no limit
    :ivar max_cpu_time: processor time in seconds; 0 for no limit
    :ivar max_time: elapsed time in seconds; 0 for no limit
    :ivar sandbox: one of ``SANDBOXES``
    :ivar niceness: how far to step back behind other processes, up to 19
    """

    limits: image_limits.Limits
    disk: str | None = None
    digest: bool = False
    max_memory: int = 0
    max_cpu_time: int = 0
    max_time: int = 0
    sandbox: str = BEST_EFFORT
    niceness: int = 0


@dataclasses.dataclass(frozen=True)
class Job:
    """The child's instructions.

    :ivar operation: ``CONVERT``, ``CONVERT_ALL``, ``CHECK``, ``INSPECT``,
                     ``DESCRIBE`` or ``PROBE``
    :ivar request: how to do the work
    :ivar source: descriptor of the archive; None for a probe
    :ivar targets: descriptors of files to write: of the new disks for a
                   conversion; of the map for a check, if one is wanted
    """

    operation: str
    request: Request
    source: int | None = None
    targets: tuple[int, ...] = ()


_Sentences = Annotated[list[bounds.Name], bounds.AtMost(16)]


@dataclasses.dataclass(frozen=True)
class Confinement:
    """How the child has confined itself.

    :ivar means: the names of the means that are in force
    :ivar missing: the other means and the reasons; empty if all are in force
    """

    means: _Sentences
    missing: _Sentences


@dataclasses.dataclass(frozen=True)
class Findings:
    """Whether the attempts of a confined process succeeded.

    :ivar files: to open a file or a directory
    :ivar network: to reach another host, or a socket of this one
    :ivar programs: to execute a program
    :ivar processes: to send a signal to another process, or to start one
    """

    files: bool
    network: bool
    programs: bool
    processes: bool


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An error, whose members are those of ``XsConvertError``."""

    kind: Annotated[str, bounds.Matches('[A-Za-z]{1,64}')]
    reason: Annotated[str, bounds.Printable(10 * MAX_TEXT)]
    member: bounds.Name | None
    offset: bounds.Size | None


Result = (results.ConversionResult | results.AllDisks
          | results.CheckResult | results.Inspection | results.Description
          | Findings)
_Message = Confinement | conversion_progress.Progress | Refusal | Result


def encode_job(job: Job) -> bytes:
    """Return the line with the child's job."""
    return json.dumps(dataclasses.asdict(job)).encode() + b'\n'


def decode_job(line: bytes) -> Job:
    """Decode the line of ``encode_job``; the parent is trusted."""
    fields = json.loads(line)
    request = fields.pop('request')
    request['limits'] = image_limits.Limits(**request['limits'])
    targets = tuple(fields.pop('targets'))
    return Job(request=Request(**request), targets=targets, **fields)


def encode_confinement(confinement: Confinement) -> bytes:
    return _line(CONFINED, confinement)


def encode_progress(latest: conversion_progress.Progress) -> bytes:
    layer = latest.layer
    return _line(PROGRESS, dataclasses.replace(
        latest, layer=None if layer is None else text.printable(layer)))


def encode_result(result: Result) -> bytes:
    """Return the line with the result; a map is not part of it.

    :raises LimitExceeded: the result is too long
    """
    if isinstance(result, results.CheckResult):
        result = dataclasses.replace(result, disk_map=None)
    line = _line(RESULT, result)
    if len(line) > MAX_RESULT:
        raise exceptions.LimitExceeded(
            'the names in the image are too long, or there are too many')
    return line


def encode_error(error: exceptions.XsConvertError) -> bytes:
    member = error.member
    return _line(ERROR, Refusal(
        error.kind, text.printable(error.reason, MAX_TEXT),
        None if member is None else text.printable(member), error.offset))


def _line(kind: str, message: _Message) -> bytes:
    return json.dumps({kind: dataclasses.asdict(message)}).encode() + b'\n'

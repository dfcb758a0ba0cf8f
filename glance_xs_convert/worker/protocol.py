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

"""What a converter's process and the one that started it say to each other.

The parent writes one line of JSON to the child's standard input, the job, and
keeps that pipe open: when it is closed, because the parent has had enough or
is gone, the child ends. The child writes lines of JSON to its standard output:
first how far it is confined, then its progress, and at last the result or the
error. Each of these lines is an object with one member, whose name is the kind
of message and whose value is an object, too.
"""

import dataclasses
import json
from typing import Any

from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress
from glance_xs_convert import text

#: What a child can be asked for.
CONVERT = 'convert'
CHECK = 'check'
PROBE = 'probe'

#: How far a child has to be confined before it reads an image.
REQUIRED = 'required'
BEST_EFFORT = 'best_effort'
OFF = 'off'
SANDBOXES = (REQUIRED, BEST_EFFORT, OFF)

#: How often the child reports its progress, in seconds.
REPORT_INTERVAL = 0.5
#: How long it may take to end, once it was told to, in seconds.
GRACE = 5.0

#: The longest line that a child writes, in bytes, and the longest sentence in
#: it, in characters.
MAX_LINE = 16 * 1024
MAX_TEXT = 1000

#: The kinds of messages.
CONFINED = 'confined'
PROGRESS = 'progress'
OUTCOME = 'outcome'
ERROR = 'error'


@dataclasses.dataclass(frozen=True)
class Request:
    """What the child may use, and how it is to do its work.

    :ivar limits: of the image
    :ivar disk: device or number of the disk that is wanted of an export
                with several; None if nobody has chosen
    :ivar digest: whether the source's SHA-256 is wanted
    :ivar max_memory: address space in bytes; 0 for no limit
    :ivar max_cpu_time: in seconds; 0 for no limit
    :ivar max_time: in seconds by the clock; 0 for no limit
    :ivar sandbox: one of ``SANDBOXES``
    """

    limits: limits.Limits
    disk: str | None = None
    digest: bool = False
    max_memory: int = 0
    max_cpu_time: int = 0
    max_time: int = 0
    sandbox: str = BEST_EFFORT


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the child is told.

    :ivar operation: ``CONVERT``, ``CHECK`` or ``PROBE``
    :ivar request: how to do it
    :ivar source: the descriptor of the archive; None for a probe
    :ivar target: the descriptor of the new disk; None if none is written
    """

    operation: str
    request: Request
    source: int | None = None
    target: int | None = None


@dataclasses.dataclass(frozen=True)
class Confinement:
    """How the child has locked itself in.

    :ivar means: the names of the means that are in force
    :ivar missing: which are not, and why; empty if all are
    """

    means: list[str]
    missing: list[str]


@dataclasses.dataclass(frozen=True)
class Guest:
    """What an export says of its virtual machine.

    :ivar name: of the machine
    :ivar product: what exported it, with its version
    :ivar firmware: ``bios`` or ``uefi``; None if unknown
    :ivar is_paravirtualized: it has no boot loader of its own
    """

    name: str
    product: str
    firmware: str | None
    is_paravirtualized: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the parent learns of a conversion.

    :ivar virtual_size: of the raw disk, in bytes
    :ivar layers: how many there were
    :ivar bytes_written: to the raw disk
    :ivar source_size: of the archive, in bytes
    :ivar source_sha256: of the archive, in hexadecimal digits; empty if it
                         was not asked for
    :ivar guest: of an export; None for a chain of VHDs
    :ivar disk: what the export calls the disk; None for a chain
    """

    virtual_size: int
    layers: int
    bytes_written: int
    source_size: int
    source_sha256: str
    guest: Guest | None = None
    disk: str | None = None


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What the parent learns of an archive that was checked.

    :ivar virtual_size: of the raw disk, in bytes
    :ivar layers: how many there are
    :ivar source_size: of the archive, in bytes
    :ivar allocated: bytes that the raw disk would occupy
    :ivar room: bytes that have to be free before it is begun
    :ivar partition_table: of the disk: ``GPT``, ``MBR`` or None
    :ivar has_efi_system_partition: a UEFI firmware may boot from the disk
    :ivar has_boot_code: a BIOS may boot from it
    :ivar hints: why a guest will not boot from it; empty if it may
    """

    virtual_size: int
    layers: int
    source_size: int
    allocated: int
    room: int
    partition_table: str | None
    has_efi_system_partition: bool
    has_boot_code: bool
    hints: list[str]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a confined process could do when it tried: True if it could.

    :ivar files: open a file or a directory
    :ivar network: reach another host, or a socket of this one
    :ivar programs: execute a program
    :ivar processes: send a signal to another process, or start one
    """

    files: bool
    network: bool
    programs: bool
    processes: bool


def encode_job(job: Job) -> bytes:
    """The line that tells the child what to do."""
    return json.dumps(dataclasses.asdict(job)).encode() + b'\n'


def decode_job(line: bytes) -> Job:
    """What ``encode_job`` has made; the parent is trusted."""
    fields = json.loads(line)
    request = fields.pop('request')
    bounds = limits.Limits(**request.pop('limits'))
    return Job(request=Request(limits=bounds, **request), **fields)


def encode_confinement(confinement: Confinement) -> bytes:
    return _line(CONFINED, dataclasses.asdict(confinement))


def encode_progress(latest: progress.Progress) -> bytes:
    fields = dataclasses.asdict(latest)
    if latest.layer is not None:
        fields['layer'] = text.printable(latest.layer)
    return _line(PROGRESS, fields)


def encode_outcome(outcome: Outcome | Assessment | Findings) -> bytes:
    return _line(OUTCOME, dataclasses.asdict(outcome))


def encode_error(error: exceptions.XsConvertError) -> bytes:
    member = error.member
    return _line(ERROR, {
        'name': type(error).__name__,
        'reason': text.printable(error.reason, MAX_TEXT),
        'member': None if member is None else text.printable(member),
        'offset': error.offset,
    })


def _line(kind: str, fields: dict[str, Any]) -> bytes:
    return json.dumps({kind: fields}).encode() + b'\n'

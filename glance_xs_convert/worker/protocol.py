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
message and whose value is another object.
"""

import dataclasses
import json
from typing import Any

from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress
from glance_xs_convert import text

#: The operations of a child.
CONVERT = 'convert'
CHECK = 'check'
PROBE = 'probe'

#: How strictly a child is confined before it reads an image.
REQUIRED = 'required'
BEST_EFFORT = 'best_effort'
OFF = 'off'
SANDBOXES = (REQUIRED, BEST_EFFORT, OFF)

#: The interval at which the child reports its progress, in seconds.
REPORT_INTERVAL = 0.5
#: How long the child may take to end when told to, in seconds.
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
    """How the child must do its work, and what it may use.

    :ivar limits: bounds on the image
    :ivar disk: device or number of the disk to convert, if an export holds
                several; None without a choice
    :ivar digest: whether to compute the source's SHA-256
    :ivar max_memory: address space in bytes; 0 for no limit
    :ivar max_cpu_time: processor time in seconds; 0 for no limit
    :ivar max_time: elapsed time in seconds; 0 for no limit
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
    """The child's instructions.

    :ivar operation: ``CONVERT``, ``CHECK`` or ``PROBE``
    :ivar request: how to do the work
    :ivar source: descriptor of the archive; None for a probe
    :ivar target: descriptor of the new disk; None unless one is written
    """

    operation: str
    request: Request
    source: int | None = None
    target: int | None = None


@dataclasses.dataclass(frozen=True)
class Confinement:
    """How the child has confined itself.

    :ivar means: the names of the means that are in force
    :ivar missing: the other means and the reasons; empty if all are in force
    """

    means: list[str]
    missing: list[str]


@dataclasses.dataclass(frozen=True)
class Guest:
    """The virtual machine of an export.

    :ivar name: name of the machine
    :ivar product: product that exported it, with its version
    :ivar firmware: ``bios`` or ``uefi``; None if unknown
    :ivar is_paravirtualized: whether XenServer loaded its kernel
    """

    name: str
    product: str
    firmware: str | None
    is_paravirtualized: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a conversion, as the child reports it.

    :ivar virtual_size: size of the raw disk, in bytes
    :ivar layers: number of layers
    :ivar bytes_written: bytes written to the raw disk
    :ivar source_size: size of the archive, in bytes
    :ivar source_sha256: SHA-256 of the archive in hexadecimal digits; empty if
                         it was not requested
    :ivar guest: virtual machine of an export; None for a chain of VHDs
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


def encode_job(job: Job) -> bytes:
    """Return the line with the child's job."""
    return json.dumps(dataclasses.asdict(job)).encode() + b'\n'


def decode_job(line: bytes) -> Job:
    """Decode the line of ``encode_job``; the parent is trusted."""
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

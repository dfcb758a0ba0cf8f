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
"""Checks that this host is ready to adapt guests."""

import dataclasses
import os
import shutil
import time

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import messages
from glance_xs_convert.guest import programs
from glance_xs_convert.guest import settings as settings_
from glance_xs_convert import units

#: Room for the appliance, which libguestfs makes once and keeps.
APPLIANCE_SIZE = 1 * units.GIB
#: The size of the disk with which the appliance is started.
_EMPTY_DISK = 16 * units.MIB


@dataclasses.dataclass(frozen=True)
class Started:
    """An appliance that started.

    :ivar seconds: how long it took
    :ivar used_kvm: whether KVM was there and worked
    """

    seconds: float
    used_kvm: bool


def find_programs(settings: settings_.Settings) -> str:
    """Return the tool's version.

    :raises ToolMissing: a program is missing
    """
    version = adapt.tool_version(settings)
    for program in (settings.inspector, settings_.QEMU_IMG):
        settings_.require(program)
    return version


def describe_kvm() -> str | None:
    """Return why this process cannot use KVM; None if it can."""
    device = settings_.KVM_DEVICE
    if not os.path.exists(device):
        return f'{device} does not exist'
    if not os.access(device, os.R_OK | os.W_OK):
        return f'{device} may not be opened by this user'
    return None


def free_space(settings: settings_.Settings) -> tuple[str, int]:
    """Return where libguestfs keeps its appliance, and the free space there.

    :raises OSError: the directory cannot be examined
    """
    return settings.cache, shutil.disk_usage(settings.cache).free


def try_appliance(settings: settings_.Settings, *, python: str) -> Started:
    """Start an appliance, with KVM or else without.

    :param python: interpreter to run a warden with
    :raises XsConvertError: it does not start
    """
    try:
        return start_appliance(settings, python=python)
    except exceptions.ApplianceFailed:
        if not settings.may_use_kvm:
            raise
    return start_appliance(settings.without_kvm(), python=python)


def start_appliance(settings: settings_.Settings, *, python: str) -> Started:
    """Start an appliance, with KVM if the settings permit it.

    :param python: interpreter to run a warden with
    :raises XsConvertError: it does not start
    """
    begun = time.monotonic()
    patience = settings.start_patience
    heard = messages.Messages()

    def check(tool: programs.Tool) -> None:
        if tool.has_started:
            raise _Enough
        tool.check_start(patience)

    with adapt.scratch_directory(settings.scratch) as scratch:
        disk = os.path.join(scratch, 'empty.raw')
        with open(disk, 'wb') as file:
            file.truncate(_EMPTY_DISK)
        with programs.Tool(
                python, [settings_.require(settings.inspector), '--no-icon',
                         '--format=raw', '-a', disk],
                environment=settings.environment(scratch), scratch=scratch,
                memory=settings.memory, disk_size=_EMPTY_DISK) as tool:
            try:
                status = tool.run(check, lambda data: None, heard.add)
            except _Enough:
                status = 0
            if not tool.has_started:
                raise heard.error(status)
    return Started(time.monotonic() - begun, settings.may_use_kvm)


class _Enough(Exception):
    """Raised when the appliance has started, which is all that matters."""

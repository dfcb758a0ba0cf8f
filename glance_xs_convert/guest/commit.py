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
"""Committing an overlay to its disk."""

import os
import time

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import messages
from glance_xs_convert.guest import programs
from glance_xs_convert.guest import settings as settings_
from glance_xs_convert import text
from glance_xs_convert import units


def check_space(disk: str, overlay: str) -> None:
    """Check that the disk can take what the overlay holds.

    :raises OutOfSpace: it cannot; nothing has been changed
    """
    needed = os.stat(overlay).st_blocks * units.STAT_BLOCK
    found = os.statvfs(disk)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise exceptions.OutOfSpace(
            f'the changes to the guest need {text.size(needed)} of space on '
            f"the disk's file system, which has {text.size(free)}")


def commit(disk: str, overlay: str, settings: settings_.Settings, *,
           python: str, on_progress: adapt.OnProgress) -> None:
    """Write what an overlay holds to its disk.

    If this is interrupted, it can be done once more, with the same result.
    The overlay stays.

    :raises HalfCommitted: it failed; the disk holds some of the changes
    """
    heard = messages.Messages()
    begun = time.monotonic()

    def check(tool: programs.Tool) -> None:
        on_progress(adapt.Progress('writing the changes',
                                   time.monotonic() - begun))

    with (adapt.scratch_directory(settings.scratch) as scratch,
          programs.Tool(
              python, [settings_.require(settings_.QEMU_IMG), 'commit', '-q',
                       '-f', 'qcow2', os.path.abspath(overlay)],
              environment=settings.environment(scratch), scratch=scratch,
              memory=settings.memory,
              disk_size=os.stat(disk).st_size) as tool):
        status = tool.run(check, heard.add_output, heard.add)
    if status:
        raise exceptions.HalfCommitted(
            'the changes to the guest could not be written to the disk, '
            f'which is of no use now: {heard.error(status)}')
    descriptor = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

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

"""Locking the process in, before it reads the first byte of the image.

Each means holds what it can if another is missing:

1. It has no privileges, and no way to get them.
2. Landlock: it has no right on any file, and can use neither TCP nor signals
   to others.
3. Its limits are such that no descriptor can be added: no file is opened and
   no socket made, by whatever call.
4. A filter leaves only the system calls that a conversion needs.

They are taken in this order, since each rules out what it takes to set up
those before it. There is one thread then: those that it starts inherit it.
"""

from collections.abc import Callable
import ctypes
import os
import resource
from typing import TypeVar

from glance_xs_convert import exceptions
from glance_xs_convert.worker import landlock
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import seccomp

_T = TypeVar('_T')

#: The means, by the names that operators read.
PRIVILEGES = 'dropped privileges'
LANDLOCK = 'Landlock'
LIMITS = 'the limit of descriptors'
SECCOMP = 'seccomp'
MEANS = (PRIVILEGES, LANDLOCK, LIMITS, SECCOMP)


def enter(wanted: str) -> protocol.Confinement:
    """Lock the process in; all that it will load has to be loaded.

    :param wanted: ``protocol.REQUIRED`` or ``protocol.BEST_EFFORT``
    :returns: what is in force
    :raises SandboxIncomplete: it is required, and a means is missing
    """
    attempts = _Attempts()
    calls = attempts.run(SECCOMP, seccomp.Filter)
    attempts.run(PRIVILEGES, privileges.drop)
    lacks = attempts.run(LANDLOCK, landlock.restrict)
    attempts.run(LIMITS, _allow_no_descriptors)
    if calls is not None:
        attempts.run(SECCOMP, calls.load)
    missing = [f'{name}: {reason}'
               for name, reason in attempts.failures.items()]
    if lacks and SECCOMP in attempts.failures:
        # The filter denies that, too.
        missing.append(f'{LANDLOCK}: this kernel cannot deny '
                       f'{" nor ".join(lacks)}')
    if missing and wanted == protocol.REQUIRED:
        raise exceptions.SandboxIncomplete(
            f'the converter cannot be confined by {"; nor by ".join(missing)}')
    return protocol.Confinement(
        [name for name in MEANS if name not in attempts.failures], missing)


class _Attempts:
    """What was tried.

    :ivar failures: why a means cannot be had, by its name
    """

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}

    def run(self, name: str, step: Callable[[], _T]) -> _T | None:
        """Take a step; None if it fails."""
        try:
            return step()
        except (landlock.Unavailable, seccomp.Unavailable) as error:
            self.failures[name] = str(error)
        except OSError as error:
            self.failures[name] = os.strerror(error.errno or 0)
        return None


def load_libraries() -> None:
    """Load what the C library loads when it is first needed."""
    try:
        # To end a thread from within.
        ctypes.CDLL('libgcc_s.so.1')
    except OSError:
        # Other C libraries do without.
        return


def _allow_no_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))

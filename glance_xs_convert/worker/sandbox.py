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

"""Confining the process before it reads the first byte of the image.

There are several means, each of which confines the process as far as it can if
others are missing:

1. Privileges: the process gives them up, and all ways to gain them.
2. Landlock: the process cannot access files by path, use TCP, or send signals
   to other processes.
3. Limits: the process cannot add a descriptor, so it cannot open a file or
   make a socket by any call.
4. Seccomp: a filter allows only the system calls that a conversion needs.

They are set up in this order, because each prevents setting up those before
it. The process has one thread at that time; the threads that it starts later
inherit them.
"""

import codecs
from collections.abc import Callable
import ctypes
import importlib
import os
import resource
from typing import TypeVar

from glance_xs_convert import exceptions
from glance_xs_convert.worker import landlock
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import seccomp

_T = TypeVar('_T')

#: The names of the means, for operators.
PRIVILEGES = 'dropped privileges'
LANDLOCK = 'Landlock'
LIMITS = 'the limit on descriptors'
SECCOMP = 'seccomp'
MEANS = (PRIVILEGES, LANDLOCK, LIMITS, SECCOMP)

#: What the standard library loads on demand.
_LOADED_LATE = ('concurrent.futures.thread', 'traceback')
_CODECS = ('ascii', 'latin-1', 'utf-16-be', 'utf-16-le')


def enter(wanted: str) -> protocol.Confinement:
    """Confine the process, which must have loaded everything that it needs.

    :param wanted: ``protocol.REQUIRED`` or ``protocol.BEST_EFFORT``
    :returns: the means that are in force
    :raises SandboxIncomplete: all means are required, but one is missing
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
        # The filter would deny this, too.
        missing.append(f'{LANDLOCK}: this kernel cannot deny '
                       f'{" or ".join(lacks)}')
    if missing and wanted == protocol.REQUIRED:
        raise exceptions.SandboxIncomplete(
            f'the converter cannot be fully confined: {"; ".join(missing)}')
    return protocol.Confinement(
        [name for name in MEANS if name not in attempts.failures], missing)


class _Attempts:
    """The attempts to set up the means.

    :ivar failures: the reasons why means are missing, by their names
    """

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}

    def run(self, name: str, step: Callable[[], _T]) -> _T | None:
        """Take a step, and return None if it fails."""
        try:
            return step()
        except (landlock.Unavailable, seccomp.Unavailable) as error:
            self.failures[name] = str(error)
        except OSError as error:
            self.failures[name] = os.strerror(error.errno or 0)
        return None


def load_late() -> None:
    """Load what Python and the C library would load on demand."""
    for module in _LOADED_LATE:
        importlib.import_module(module)
    for codec in _CODECS:
        codecs.lookup(codec)
    try:
        # It is needed to end a thread from within.
        ctypes.CDLL('libgcc_s.so.1')
    except OSError:
        # Other C libraries do not need it.
        return


def _allow_no_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))

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

"""Ending whatever the process that reads an image has started.

The process that the parent starts makes a copy of itself, which reads the
image. It stays outside the sandbox itself and waits. When the copy has ended,
the kernel gives it all processes that come from the copy, wherever they have
moved to, and it ends them before it ends itself. Therefore nobody can write to
the disk any more when the parent sees it end, even where no seccomp filter
forbids a process to start others.
"""

import contextlib
import errno
import os
import pathlib
import resource
import select
import signal
import time

from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol

_STDIN = 0
_STDERR = 2
#: The interval in seconds at which to look where the kernel has no pidfd.
_INTERVAL = 0.1


def divide() -> None:
    """Return in a copy of this process, and wait for the end of the copy.

    This process ends as the copy has, after everything that comes from it. It
    ends the copy if the parent closes the pipe and the copy does not end
    itself.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # uWSGI's threads block signals, and their children inherit this.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    privileges.adopt_descendants()
    pid = os.fork()
    if not pid:
        privileges.end_with_parent()
        return
    status = 1
    try:
        privileges.refuse_inspection()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _close_descriptors()
        status = _wait(pid)
        _end_descendants()
    finally:
        _end_as(status)


def _close_descriptors() -> None:
    """Leave the pipes and files to the copy, but watch the parent's end."""
    os.close(1)
    os.closerange(_STDERR + 1, resource.getrlimit(
        resource.RLIMIT_NOFILE)[1])


def _wait(pid: int) -> int:
    """Wait until the copy has ended, and return its exit status."""
    events = select.poll()
    # An end of the pipe is reported without being asked for.
    events.register(_STDIN, 0)
    interval = _INTERVAL
    with contextlib.suppress(OSError):
        events.register(os.pidfd_open(pid), select.POLLIN)
        interval = protocol.GRACE
    deadline = None
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        ready = events.poll(interval * 1000)
        if deadline is None and (_STDIN, select.POLLHUP) in ready:
            events.unregister(_STDIN)
            deadline = time.monotonic() + protocol.GRACE / 2
            interval = _INTERVAL
        if deadline is not None and time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)


def _end_descendants() -> None:
    """End all processes that come from the copy, which has ended."""
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if found:
            continue
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _children() -> list[int]:
    """Return this process's children, orphans that it was given included."""
    found = []
    own = str(os.getpid())
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            # The name of the program may contain spaces and parentheses.
            if path.read_text().rpartition(')')[2].split()[1] == own:
                found.append(int(path.parent.name))
    return found


def _end_as(status: int) -> None:
    """End with an exit status, or by the same signal."""
    if status < 0:
        with contextlib.suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else errno.EINTR)

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
"""The process that keeps a tool and everything that the tool starts.

Run as ``python -m glance_xs_convert.guest.warden``, with a job as one line of
JSON on standard input. When the tool ends, or standard input is closed, the
warden ends everything that is left. If there was nothing to read before that,
the parent is gone, and the warden removes the scratch directory, too. Its exit
status is that of the tool.

Where the kernel permits it, the tool has an empty network and process IDs of
its own; then the kernel itself ends what the tool has started. Elsewhere the
warden adopts the orphans and ends them one by one.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from typing import Any

#: Operations of Linux's prctl(2).
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: Flags of unshare(2).
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

_TICK = 0.2
#: How long to look for processes that do not end, in seconds.
_PATIENCE = 30.0
_NICENESS = 10
#: The exit status if the tool cannot be run, as shells have it.
CANNOT_RUN = 127
_LONGEST_JOB = 1 << 20


def main() -> int:
    """Run the job on standard input."""
    job = json.loads(_first_line())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _isolate(libc)
    first = os.fork()
    if not first:
        _be_first(libc, job)
    status, is_orphan = _wait(first)
    _end_descendants(first)
    if is_orphan:
        with contextlib.suppress(OSError):
            shutil.rmtree(job['scratch'])
    return status


def _first_line() -> bytes:
    """Read a line from standard input, and nothing that follows it."""
    line = bytearray()
    while not line.endswith(b'\n') and len(line) < _LONGEST_JOB:
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return bytes(line)


def _isolate(libc: ctypes.CDLL) -> None:
    """Enter an empty network; let children have process IDs of their own.

    Both need a privilege or a user namespace; without them, the warden does
    without.
    """
    if not libc.unshare(_CLONE_NEWNET | _CLONE_NEWPID):
        return
    # There is no way back from a namespace without users.
    rehearsal = os.fork()
    if not rehearsal:
        try:
            os._exit(0 if _enter_user_namespace(libc) else 1)
        finally:
            os._exit(1)
    if not os.waitpid(rehearsal, 0)[1]:
        _enter_user_namespace(libc)


def _enter_user_namespace(libc: ctypes.CDLL) -> bool:
    """Enter the namespaces as the same user; return whether that worked."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWPID):
        return False
    try:
        for name, content in (('setgroups', 'deny'),
                              ('uid_map', f'{user} {user} 1'),
                              ('gid_map', f'{group} {group} 1')):
            with open(f'/proc/self/{name}', 'w') as file:
                file.write(content)
    except OSError:
        return False
    return True


def _be_first(libc: ctypes.CDLL, job: dict[str, Any]) -> None:
    """Act as the first process: run the tool, and end when it does."""
    status = CANNOT_RUN
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        tool = os.fork()
        if not tool:
            _run(libc, job)
        while True:
            pid, state = os.wait()
            if pid == tool:
                status = _exit_status(state)
                break
    finally:
        os._exit(status)


def _run(libc: ctypes.CDLL, job: dict[str, Any]) -> None:
    """Become the tool."""
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.chdir(job['scratch'])
        with contextlib.suppress(OSError):
            os.nice(_NICENESS)
        for name, value in job['limits'].items():
            _limit(getattr(resource, name), value)
        command = job['command']
        os.execve(command[0], command, job['environment'])  # nosec B606
    except OSError as error:
        print(f'{job["command"][0]}: {error.strerror}', file=sys.stderr,
              flush=True)
    finally:
        os._exit(CANNOT_RUN)


def _limit(which: int, value: int) -> None:
    """Set a limit, or keep the present one if that is lower."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _wait(first: int) -> tuple[int, bool]:
    """Wait for the first process, or for the parent.

    :returns: the exit status, and whether the parent is gone
    """
    while True:
        pid, state = os.waitpid(first, os.WNOHANG)
        if pid:
            return _exit_status(state), False
        readable, _, _ = select.select([0], [], [], _TICK)
        if readable:
            return 128 + signal.SIGKILL, not os.read(0, 1)


def _exit_status(state: int) -> int:
    code = os.waitstatus_to_exitcode(state)
    return code if code >= 0 else 128 - code


def _end_descendants(first: int) -> None:
    """End all descendants; give up when some do not end in time."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = _descendants()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK / 4)


def _descendants() -> list[int]:
    """Return the processes that descend from this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir('/proc'):
        if not name.isdecimal():
            continue
        with (contextlib.suppress(OSError, ValueError, IndexError),
              open(f'/proc/{name}/stat', 'rb') as file):
            # The name of the program, in parentheses, can hold anything.
            parent = int(file.read().rpartition(b')')[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    new = [os.getpid()]
    while new:
        new = [child for pid in new for child in children.get(pid, [])]
        found += new
    return found


if __name__ == '__main__':
    sys.exit(main())

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

"""Finding out by trial what a confined process can still do."""

import _socket  # The module socket loads selectors.
import errno
import os
import sys

from glance_xs_convert.worker import protocol

#: An address reserved for documentation (RFC 5737), which nobody has.
_ADDRESS = ('192.0.2.1', 9)
#: The exit status of a process that could not execute a program.
_NOT_EXECUTED = 99
#: The length of an argument that is too long for any program, in characters.
_TOO_LONG = 256 * 1024


def look() -> protocol.Findings:
    """Try to break out of the sandbox, without changing anything."""
    return protocol.Findings(
        files=_can_open_files(), network=_can_reach_network(),
        programs=_can_execute(), processes=_can_signal() or _can_fork())


def _can_open_files() -> bool:
    for path in (os.sep, sys.executable):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        return True
    return False


def _can_reach_network() -> bool:
    """Whether the process can reach another host."""
    try:
        # Connecting a datagram socket does not send anything.
        _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).connect(_ADDRESS)
    except OSError:
        return False
    return True


def _can_execute() -> bool:
    program = sys.executable
    try:
        child = os.fork()
    except OSError:
        # A program would replace this process, so make it fail at the last
        # moment.
        try:
            os.execv(program, [program, _TOO_LONG * 'x'])  # nosec B606
        except OSError as error:
            return error.errno == errno.E2BIG
    if not child:
        try:
            os.execv(program, [program, '-c', ''])  # nosec B606
        finally:
            os._exit(_NOT_EXECUTED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != _NOT_EXECUTED


def _can_signal() -> bool:
    """Whether the process can send its parent a signal."""
    try:
        os.kill(os.getppid(), 0)
    except OSError:
        return False
    return True


def _can_fork() -> bool:
    try:
        child = os.fork()
    except OSError:
        return False
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return True

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

"""Doing a command's work in a confined copy of its process.

The converter's process only reports its result to a parent. A command that
shows much of what it reads, such as ``inspect``, does its own work in a
confined copy of itself instead. Whatever a malicious image makes that copy do,
it can only read the archive and write to the descriptors that are open.
"""

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import logging
import os
import signal
import sys

from glance_xs_convert.cli import common
from glance_xs_convert import exceptions
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import replies
from glance_xs_convert.worker import sandbox

LOG = logging.getLogger(__name__)

#: The longest message, in bytes.
_LONGEST = 1 << 16
#: The message after which the work is complete.
_DONE = b'done'
#: The environment variables that the work may need.
_ENVIRONMENT = frozenset(('COLORTERM', 'COLUMNS', 'LINES', 'NO_COLOR', 'TERM'))
_STDIN = 0
_STANDARD = frozenset((_STDIN, 1, 2))
#: Higher numbers do not occur: the parent closes what it inherits.
_MOST_DESCRIPTORS = 1 << 16


def run(wanted: str, work: Callable[[], int], keep: Iterable[int], *,
        modules: Iterable[str] = (), debug: bool = False) -> int:
    """Do work in a confined copy of this process, which must have one thread.

    The work can print, but must not open files or load other modules.

    :param wanted: one of ``protocol.SANDBOXES``; if it is off, this process
                   does the work itself
    :param work: function that returns an exit status
    :param keep: descriptors that the work needs; of others, it has only
                 standard output and standard error
    :param modules: names of modules that the work loads on demand
    :param debug: whether to show where an unexpected error comes from
    :returns: exit status; if the copy's is not 0, this process exits with it
    :raises XsConvertError: the work raised it, the copy was killed, or the
                            host cannot provide the required confinement
    """
    if wanted == protocol.OFF:
        return _with_enough_memory(work)
    sandbox.load_late(*modules)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    source, target = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            _isolate({*keep, target})
            status = _do(wanted, work, target, debug)
        finally:
            os._exit(status)
    try:
        os.close(target)
        with open(source, 'rb') as pipe:
            message = pipe.read(_LONGEST)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    if message and message != _DONE:
        raise _error(message)
    if status > 0:
        sys.exit(status)
    if status or message != _DONE:
        raise exceptions.ConverterStopped(
            f'the inspection ended unexpectedly, with status {status}')
    return status


def _isolate(keep: set[int]) -> None:
    """Take from this process what the command has and the work does not need.

    What is a secret remains in its memory, but is harder to find.
    """
    # Who has a controlling terminal can type on it.
    os.setsid()
    for name in os.environ.keys() - _ENVIRONMENT:
        del os.environ[name]
    if _STDIN not in keep:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, _STDIN)
    last = -1
    for descriptor in sorted(keep | _STANDARD | {_MOST_DESCRIPTORS}):
        # Python takes an empty range that begins at 0 for all descriptors.
        if descriptor > last + 1:
            os.closerange(last + 1, descriptor)
        last = descriptor


def _do(wanted: str, work: Callable[[], int], target: int, debug: bool,
        ) -> int:
    """Do the work in the copy, and tell the original how it ended."""
    try:
        privileges.end_with_parent()
        privileges.enter_empty_network()
        sandbox.enter(wanted, terminal=True)
        status = _with_enough_memory(work)
        failure = common.flush()
        os.write(target, _DONE)
        return status or failure
    except exceptions.XsConvertError as error:
        os.write(target, protocol.encode_error(error))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except Exception as error:  # As cliff shows it.
        LOG.error(error, exc_info=debug)
    return 1


def _with_enough_memory(work: Callable[[], int]) -> int:
    """:raises LimitExceeded: there is not enough memory for the work"""
    try:
        return work()
    except MemoryError:
        raise exceptions.LimitExceeded(
            'the image needs more memory than is available') from None


def _error(message: bytes) -> exceptions.XsConvertError:
    try:
        _, fields = replies.parse(message)
        return replies.error(fields)
    except replies.Invalid:
        return exceptions.ConverterStopped(
            'the inspection sent an invalid message')

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

"""Giving up a process's privileges for good."""

import ctypes
import os
import signal

#: Operations of Linux's prctl(2).
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

#: The version of the structures of capset(2), with two words for each set.
_CAPABILITY_VERSION_3 = 0x20080522

#: Flags of unshare(2).
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (('version', ctypes.c_uint32), ('pid', ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (('effective', ctypes.c_uint32),
                ('permitted', ctypes.c_uint32),
                ('inheritable', ctypes.c_uint32))


def enter_empty_network() -> None:
    """Enter an empty network namespace if permitted.

    This requires a privilege or a user namespace, and must happen before the
    process has other threads.
    """
    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNET) and os.geteuid():
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def end_with_parent() -> None:
    """Let the kernel kill the process when its parent ends."""
    _prctl(ctypes.CDLL(None), _PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_descendants() -> None:
    """Become the parent of descendants whose own parents have ended."""
    _prctl(ctypes.CDLL(None), _PR_SET_CHILD_SUBREAPER, 1)


def refuse_inspection() -> None:
    """Keep other processes of the same user out of this one's memory."""
    _prctl(ctypes.CDLL(None), _PR_SET_DUMPABLE, 0)


def drop() -> None:
    """Give up all capabilities and all ways to gain them.

    The process does not leave core dumps either, and other processes of the
    same user cannot inspect it.

    :raises OSError: the kernel refuses
    """
    libc = ctypes.CDLL(None, use_errno=True)
    capability = 0
    # This ends after the last capability, or without the privilege to drop.
    while not _prctl(libc, _PR_CAPBSET_DROP, capability):
        capability += 1
    # Older kernels do not have ambient capabilities.
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (_CapabilitySets * 2)()
    if (libc.capset(ctypes.byref(header), ctypes.byref(nothing))
            or _prctl(libc, _PR_SET_DUMPABLE, 0)
            or _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _prctl(libc: ctypes.CDLL, operation: int, argument: int) -> int:
    result: int = libc.prctl(operation, *map(
        ctypes.c_ulong, (argument, 0, 0, 0)))
    return result

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

"""Landlock, with which a process gives up rights for good.

Open descriptors stay usable. C libraries do not have functions for it. Source:
Linux, ``Documentation/userspace-api/landlock.rst`` and
``include/uapi/linux/landlock.h``.
"""

import ctypes
import errno
import os

#: System calls; the numbers are the same on all architectures.
_CREATE_RULESET = 444
_RESTRICT_SELF = 446

_CREATE_RULESET_VERSION = 1

#: The rights on files that each version of the ABI knows, as bits.
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1,
          4: (1 << 15) - 1, 5: (1 << 16) - 1}
#: The rights to bind and to connect TCP sockets, and the first version of the
#: ABI that knows them.
_TCP = 0b11
_TCP_ABI = 4
#: The rights to reach abstract Unix sockets and to send signals outside the
#: process, and the first version of the ABI that knows them.
_SCOPES = 0b11
_SCOPES_ABI = 6


class Unavailable(Exception):
    """The kernel does not support Landlock, or it is turned off."""


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (('handled_access_fs', ctypes.c_uint64),
                ('handled_access_net', ctypes.c_uint64),
                ('scoped', ctypes.c_uint64))


def restrict() -> list[str]:
    """Give up all rights, in this thread and those that it starts.

    The process must have given up the ability to gain privileges.

    :returns: the rights that this kernel's version cannot deny
    :raises Unavailable: the process has not given up anything
    """
    version = _version()
    attributes = _RulesetAttributes(
        _FILES[min(version, max(_FILES))],
        _TCP if version >= _TCP_ABI else 0,
        _SCOPES if version >= _SCOPES_ABI else 0)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes),
                    ctypes.c_size_t(ctypes.sizeof(attributes)),
                    ctypes.c_uint32(0))
    try:
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    lacks = {'TCP': _TCP_ABI, 'signals and abstract sockets': _SCOPES_ABI}
    return [what for what, since in lacks.items() if version < since]


def _version() -> int:
    return _call(_CREATE_RULESET, None, ctypes.c_size_t(0),
                 ctypes.c_uint32(_CREATE_RULESET_VERSION))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise Unavailable({
            errno.ENOSYS: 'the kernel does not support it',
            errno.EOPNOTSUPP: 'it is turned off in the kernel',
        }.get(error, os.strerror(error)))
    return result

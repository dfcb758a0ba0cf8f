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

"""A filter for system calls, made with the distribution's libseccomp.

It allows only the calls that a conversion needs: the process can read, write
and measure open files, allocate memory, start threads, wait, and end. Calls
that open files, execute programs, connect, trace or start processes fail.
"""

import ctypes
import errno
import os

_LIBRARY = 'libseccomp.so.2'
#: The architectures on which clone(2) has its flags in the first argument.
_MACHINES = ('x86_64', 'aarch64')

#: Actions, from seccomp.h.
_KILL_PROCESS = 0x80000000
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

#: Attributes and operators, from seccomp.h.
_ATTRIBUTE_BAD_ARCHITECTURE = 2
_ATTRIBUTE_ALL_THREADS = 4
_EQUAL = 4
_MASKED_EQUAL = 7

_CLONE_THREAD = 0x00010000
#: All the flags of clone(2) that make a namespace.
_CLONE_NEW = 0x7E020000
_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000
#: The commands of fcntl(2) that change nothing.
_F_GETFD = 1
_F_GETFL = 3
#: The mode of fallocate(2) that makes a hole and keeps the size. Any other
#: could take space that no byte of the disk needs.
_FALLOC_PUNCH_HOLE = 3

#: Calls that are allowed with any arguments. Names that the architecture does
#: not have are ignored.
_CALLS = (
    # Open files.
    'close', 'fadvise64', 'fdatasync', 'fstat', 'fstatfs',
    'fsync', 'ftruncate', 'lseek', 'poll', 'ppoll', 'pread64', 'preadv',
    'preadv2', 'pselect6', 'pwrite64', 'pwritev', 'pwritev2', 'read', 'readv',
    'select', 'write', 'writev',
    # Memory.
    'brk', 'madvise', 'mincore', 'mremap', 'munmap',
    # Threads.
    'futex', 'get_robust_list', 'membarrier', 'rseq', 'sched_getaffinity',
    'sched_yield', 'set_robust_list', 'set_tid_address',
    # Signals to itself, and time.
    'clock_getres', 'clock_gettime', 'clock_nanosleep', 'getitimer',
    'gettimeofday', 'nanosleep', 'restart_syscall', 'rt_sigaction',
    'rt_sigpending', 'rt_sigprocmask', 'rt_sigreturn', 'rt_sigtimedwait',
    'sigaltstack', 'time',
    # Information on the process and the system.
    'getcpu', 'getegid', 'geteuid', 'getgid', 'getpid', 'getppid',
    'getrandom', 'getrlimit', 'getrusage', 'gettid', 'getuid', 'sysinfo',
    'times', 'uname',
    # The end.
    'exit', 'exit_group',
)


class Unavailable(Exception):
    """The filter is not in force."""


class _Comparison(ctypes.Structure):
    _fields_ = (('argument', ctypes.c_uint), ('operator', ctypes.c_int),
                ('first', ctypes.c_uint64), ('second', ctypes.c_uint64))


class Filter:
    """A filter with which the kernel refuses all other calls.

    :raises Unavailable: the filter cannot be made
    """

    def __init__(self) -> None:
        if os.uname().machine not in _MACHINES:
            raise Unavailable(f'it is not supported on {os.uname().machine}')
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise Unavailable(f'{_LIBRARY} is not installed') from None
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(
            ctypes.c_uint32(_ERRNO | errno.EPERM)))
        self._fill()

    def load(self) -> None:
        """Put the filter in force, for all threads and for good.

        :raises Unavailable: the kernel refuses
        """
        self._check(self._library.seccomp_load(self._context))

    def _fill(self) -> None:
        for attribute, value in (
                (_ATTRIBUTE_BAD_ARCHITECTURE, _KILL_PROCESS),
                (_ATTRIBUTE_ALL_THREADS, 1)):
            self._check(self._library.seccomp_attr_set(
                self._context, attribute, ctypes.c_uint32(value)))
        for name in _CALLS:
            self._allow(name)
        pid = os.getpid()
        # The C library starts threads with clone if clone3 is missing. A
        # filter cannot examine the arguments of clone3.
        self._add('clone3', _ERRNO | errno.ENOSYS)
        self._allow('clone', (0, _MASKED_EQUAL, _CLONE_THREAD | _CLONE_NEW,
                              _CLONE_THREAD))
        self._allow('mmap', (2, _MASKED_EQUAL, _PROT_EXEC, 0))
        self._allow('mprotect', (2, _MASKED_EQUAL, _PROT_EXEC, 0))
        self._allow('newfstatat', (
            3, _MASKED_EQUAL, _AT_EMPTY_PATH, _AT_EMPTY_PATH))
        self._allow('fallocate', (1, _EQUAL, _FALLOC_PUNCH_HOLE, 0))
        for command in (_F_GETFD, _F_GETFL):
            self._allow('fcntl', (1, _EQUAL, command, 0))
        for name in ('kill', 'tgkill'):
            self._allow(name, (0, _EQUAL, pid, 0))
        # Allow the process to read its own limits, but not to set them.
        self._allow('prlimit64', (0, _EQUAL, 0, 0), (2, _EQUAL, 0, 0))

    def _allow(self, name: str,
               *comparisons: tuple[int, int, int, int]) -> None:
        self._add(name, _ALLOW, *comparisons)

    def _add(self, name: str, action: int,
             *comparisons: tuple[int, int, int, int]) -> None:
        """Add a rule, which applies if all comparisons are true."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (_Comparison * len(comparisons))(*(
            _Comparison(*comparison) for comparison in comparisons))
        self._check(self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(array),
            array))

    def _check(self, result: int) -> None:
        """Check that libseccomp, which returns -errno, has succeeded."""
        if result:
            raise Unavailable(os.strerror(-result))

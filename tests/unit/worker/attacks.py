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

"""A converter in whose decompressor a stranger's code runs.

    python -m tests.unit.worker.attacks SETTINGS

It does what the interpreter of a converter is asked for, with the decompressor
replaced. SETTINGS is JSON: ``attacks`` are names of functions below, ``off``
are means of confinement that are switched off, and the other members say where
to attack. What came of it is written to standard error, as JSON.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import stat
import sys
import time

from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.worker import child
from glance_xs_convert.worker import landlock
from glance_xs_convert.worker import privileges
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import sandbox
from glance_xs_convert.worker import seccomp

#: From linux/ptrace.h and sched.h.
_PTRACE_SEIZE = 0x4206
_CLONE_NEWUSER = 0x10000000

#: Numbers of system calls, the same everywhere.
_IO_URING_SETUP = 425

#: Whoever is attacked takes no notice of it.
_HARMLESS = signal.SIGURG

LIBC = ctypes.CDLL(None, use_errno=True)


class Denied(Exception):
    """An attack was repelled."""


def _checked(result):
    if result < 0:
        raise Denied(os.strerror(ctypes.get_errno()))
    return result


def read_configuration(settings):
    """Read ``glance-api.conf``."""
    with open(settings['configuration']) as file:
        return file.read()


def list_directory(settings):
    """List a directory."""
    return os.listdir('/')


def read_environment_of_init(settings):
    """Read ``/proc/1/environ``."""
    with open('/proc/1/environ', 'rb') as file:
        return len(file.read())


def read_memory_of_parent(settings):
    """Read the parent's memory in ``/proc``."""
    with open(f'/proc/{os.getppid()}/mem', 'rb') as file:
        return file.fileno()


def write_beside_the_disk(settings):
    """Write a file beside the disk."""
    with open(settings['beside'], 'w') as file:
        return file.write('I was here')


def execute_program(settings):
    """Execute a program."""
    try:
        process = os.fork()
    except OSError:
        # If this succeeds nothing is said any more, which is noticed, too.
        os.execv('/bin/true', ['true'])
    if not process:
        try:
            os.execv('/bin/true', ['true'])
        finally:
            os._exit(99)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 99:
        raise Denied


def _connect(family, kind, address):
    with socket.socket(family, kind) as connection:
        connection.settimeout(5)
        connection.connect(address)
        connection.send(b'hello')


def connect_tcp(settings):
    """Connect by TCP."""
    _connect(socket.AF_INET, socket.SOCK_STREAM,
             ('127.0.0.1', settings['tcp']))


def connect_udp(settings):
    """Send by UDP."""
    _connect(socket.AF_INET, socket.SOCK_DGRAM,
             ('127.0.0.1', settings['udp']))


def connect_unix_socket(settings):
    """Connect to a Unix socket."""
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, settings['unix'])


def connect_abstract_socket(settings):
    """Connect to an abstract Unix socket."""
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, '\0' + settings['abstract'])


def signal_parent(settings):
    """Send the parent a signal."""
    os.kill(os.getppid(), _HARMLESS)


def trace_parent(settings):
    """Trace the parent."""
    _checked(LIBC.ptrace(_PTRACE_SEIZE, os.getppid(), 0, 0))


def fork(settings):
    """Start a process."""
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)


def load_library(settings):
    """Load a library."""
    ctypes.CDLL(settings['library'])


def make_code(settings):
    """Make memory executable."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def make_anonymous_file(settings):
    """Make an anonymous file."""
    return os.memfd_create('code')


def enter_user_namespace(settings):
    """Enter a user namespace."""
    process = os.fork()
    if not process:
        os._exit(LIBC.unshare(_CLONE_NEWUSER) and 1)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise Denied


def use_io_uring(settings):
    """Use io_uring."""
    parameters = ctypes.create_string_buffer(120)
    return _checked(LIBC.syscall(_IO_URING_SETUP, 1, parameters))


def raise_limits(settings):
    """Raise a limit."""
    import resource

    hard = 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def allocate_space(settings):
    """Take space that the disk does not need."""
    for number in range(3, 64):
        for mode in (0, 1, 8, 0x10, 0x20, 0x40):
            if not LIBC.fallocate(number, mode, ctypes.c_long(0),
                                  ctypes.c_long(8192)):
                return
    raise Denied


def leave_writer(settings):
    """Leave a process behind that goes on to write to the disk."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(0)
    os.close(1)
    os.close(2)
    with open(settings['beside'], 'w') as file:
        file.write(str(os.getpid()))
    while True:
        for number in range(3, 64):
            try:
                os.pwrite(number, b'x', 0)
            except OSError:
                continue


def claim_success(settings):
    """Say that the disk is complete, and end as if it were."""
    while not (os.path.exists(settings['beside'])
               and os.path.getsize(settings['beside'])):
        time.sleep(0.01)
    for number in range(3, 64):
        try:
            os.ftruncate(number, 1024)
        except OSError:
            continue
    line = json.dumps({'result': {
        'virtual_size': 1024, 'layers': [], 'allocated': 4096,
        'source_size': 0, 'source_sha256': '0' * 64,
        'guest': None, 'disk': None, 'notes': [], 'ignored': [],
    }}).encode() + b'\n'
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, line)
        except OSError:
            continue
    os._exit(0)


def fill_memory(settings):
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 ** 2))


def fill_disk(settings):
    """Write beyond the largest disk."""
    for number in range(3, 64):
        try:
            os.ftruncate(number, settings['size'])
        except OSError:
            continue
        os.pwrite(number, b'x', settings['size'])
        return


def fill_standard_error(settings):
    while True:
        os.write(2, bytes(4096))


def run_for_ever(settings):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def sleep_for_ever(settings):
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    while True:
        time.sleep(1)


class Hostile:
    """It takes the decompressor's place."""

    def __init__(self, source):
        found = {}
        for name in SETTINGS['attacks']:
            try:
                globals()[name](SETTINGS)
            except (Denied, MemoryError, OSError, ValueError) as error:
                found[name] = f'{type(error).__name__}: {error}'
            else:
                found[name] = None
        os.write(2, json.dumps({'attacks': found}).encode())
        os._exit(7)


def _missing(*arguments):
    raise seccomp.Unavailable('it is switched off')


SWITCHES = {
    'landlock': lambda: setattr(landlock, 'restrict', _missing),
    'seccomp': lambda: setattr(seccomp, 'Filter', _missing),
    'limits': lambda: setattr(sandbox, '_allow_no_descriptors', _missing),
    'network': lambda: setattr(privileges, 'enter_empty_network',
                               lambda: None),
}

if __name__ == '__main__':
    SETTINGS = json.loads(sys.argv[1])
    # How much later than warned of a process is killed, in processor time.
    protocol.GRACE = 1
    for switched_off in SETTINGS['off']:
        SWITCHES[switched_off]()
    decompress.Gunzip = Hostile
    sys.exit(child.main())

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
"""A stand-in for virt-v2v-in-place and virt-inspector.

It does not adapt anything. It does what the disk tells it to, in the words and
with the exit status of the real tools, so that tests can see what becomes of
it: real disks and real overlays, but no appliance and no guest. The real tools
are tested by ``tox -e guest``.
"""

from collections import abc
import json
import os
import pathlib
import struct
import subprocess
import sys
import time
from xml.sax import saxutils

_MIB = 1024 ** 2
#: Where on the disk the instructions are, and how many bytes they have.
_PLACE = 512 * 1024
_LENGTH = 64 * 1024
_SECTOR = 512
#: The first sector of the only partition.
_FIRST = 1
_SIGNATURE = b'\x55\xaa'
_BOOT_CODE = b'\xeb\x63\x90'

TOOL = 'virt-v2v-in-place'
INSPECTOR = 'virt-inspector'
VERSION = f'{TOOL} 0.0.0stand-in'

#: What a healthy inspector and a healthy tool say.
DEBIAN = {'name': 'linux', 'arch': 'x86_64', 'distro': 'debian',
          'product_name': 'Debian GNU/Linux 12 (bookworm)',
          'major_version': '12', 'minor_version': '5'}
WORDS = (
    '[   0.0] Setting up the source: -i disk overlay',
    '[   1.0] Opening the source',
    '[   6.0] Inspecting the source',
    '[   9.0] Checking for sufficient free disk space in the guest',
    '[   9.0] Converting Debian GNU/Linux 12 (bookworm) to run on KVM',
    f'{TOOL}: This guest has virtio drivers installed.',
    '[  60.0] Mapping filesystem data to avoid copying unused areas',
    '[  61.0] Closing the overlay',
)
#: What the tool writes to the guest's disk: place, byte, length.
WRITTEN = ((2 * _MIB, 0xA5, 65536), (4 * _MIB + 512, 0x5A, 512))
STARTED = 'libguestfs: trace: launch = 0'


def disk(size: int = 8 * _MIB, *, boots: bool = True,
         **instructions: object) -> bytes:
    """Make a disk that tells the stand-in what to do.

    :param boots: whether there is boot code
    :param instructions: ``systems`` (a list of dictionaries, for the
                         inspector), ``packages``, ``document`` (instead of
                         both), ``words`` (lines on standard output),
                         ``errors`` (lines on standard error), ``status``,
                         ``inspector_errors``, ``inspector_status``, ``hangs``
                         (``inspector`` or ``tool``: with KVM, before it has
                         started), ``sleep`` (seconds, in the tool), ``leaves``
                         (a program that goes on), ``flood``
    """
    data = bytearray(size)
    data[_MIB:_MIB + 8] = b'the disk'
    if boots:
        data[:len(_BOOT_CODE)] = _BOOT_CODE
    # One active partition: Glance refuses a boot record without any.
    data[446:462] = struct.pack(
        '<B3sB3sII', 0x80, b'\0\2\0', 0x83, b'\xfe\xff\xff', _FIRST,
        size // _SECTOR - _FIRST)
    data[510:512] = _SIGNATURE
    encoded = json.dumps(instructions).encode()
    data[_PLACE:_PLACE + len(encoded)] = encoded
    return bytes(data)


def adapted(data: bytes) -> bytes:
    """Return a disk as the stand-in leaves it."""
    changed = bytearray(data)
    for place, value, length in WRITTEN:
        changed[place:place + length] = bytes([value]) * length
    return bytes(changed)


def install(directory: pathlib.Path) -> tuple[str, str]:
    """Install the stand-in.

    :returns: the paths of the tool and of the inspector
    """
    paths = []
    for name in (TOOL, INSPECTOR):
        path = directory / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -I '
                        f'{__file__} {name} "$@"\n')
        path.chmod(0o755)
        paths.append(str(path))
    return paths[0], paths[1]


def _main(name: str, arguments: list[str]) -> int:
    if '--version' in arguments:
        print(VERSION)
        return 0
    if name == INSPECTOR:
        wanted = _instructions(arguments[arguments.index('-a') + 1])
        return _inspect(wanted)
    overlay = arguments[-1]
    found = json.loads(_run('qemu-img', 'info', '--output=json', overlay))
    return _adapt(_instructions(found['full-backing-filename']), overlay)


def _instructions(path: str) -> dict[str, object]:
    with open(path, 'rb') as file:
        file.seek(_PLACE)
        wanted: dict[str, object] = json.loads(
            file.read(_LENGTH).rstrip(b'\0') or b'{}')
    return wanted


def _inspect(wanted: dict[str, object]) -> int:
    _start(wanted, INSPECTOR)
    for line in _lines(wanted, 'inspector_errors'):
        print(line, file=sys.stderr)
    if 'document' in wanted:
        print(wanted['document'])
    else:
        print(_document(wanted.get('systems', [DEBIAN]),
                        wanted.get('packages', [])))
    return int(str(wanted.get('inspector_status', 0)))


def _document(systems: object, packages: object) -> str:
    applications = ''.join(
        f'<application><name>{saxutils.escape(name)}</name></application>'
        for name in packages if isinstance(packages, list))
    return '<?xml version="1.0"?><operatingsystems>' + ''.join(
        '<operatingsystem><root>/dev/sda1</root>' + ''.join(
            f'<{key}>{saxutils.escape(value)}</{key}>'
            for key, value in one.items())
        + f'<applications>{applications}</applications></operatingsystem>'
        for one in systems if isinstance(systems, list)
    ) + '</operatingsystems>'


def _adapt(wanted: dict[str, object], overlay: str) -> int:
    for line in WORDS[:2]:
        print(line, flush=True)
    _start(wanted, TOOL)
    if 'leaves' in wanted:
        subprocess.Popen(['sleep', str(wanted['leaves'])],
                         start_new_session=True, close_fds=False)
    for place, value, length in WRITTEN:
        _run('qemu-io', '-f', 'qcow2', '-c',
             f'write -P {value} {place} {length}', overlay)
    time.sleep(float(str(wanted.get('sleep', 0))))
    while wanted.get('flood'):
        print('flood ' * 1000, file=sys.stderr)
    for line in _lines(wanted, 'errors'):
        print(line, file=sys.stderr)
    for line in _lines(wanted, 'words', WORDS[2:]):
        print(line, flush=True)
    return int(str(wanted.get('status', 0)))


def _start(wanted: dict[str, object], name: str) -> None:
    """Start, or hang as an appliance does with KVM on some hosts."""
    without = 'force_tcg' in os.environ.get(
        'LIBGUESTFS_BACKEND_SETTINGS', '')
    if wanted.get('hangs') == name and not without:
        time.sleep(3600)
    if wanted.get('hangs') == 'always':
        time.sleep(3600)
    print(STARTED, file=sys.stderr, flush=True)


def _lines(wanted: dict[str, object], key: str,
           usual: abc.Sequence[str] = ()) -> list[str]:
    lines = wanted.get(key, usual)
    return [str(line) for line in lines] if isinstance(
        lines, (list, tuple)) else []


def _run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True,
                          stdin=subprocess.DEVNULL).stdout


if __name__ == '__main__':
    sys.exit(_main(sys.argv[1], sys.argv[2:]))

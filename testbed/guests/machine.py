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
"""Booting a disk under qemu, with the devices that image properties name."""

from collections import abc
import dataclasses
import os
import pathlib
import re
import selectors
import shutil
import subprocess
import tempfile
import time

#: What a guest says on its console when it is up, and when it never will be.
_UP = re.compile(r'GUEST IS UP: root=(\S*) network=(\S*)[\r\n]')
_LOST = re.compile(
    r'\(initramfs\)|Dropping to a shell|Kernel panic|No bootable device|'
    r'you need to load the kernel first|'
    r'UEFI Interactive Shell|grub rescue>|Operating system not found|'
    r'Boot Failed\. |No bootable option or device')

_FIRMWARE = (('/usr/share/OVMF/OVMF_CODE_4M.fd',
              '/usr/share/OVMF/OVMF_VARS_4M.fd'),
             ('/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'))
_QEMU = 'qemu-system-x86_64'
_CARDS = {'virtio': 'virtio-net-pci', 'e1000': 'e1000',
          'rtl8139': 'rtl8139'}
_TICK = 1.0
#: What the console has said, in characters, is kept up to here.
_KEPT = 20000


@dataclasses.dataclass(frozen=True)
class Booted:
    """What became of a boot.

    :ivar is_up: whether the guest came up
    :ivar root: the device of its root file system
    :ivar network: the drivers of its network cards
    :ivar console: the end of what it said
    :ivar seconds: how long it took
    """

    is_up: bool
    root: str
    network: str
    console: str
    seconds: float


def missing() -> list[str]:
    """Return what is not installed."""
    return [] if shutil.which(_QEMU) else [_QEMU]


def boot(disk: pathlib.Path, properties: abc.Mapping[str, str],
         patience: float) -> Booted:
    """Boot a disk, which is not changed, until it is clear what becomes of it.

    KVM is used if it works; some nested ones abort.

    :param properties: ``hw_disk_bus``, ``hw_vif_model`` and
                       ``hw_firmware_type`` count
    :param patience: seconds after which the guest counts as lost
    """
    for accelerator in ('kvm', 'tcg'):
        if accelerator == 'kvm' and not os.access('/dev/kvm',
                                                  os.R_OK | os.W_OK):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found, status = _run(
                _command(disk, properties, accelerator,
                         pathlib.Path(scratch)), patience)
        if accelerator == 'tcg' or found.is_up or not status:
            break
    return found


def _command(disk: pathlib.Path, properties: abc.Mapping[str, str],
             accelerator: str, scratch: pathlib.Path) -> list[str]:
    is_uefi = properties.get('hw_firmware_type') == 'uefi'
    machine = 'q35' if is_uefi else properties.get('hw_machine_type', 'pc')
    command = [
        # The BIOS speaks on the serial line if there are no graphics.
        _QEMU, '-machine', f'{machine},graphics=off,accel={accelerator}',
        '-cpu', 'max' if accelerator == 'tcg' else 'host', '-m', '1024',
        '-nodefaults', '-display', 'none', '-serial', 'stdio', '-monitor',
        'none', '-no-reboot', '-drive',
        f'if=none,id=disk,file={disk},format=raw,snapshot=on']
    if is_uefi:
        code, variables = next(pair for pair in _FIRMWARE
                               if os.path.exists(pair[0]))
        copy = scratch / 'variables.fd'
        shutil.copyfile(variables, copy)
        command += [
            '-drive', f'if=pflash,format=raw,readonly=on,file={code}',
            '-drive', f'if=pflash,format=raw,file={copy}']
    bus = properties.get('hw_disk_bus', 'virtio')
    command += {
        'virtio': ['-device', 'virtio-blk-pci,drive=disk,bootindex=0'],
        'ide': ['-device', 'ide-hd,drive=disk,bootindex=0'],
        'sata': ['-device', 'ich9-ahci,id=sata', '-device',
                 'ide-hd,drive=disk,bus=sata.0,bootindex=0'],
    }[bus]
    card = _CARDS[properties.get('hw_vif_model', 'virtio')]
    return [*command, '-netdev', 'user,id=net,restrict=on', '-device',
            f'{card},netdev=net']


def _run(command: list[str], patience: float) -> tuple[Booted, int]:
    """Run a machine until its guest is up, or lost.

    :returns: what became of it, and qemu's exit status; 0 if it was ended
    """
    begun = time.monotonic()
    console, status = '', 0
    up = lost = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (not (up or lost)
                   and time.monotonic() - begun < patience):
                if not selector.select(_TICK):
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    status = process.wait()
                    break
                console = (console + data.decode(errors='replace'))[-_KEPT:]
                up = _UP.search(console)
                lost = _LOST.search(console)
        process.kill()
    return Booted(bool(up), up[1] if up else '', up[2] if up else '',
                  console, time.monotonic() - begun), status

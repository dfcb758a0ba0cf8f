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
"""Debian guests as XenServer has them, made from packages.

Each initramfs knows XenServer's disks alone, and ``/etc/fstab`` names them. A
guest that is up says so on its serial console: see :data:`UP`.

This takes mmdebstrap, e2fsprogs, fdisk, gdisk, dosfstools and mtools, and root
or user namespaces; no virtual machine. GRUB is the guest's own.
"""

import pathlib
import shutil
import subprocess
import sys

SUITE = 'bookworm'
KINDS = ('bios', 'uefi', 'paravirtualized')
#: What a guest says: the device of its root, and the drivers of its network.
UP = 'GUEST IS UP: root={} network={}'

TOOLS = ('mmdebstrap', 'mke2fs', 'sfdisk', 'sgdisk', 'mkfs.vfat', 'mcopy')

_PACKAGES = ('linux-image-amd64', 'initramfs-tools', 'systemd-sysv', 'udev',
             'kmod', 'iproute2', 'grub-pc-bin', 'grub-efi-amd64-bin',
             'grub2-common')
_MIB = 1024 ** 2
_SECTOR = 512
_DISK = 1536 * _MIB
_ESP = 64 * _MIB
#: Room for the GPT at the end of a disk.
_END = _MIB
_BOOT_CODE = 440

#: Modules that are in the image of GRUB for EFI. Debian's signed one, which
#: loads no others, has these and more.
_SIGNED_MODULES = (
    'all_video', 'boot', 'cat', 'configfile', 'echo', 'ext2', 'fat', 'gettext',
    'gfxterm', 'gzio', 'linux', 'loadenv', 'ls', 'minicmd', 'normal',
    'part_gpt', 'probe', 'regexp', 'search', 'search_fs_file',
    'search_fs_uuid', 'search_label', 'serial', 'sleep', 'terminal', 'test',
    'true')

_SERVICE = """\
[Unit]
Description=Tell that the guest is up
After=systemd-udev-settle.service network.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/tell
StandardOutput=tty
TTYPath=/dev/console

[Install]
WantedBy=multi-user.target
"""
_TELL = """\
#!/bin/sh
cards=
for card in /sys/class/net/*/device/driver; do
    [ -e "$card" ] && cards="$cards$(basename "$(readlink "$card")")"
done
echo "GUEST IS UP: root=$(findmnt -no SOURCE /) network=$cards"
"""
_GRUB_DEFAULTS = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX="console=ttyS0"
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
"""
_GRUB = """\
set timeout=0
menuentry 'Debian' {{
  linux /boot/{kernel} root={root} ro console=ttyS0
  initrd /boot/{initramfs}
}}
"""
_FSTAB = {
    'bios': '/dev/xvda1 / ext4 defaults 0 1\n',
    'uefi': '/dev/xvda2 / ext4 defaults 0 1\n'
            '/dev/xvda1 /boot/efi vfat umask=0077 0 1\n',
    'paravirtualized': '/dev/xvda / ext4 defaults 0 1\n',
}


def missing_tools() -> list[str]:
    """Return the programs that are needed here but are not installed."""
    return [name for name in TOOLS if not (
        shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin'))]


def make(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Make the guests' disks, or find those that were made before.

    :returns: the raw disks by kind
    """
    disks = {kind: directory / f'{kind}.raw' for kind in KINDS}
    if all(path.exists() for path in disks.values()):
        return disks
    directory.mkdir(parents=True, exist_ok=True)
    # In a user namespace, the hook runs as somebody else.
    directory.chmod(0o1777)
    modules = ('printf "xen_blkfront\\next4\\n" > '
               '"$1/etc/initramfs-tools/modules"')
    _run('mmdebstrap', '--variant=minbase', '--format=null',
         f'--include={",".join(_PACKAGES)}',
         '--aptopt=Acquire::Languages "none"',
         *(f'--dpkgopt=path-exclude=/usr/share/{name}/*'
           for name in ('doc', 'locale', 'man')),
         '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" '
         '"$1/boot/efi"',
         f'--essential-hook={modules}',
         '--essential-hook=echo MODULES=list > '
         '"$1/etc/initramfs-tools/conf.d/xen"',
         f'--customize-hook={sys.executable} -I {__file__} "$1" {directory}',
         SUITE, '/dev/null')
    for kind, path in disks.items():
        partial = path.with_suffix('.part')
        with partial.open('wb') as file:
            file.truncate(_DISK)
        _ASSEMBLE[kind](directory, partial)
        partial.rename(path)
        (directory / f'{kind}.ext4').unlink()
    return disks


def _fill(root: pathlib.Path, directory: pathlib.Path) -> None:
    """Make the file systems, within mmdebstrap's namespace.

    :param root: the guest's root directory, with /proc and others mounted
    """
    copy = directory / 'root'
    _run('cp', '-a', '-x', str(root), str(copy))
    try:
        _fill_from(copy, directory)
    finally:
        shutil.rmtree(copy)


def _fill_from(root: pathlib.Path, directory: pathlib.Path) -> None:
    kernel, = root.glob('boot/vmlinuz-*')
    initramfs, = root.glob('boot/initrd.img-*')
    tell = root / 'usr' / 'local' / 'sbin' / 'tell'
    tell.write_text(_TELL)
    tell.chmod(0o755)
    units = root / 'etc' / 'systemd' / 'system'
    units.joinpath('tell.service').write_text(_SERVICE)
    wants = units / 'multi-user.target.wants'
    wants.mkdir(exist_ok=True)
    wants.joinpath('tell.service').symlink_to('../tell.service')
    root.joinpath('etc', 'default', 'grub').write_text(_GRUB_DEFAULTS)
    grub = root / 'boot' / 'grub'
    modules = root / 'usr' / 'lib' / 'grub'
    for platform in ('i386-pc', 'x86_64-efi'):
        shutil.copytree(modules / platform, grub / platform)
    for image, platform, prefix, built_in in (
            ('core.img', 'i386-pc', '(hd0,msdos1)/boot/grub',
             ('biosdisk', 'part_msdos', 'ext2')),
            ('bootx64.efi', 'x86_64-efi', '(hd0,gpt1)/EFI/debian',
             _SIGNED_MODULES)):
        _run('chroot', str(root), 'grub-mkimage', '-O', platform, '-o',
             f'/{image}', '-p', prefix, *built_in)
        (root / image).replace(root / 'boot' / image)
        shutil.copy(root / 'boot' / image, directory)
        (root / 'boot' / image).unlink()
    shutil.copy(modules / 'i386-pc' / 'boot.img', directory)
    for kind, fstab in _FSTAB.items():
        device = fstab.split()[0]
        root.joinpath('etc', 'fstab').write_text(fstab)
        grub.joinpath('grub.cfg').write_text(_GRUB.format(
            kernel=kernel.name, initramfs=initramfs.name, root=device))
        image_path = directory / f'{kind}.ext4'
        image_path.unlink(missing_ok=True)
        with image_path.open('wb') as file:
            file.truncate(_SIZES[kind])
        _run('mke2fs', '-q', '-F', '-t', 'ext4', '-d', str(root),
             str(image_path))
        image_path.chmod(0o644)


def _bios(directory: pathlib.Path, disk: pathlib.Path) -> None:
    """A master boot record, and GRUB in the gap behind it."""
    _run('sfdisk', '-q', str(disk), stdin=b'2048,,83,*\n')
    _copy(directory / 'bios.ext4', disk, _MIB)
    with disk.open('r+b') as file:
        file.write(directory.joinpath('boot.img').read_bytes()[:_BOOT_CODE])
        file.seek(_SECTOR)
        file.write(directory.joinpath('core.img').read_bytes())


def _uefi(directory: pathlib.Path, disk: pathlib.Path) -> None:
    """A GUID partition table with an EFI system partition."""
    sectors = _ESP // _SECTOR
    _run('sgdisk', '-n', f'1:2048:+{sectors}', '-t', '1:ef00',
         '-n', f'2:{(_MIB + _ESP + _MIB) // _SECTOR}:0', '-t', '2:8300',
         str(disk))
    esp = directory / 'esp.fat'
    with esp.open('wb') as file:
        file.truncate(_ESP)
    _run('mkfs.vfat', str(esp))
    # As with Debian's signed GRUB, the configuration there names the other
    # one; virt-v2v writes a whole one in its place.
    stub = directory / 'grub.cfg'
    stub.write_text('set root=(hd0,gpt2)\nset prefix=($root)/boot/grub\n'
                    'configfile $prefix/grub.cfg\n')
    for name in ('EFI', 'EFI/BOOT', 'EFI/debian'):
        _run('mmd', '-i', str(esp), f'::{name}')
    _run('mcopy', '-i', str(esp), str(directory / 'bootx64.efi'),
         '::EFI/BOOT/BOOTX64.EFI')
    _run('mcopy', '-i', str(esp), str(stub), '::EFI/debian/grub.cfg')
    _copy(esp, disk, _MIB)
    _copy(directory / 'uefi.ext4', disk, _MIB + _ESP + _MIB)


def _paravirtualized(directory: pathlib.Path, disk: pathlib.Path) -> None:
    """A file system without a partition: XenServer reads the kernel."""
    _copy(directory / 'paravirtualized.ext4', disk, 0)


_SIZES = {'bios': _DISK - _MIB, 'uefi': _DISK - _ESP - 2 * _MIB - _END,
          'paravirtualized': _DISK}
_ASSEMBLE = {'bios': _bios, 'uefi': _uefi,
             'paravirtualized': _paravirtualized}


def _copy(source: pathlib.Path, disk: pathlib.Path, offset: int) -> None:
    """Copy what is not zero to a place on a disk."""
    _run('dd', f'if={source}', f'of={disk}', f'bs={_MIB}',
         f'seek={offset // _MIB}', 'conv=notrunc,sparse', 'status=none')


def _run(*command: str, stdin: bytes = b'') -> None:
    path = shutil.which(command[0]) or shutil.which(
        command[0], path='/usr/sbin:/sbin')
    done = subprocess.run([path or command[0], *command[1:]], input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f'{command[0]} failed: '
                           f'{done.stdout.decode(errors="replace")[-2000:]}')


if __name__ == '__main__':
    _fill(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))

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

"""The descriptor of an OVF package (.ovf): machines, disks and files.

XenCenter, VirtualBox and VMware write the same elements with different
details. Source: DMTF DSP0243, "Open Virtualization Format Specification",
versions 1.1 and 2.1; for what XenCenter adds, XenOvfApi of xenadmin.
"""

import dataclasses
import posixpath
import re
import string
from typing import Literal
from urllib import parse as urls

from glance_xs_convert.converter.ovf import tree
from glance_xs_convert.converter import strict_xml
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert import text

#: The elements that describe the disks and CPUs of a machine (CIM resource
#: types): processor, memory, and the two that are in use for disks.
_PROCESSOR = '3'
_MEMORY = '4'
_DISKS = ('17', '19')

_ITEMS = ('Item', 'StorageItem', 'EthernetPortItem')
#: A disk as an item refers to it; the first form is the specification's.
_HOST_RESOURCE = re.compile(r'(?:ovf:)?/?(disk|file)/(.+)')
#: Units such as "byte * 2^20"; XenCenter also writes them in words.
_POWER = re.compile(r'byte\s*\*\s*(2|10)\s*\^\s*([0-9]{1,2})')
_WORDS = {'': 0, 'byte': 0, 'bytes': 0, 'kb': 10, 'kilobytes': 10, 'mb': 20,
          'megabytes': 20, 'gb': 30, 'gigabytes': 30}
_MAX_DIGITS = 19
_MAX_NUMBER = 2 ** 63 - 1

_XENCENTER = 'XenCenter'
_ROOT = 'Envelope'
#: What XenCenter's own elements are called.
_SETTING = 'VirtualSystemOtherConfigurationData'
_FIRMWARES: dict[str, Literal['bios', 'uefi']] = {
    'bios': 'bios', 'uefi': 'uefi', 'efi': 'uefi'}
_ENCRYPTED = ('EncryptedData', 'EncryptedKey')


def is_descriptor(path: str) -> bool:
    """Whether a file of this name is a descriptor."""
    return path.lower().endswith('.ovf')


def is_like_one(document: bytes) -> bool:
    """Whether a document is a descriptor, perhaps a damaged one."""
    return _ROOT.encode() in document.replace(b'\0', b'')


@dataclasses.dataclass(frozen=True)
class File:
    """A file that holds a disk.

    :ivar path: its name in the archive
    :ivar is_cut: whether it is cut into several files
    """

    path: str
    is_cut: bool


@dataclasses.dataclass(frozen=True)
class Package:
    """The part of the descriptor that matters here.

    :ivar directory: directory of the descriptor, with a slash at its end
    :ivar guests: the virtual machines
    :ivar disks: the disks of all machines; the reference of each is the path
                 of its file
    :ivar files: the files of the disks, by their paths
    :ivar chains: the files of each disk that is a difference to others, from
                  its own to that of the base, by the path of its own
    """

    directory: str
    guests: list[results.Guest]
    disks: list[results.Disk]
    files: dict[str, File]
    chains: dict[str, list[str]]

    def guest_of(self, disk: results.Disk | None) -> results.Guest | None:
        """Return the machine that a disk belongs to, or the first one."""
        for guest in self.guests:
            if disk is not None and guest.name == disk.machine:
                return guest
        return self.guests[0] if self.guests else None


def parse(document: bytes, path: str) -> Package:
    """Read a descriptor.

    :param document: at most ``strict_xml.MAX_SIZE`` bytes
    :param path: its name in the archive
    :raises DamagedPackage: it is damaged or contradicts itself
    :raises EncryptedVhd: the package is encrypted
    """
    name = text.printable(path)
    try:
        root = tree.read(document)
    except strict_xml.Refused as error:
        raise exceptions.DamagedPackage(str(error), member=name) from None
    if root.name != _ROOT:
        raise exceptions.DamagedPackage(
            f'it is not an OVF descriptor: its first element is '
            f'{text.printable(root.name)!r}, not "{_ROOT}"', member=name)
    if next(root.descendants(*_ENCRYPTED), None) is not None:
        raise exceptions.EncryptedVhd(
            'the package is encrypted and cannot be read without its key: '
            'export it again without encryption', member=name)
    return _Envelope(root, path).package()


class _Envelope:

    def __init__(self, root: tree.Element, path: str) -> None:
        self._member = text.printable(path)
        self._directory = path[:path.rfind('/') + 1]
        self._root = root
        self._files = {
            file.get('id'): File(self._path(file.get('href')),
                                 bool(file.get('chunkSize')))
            for file in root.descendants('File') if file.get('href')}
        self._described = {
            disk.get('diskId'): disk for disk in root.descendants('Disk')
            if disk.get('diskId')}
        #: The files of the disks so far, in the order of the disks.
        self._disks: dict[str, results.Disk] = {}
        #: The disks that are differences, by the paths of their files.
        self._differences: dict[str, tree.Element] = {}

    def package(self) -> Package:
        systems = list(self._root.descendants('VirtualSystem'))
        is_alone = len(systems) == 1
        for system in systems:
            machine = '' if is_alone else _name_of(system)
            for item in _items(system, _DISKS):
                self._add_item(item, machine)
        parents = {disk.get('parentRef') for disk in self._described.values()}
        for ref, disk in self._described.items():
            # A parent is a disk by itself only if a machine has it.
            if ref not in parents:
                self._add(disk, self._files.get(disk.get('fileRef')), None, '')
        disks = list(self._disks.values())
        return Package(
            self._directory, [self._guest(system) for system in systems],
            _numbered(disks, is_alone),
            {file.path: file for file in self._files.values()},
            {path: self._chain(path, disk)
             for path, disk in self._differences.items()})

    def _chain(self, path: str, disk: tree.Element) -> list[str]:
        """Return the files of a disk and of its parents.

        :param path: that of its own file
        :raises DamagedPackage: a parent is missing, or its own parent
        :raises LimitExceeded: there are too many parents
        """
        paths = [path]
        while ref := disk.get('parentRef'):
            parent = self._described.get(ref)
            file = (None if parent is None
                    else self._files.get(parent.get('fileRef')))
            if parent is None or file is None:
                raise exceptions.DamagedPackage(
                    f'the disk in {paths[-1]} is a difference to the disk '
                    f'{text.printable(ref)!r}, but no file is given for that',
                    member=self._member)
            if file.path in paths:
                raise exceptions.DamagedPackage(
                    f'the disks in {paths[-1]} and {file.path} are parents '
                    'of one another', member=self._member)
            if len(paths) == image_limits.MAX_CHAIN_LENGTH:
                raise exceptions.LimitExceeded(
                    f'the disk in {path} has more than '
                    f'{image_limits.MAX_CHAIN_LENGTH - 1} parents',
                    member=self._member)
            self._check_shown(file)
            paths.append(file.path)
            disk = parent
        return paths

    def _path(self, href: str) -> str:
        """Return the name in the archive of a file."""
        return self._directory + urls.unquote(href.removeprefix('./'))

    def _add_item(self, item: tree.Element, machine: str) -> None:
        """Add the disk that an item of a machine refers to."""
        found = _HOST_RESOURCE.fullmatch(item.child_text('HostResource'))
        kind, ref = found.groups() if found else (
            'disk', item.child_text('InstanceID'))
        if kind == 'file':
            self._add(None, self._files.get(ref), item, machine)
            return
        disk = self._described.get(ref)
        if disk is not None:
            self._add(disk, self._files.get(disk.get('fileRef')), item,
                      machine)

    def _add(self, disk: tree.Element | None, file: File | None,
             item: tree.Element | None, machine: str) -> None:
        """Add a disk, unless it is empty or known already.

        Two machines that share a disk do not have two.
        """
        if file is None or file.path in self._disks:
            return
        self._check_shown(file)
        if disk is not None and disk.get('parentRef'):
            self._differences[file.path] = disk
        name = '' if item is None else item.child_text(
            'ElementName', 'Caption')
        position = '' if item is None else item.child_text('AddressOnParent')
        self._disks[file.path] = results.Disk(
            file.path, text.printable(name or posixpath.basename(file.path)),
            0 if disk is None else _bytes(
                disk.get('capacity'), disk.get('capacityAllocationUnits')),
            '', text.printable(position),
            disk is not None and disk.get('isBootable') in ('true', '1'),
            machine)

    def _check_shown(self, file: File) -> None:
        """:raises DamagedPackage: the name of a file cannot be shown"""
        shown = text.printable(file.path)
        if shown != file.path:
            raise exceptions.DamagedPackage(
                f'it refers to a file as {shown!r}, a name that cannot be '
                'shown', member=self._member)

    def _guest(self, system: tree.Element) -> results.Guest:
        settings = {
            setting.get('Name'): setting.child_text('Value')
            for setting in system.descendants(_SETTING)}
        kind = ' '.join(
            found.child_text('VirtualSystemType')
            for found in system.descendants('System')).lower()
        bootloader = text.printable(settings.get('PV_bootloader', ''))
        is_paravirtualized = not settings.get('HVM_boot_policy') and bool(
            bootloader or settings.get('PV_kernel')
            or kind.startswith('xen-'))
        firmware = None if is_paravirtualized else _firmware(settings, system)
        return results.Guest(
            name=_name_of(system),
            product=_XENCENTER if settings or kind.startswith(
                ('xen-', 'hvm-')) else '',
            version='',
            memory=_quantity(system, _MEMORY) or None,
            cpus=_quantity(system, _PROCESSOR) or None,
            firmware=firmware,
            boot_mode='PV' if is_paravirtualized else 'HVM',
            bootloader=bootloader or None if is_paravirtualized else None)


def _numbered(disks: list[results.Disk], is_alone: bool,
              ) -> list[results.Disk]:
    """Number the disks, and name the devices of a single machine.

    The numbers are those of the machine's devices. Where these are missing or
    not unique, the disks are counted.
    """
    positions = [disk.position for disk in disks]
    if len(set(positions)) < len(disks) or not all(
            position.isascii() and position.isdecimal() and len(position) < 3
            for position in positions):
        disks = [dataclasses.replace(disk, position=str(number))
                 for number, disk in enumerate(disks)]
    if is_alone:
        disks = [dataclasses.replace(disk, device=_device(int(disk.position)))
                 for disk in disks]
    return sorted(disks, key=lambda disk: int(disk.position))


def _device(position: int) -> str:
    """Return a Xen guest's name for a device, or '' if it is unknown."""
    letters = string.ascii_lowercase
    return f'xvd{letters[position]}' if position < len(letters) else ''


def _items(system: tree.Element, kinds: tuple[str, ...],
           ) -> list[tree.Element]:
    """Return the items of a machine that are of these resource types."""
    return [item for item in system.descendants(*_ITEMS)
            if item.child_text('ResourceType') in kinds]


def _name_of(system: tree.Element) -> str:
    return text.printable(system.child_text('Name') or system.get('id'))


def _quantity(system: tree.Element, kind: str) -> int:
    """Return how much of a resource a machine has, or 0 if unknown."""
    for item in _items(system, (kind,)):
        quantity = item.child_text('VirtualQuantity')
        if kind != _MEMORY:
            return _bytes(quantity, '')
        # The specification's default is megabytes.
        return _bytes(quantity, item.child_text('AllocationUnits') or 'MB')
    return 0


def _firmware(settings: dict[str, str], system: tree.Element,
              ) -> Literal['bios', 'uefi'] | None:
    """Return the firmware as XenCenter or, failing that, VMware gives it."""
    for pair in settings.get('HVM_boot_params', '').split(';'):
        key, _, value = pair.partition('=')
        if key.strip() == 'firmware':
            return _FIRMWARES.get(value.strip().lower())
    for config in system.descendants('Config'):
        if config.get('key') == 'firmware':
            return _FIRMWARES.get(config.get('value').lower())
    return None


def _bytes(number: str, unit: str) -> int:
    """Return a number of units in bytes, or 0 if it is not a number."""
    if not (number.isascii() and number.isdecimal()
            and len(number) <= _MAX_DIGITS):
        return 0
    power = _POWER.fullmatch(unit.strip().lower())
    if power:
        factor = int(power[1]) ** int(power[2])
    else:
        factor = 1 << _WORDS.get(unit.strip().lower(), 0)
    size = int(number) * factor
    return size if size <= _MAX_NUMBER else 0

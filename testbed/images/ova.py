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

"""Packages (.ova) of virtual machines, as XenCenter writes them.

An archive holds the descriptor, then the manifest with the checksums of the
other files, perhaps a signature, and the disks as VHDs. The elements, names
and values follow XenCenter's own writer (xenadmin, ``XenOvfApi`` and
``Export.cs``).
"""

from collections import abc
import dataclasses
import gzip
import hashlib
import uuid
from xml.sax import saxutils

from testbed.images import archive
from testbed.images import vhd

SHA1 = 'SHA1'
SHA256 = 'SHA256'

VHD_FORMAT = ('http://www.microsoft.com/technet/virtualserver/downloads/'
              'vhdspec.mspx')
VMDK_FORMAT = ('http://www.vmware.com/interfaces/specifications/vmdk.html'
               '#streamOptimized')

_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-16"?>'
    '<ovf:Envelope'
    ' xmlns:xenovf="http://schemas.citrix.com/ovf/envelope/1"'
    ' xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/'
    'CIM_ResourceAllocationSettingData"'
    ' xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/'
    'CIM_VirtualSystemSettingData"'
    ' xml:lang="en-US" xenovf:Name="{name}" xenovf:id="{id}"'
    ' xenovf:version="1.0.0"'
    ' xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">{content}'
    '</ovf:Envelope>')


def _id(*names: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, repr(names)))


def _attributes(**values: object) -> str:
    return ''.join(f' ovf:{name}={saxutils.quoteattr(str(value))}'
                   for name, value in values.items() if value is not None)


def _element(name: str, value: object) -> str:
    return f'<{name}>{saxutils.escape(str(value))}</{name}>'


def digest(algorithm: str, data: bytes) -> str:
    """Return the checksum of a file as the manifest gives it."""
    return hashlib.new(algorithm.lower(), data).hexdigest()


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of a machine.

    ``content`` is a VHD or the bytes of another file; ``packed`` says how
    the file is compressed. ``capacity`` is the size in the descriptor, and
    ``href`` the name of the file. A disk whose ``is_described`` is False is
    in the archive only. ``parent`` is the name of the file with the disk that
    this one is a difference to, and ``is_attached`` is False for a disk that
    no machine has.
    """

    content: vhd.Layer | bytes
    name: str = 'system'
    position: str | None = '0'
    bootable: bool = True
    href: str | None = None
    capacity: str | None = None
    units: str | None = None
    form: str = VHD_FORMAT
    packed: abc.Callable[[bytes], bytes] | None = None
    compression: str | None = None
    chunk_size: int | None = None
    parent: str | None = None
    is_described: bool = True
    is_attached: bool = True

    @property
    def file_name(self) -> str:
        return self.href or f'{_id(self.name, self.position)}.vhd'

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        data = (self.content if isinstance(self.content, bytes)
                else self.content.tobytes())
        return self.packed(data) if self.packed else data

    @property
    def size(self) -> str:
        if self.capacity is not None:
            return self.capacity
        if isinstance(self.content, bytes):
            return str(len(self.content))
        return str(self.content.current_size)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A virtual machine.

    ``settings`` are XenCenter's own, by their names.
    """

    disks: abc.Sequence[Disk]
    name: str = 'web-1'
    memory: int = 2048
    cpus: int = 2
    kind: str = 'hvm-3.0-unknown'
    settings: abc.Mapping[str, str] = dataclasses.field(
        default_factory=lambda: HVM)

    def xml(self) -> str:
        """Return the element that describes the machine."""
        items = [_item('3', VirtualQuantity=self.cpus,
                       AllocationUnits='Processor Cores'),
                 _item('4', VirtualQuantity=self.memory,
                       AllocationUnits='byte * 2^20'),
                 _item('10', ElementName='Network 0', Address='aa:bb')]
        items += [_item(
            '19', HostResource=f'ovf:/disk/{_id(disk.file_name)}',
            InstanceID=_id(disk.file_name), ElementName=disk.name,
            Description='', Caption='Hard Disk Image',
            AddressOnParent=disk.position,
            Connection=f'{_id(disk.file_name)},device={disk.position}')
            for disk in self.disks if disk.is_described and disk.is_attached]
        items.append(_item('16', ElementName='CDROM 1', AddressOnParent='3'))
        settings = ''.join(
            f'<xenovf:{_SETTING} id="{_id(self.name, name)}" '
            f'Name={saxutils.quoteattr(name)}>'
            f'{_element("xenovf:Info", "XenServer Specific Information")}'
            f'{_element("xenovf:Value", value)}</xenovf:{_SETTING}>'
            for name, value in self.settings.items())
        return (
            f'<ovf:VirtualSystem ovf:id="{_id(self.name)}">'
            f'<ovf:Info>XenOVF Generated</ovf:Info>'
            f'{_element("ovf:Name", self.name)}'
            '<ovf:VirtualHardwareSection><ovf:Info>Requirements</ovf:Info>'
            '<ovf:System><vssd:Caption>Xen Virtual Machine</vssd:Caption>'
            f'{_element("vssd:VirtualSystemType", self.kind)}</ovf:System>'
            f'{"".join(items)}{settings}</ovf:VirtualHardwareSection>'
            '</ovf:VirtualSystem>')


_SETTING = 'VirtualSystemOtherConfigurationData'


def _item(kind: str, **values: object) -> str:
    fields = {**values, 'ResourceType': kind}
    return '<ovf:Item>' + ''.join(
        _element(f'rasd:{name}', value) for name, value in fields.items()
        if value is not None) + '</ovf:Item>'


#: How a machine boots, in XenCenter's settings.
HVM = {'HVM_boot_params': 'order=dc;firmware=bios',
       'HVM_boot_policy': 'BIOS order', 'platform': 'nx=true;acpi=1'}
UEFI = {**HVM, 'HVM_boot_params': 'firmware=uefi;order=cdn'}
PARAVIRTUALIZED = {'PV_bootloader': 'pygrub', 'platform': 'nx=false'}


@dataclasses.dataclass(frozen=True)
class Package:
    """A package of machines.

    ``sums`` is the algorithm of the manifest; None leaves the manifest out.
    ``wrong`` replaces checksums by the names of their files; None leaves a
    line out.
    """

    machines: abc.Sequence[Machine]
    name: str = 'appliance'
    directory: str = ''
    sums: str | None = SHA1
    wrong: abc.Mapping[str, str | None] = dataclasses.field(
        default_factory=dict)
    is_signed: bool = False

    @property
    def disks(self) -> list[Disk]:
        return [disk for machine in self.machines for disk in machine.disks]

    def descriptor(self) -> bytes:
        """Return the content of the descriptor."""
        described = [disk for disk in self.disks if disk.is_described]
        files = ''.join('<ovf:File' + _attributes(
            id=_id(disk.file_name), href=disk.file_name,
            size=len(disk.data), compression=disk.compression,
            chunkSize=disk.chunk_size) + '/>' for disk in described)
        disks = ''.join(
            f'<ovf:Disk xenovf:isBootable="{str(disk.bootable).lower()}"'
            + _attributes(
                diskId=_id(disk.file_name), fileRef=_id(disk.file_name),
                capacity=disk.size, capacityAllocationUnits=disk.units,
                parentRef=disk.parent and _id(disk.parent),
                format=disk.form) + '/>' for disk in described)
        systems = ''.join(machine.xml() for machine in self.machines)
        if len(self.machines) > 1:
            systems = (f'<ovf:VirtualSystemCollection ovf:id="all">{systems}'
                       '</ovf:VirtualSystemCollection>')
        return _ENVELOPE.format(
            name=saxutils.escape(self.name), id=_id(self.name), content=(
                f'<ovf:References>{files}</ovf:References><ovf:DiskSection>'
                f'<ovf:Info>Available Disks</ovf:Info>{disks}'
                f'</ovf:DiskSection>{systems}')).encode()

    def manifest(self) -> bytes:
        """Return the content of the manifest."""
        files = [(f'{self.name}.ovf', self.descriptor()), *(
            (disk.file_name, disk.data) for disk in self.disks)]
        algorithm = self.sums or SHA1
        lines = []
        for name, data in files:
            found = self.wrong.get(name, digest(algorithm, data))
            if found is not None:
                lines.append(f'{algorithm}({name})= {found}\r\n')
        return ''.join(lines).encode()

    def members(self) -> list[archive.Member]:
        """Return the members in the order in which XenCenter writes them."""
        found = [self._member(f'{self.name}.ovf', self.descriptor())]
        if self.sums:
            found.append(self._member(f'{self.name}.mf', self.manifest()))
        if self.is_signed:
            found.append(self._member(f'{self.name}.cert', (
                f'SHA1({self.name}.mf)= 00ff\r\n-----BEGIN CERTIFICATE-----'
                '\r\n-----END CERTIFICATE-----\r\n').encode()))
        return found + [self._member(disk.file_name, disk.data)
                        for disk in self.disks]

    def _member(self, name: str, data: bytes) -> archive.Member:
        return archive.Member(self.directory + name, data)

    def tar(self) -> bytes:
        """Return the archive."""
        return archive.tar(self.members(), archive.USTAR)


def gzipped(data: bytes) -> bytes:
    """Compress a disk as XenCenter does with the files of a package."""
    return gzip.compress(data, mtime=0)

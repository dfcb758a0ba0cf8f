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

"""What conversions, checks and inspections find.

These are facts about an image; advice to its owner is for others to give. They
go from the process that reads the image to its parent as they are, so every
annotation says which values are valid.
"""

import dataclasses
from typing import Annotated
from typing import Literal

from glance_xs_convert import bounds
from glance_xs_convert import maps

#: The most layers and the most disks that a result can have. A chain of
#: XenServer has at most 30 layers, and a virtual machine at most 255 disks.
MOST_LAYERS = 1000
MOST_DISKS = 255
#: The most notes: each layer may have two, and a package has its own.
MOST_NOTES = 3 * MOST_LAYERS
MOST_IGNORED = 10_000

DIFFERENCING = 'differencing'
PARAVIRTUALIZED = 'PV'


@dataclasses.dataclass(frozen=True)
class Vhd:
    """A VHD of a chain.

    :ivar name: name of the member
    :ivar disk_type: how it is stored
    :ivar current_size: size of its disk, in bytes
    :ivar allocated_size: total size of its blocks, in bytes
    :ivar file_size: size of the member, in bytes
    :ivar creator: name and version of the program that made it
    :ivar unique_id: its UUID
    :ivar parent_unique_id: the UUID of its parent; None if it has none
    :ivar is_hidden: whether XenServer marked it as a parent of others
    """

    name: bounds.Name
    disk_type: Literal['fixed', 'dynamic', 'differencing']
    current_size: bounds.Size
    allocated_size: bounds.Size
    file_size: bounds.Size
    creator: bounds.Name
    unique_id: bounds.Uuid
    parent_unique_id: bounds.Uuid | None
    is_hidden: bool

    @property
    def is_differencing(self) -> bool:
        return self.disk_type == DIFFERENCING


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of an exported virtual machine.

    :ivar ref: the archive's name for the disk
    :ivar name: name that people gave it
    :ivar size: size in bytes
    :ivar device: name of the device in the guest, for example xvda; may be
                  empty
    :ivar position: XenServer's number of the device, for example 0; may be
                    empty
    :ivar bootable: whether XenServer would boot from the disk
    :ivar machine: name of the virtual machine; empty if there is only one
    """

    ref: bounds.Name
    name: bounds.Name
    size: bounds.Size
    device: bounds.Name
    position: bounds.Name
    bootable: bool
    machine: bounds.Name = ''

    @property
    def label(self) -> str:
        """A short name for the disk."""
        return self.device or self.ref

    def is_called(self, choice: str) -> bool:
        """Whether a user's choice denotes this disk."""
        return choice != '' and choice in (self.device, self.position)


@dataclasses.dataclass(frozen=True)
class Guest:
    """The virtual machine of an export.

    :ivar product: product that wrote the export, for example XenServer
    :ivar version: version of the product
    :ivar memory: memory in bytes, or None if unknown
    :ivar cpus: number of CPUs, or None if unknown
    :ivar firmware: None if unknown
    :ivar boot_mode: whether the guest is paravirtualized (PV)
    :ivar bootloader: boot loader of a paravirtualized guest, for example
                      pygrub, or None
    """

    name: bounds.Name
    product: bounds.Name
    version: bounds.Name
    memory: bounds.Size | None
    cpus: bounds.Size | None
    firmware: Literal['bios', 'uefi'] | None
    boot_mode: Literal['HVM', 'PV']
    bootloader: bounds.Name | None

    @property
    def is_paravirtualized(self) -> bool:
        """Whether XenServer rather than the guest's firmware loads it."""
        return self.boot_mode == PARAVIRTUALIZED

    @property
    def exporter(self) -> str:
        """The product that wrote the export, with its version."""
        return f'{self.product} {self.version}'.strip()


@dataclasses.dataclass(frozen=True)
class FirstSectors:
    """The findings in the first sectors of a disk.

    :ivar partition_table: None if there is none
    :ivar has_efi_system_partition: whether UEFI firmware may boot from it
    :ivar has_boot_code: whether a BIOS may boot from it
    """

    partition_table: Literal['GPT', 'MBR'] | None
    has_efi_system_partition: bool
    has_boot_code: bool


@dataclasses.dataclass(frozen=True)
class Ignored:
    """A member of an archive that does not belong to the disk.

    :ivar name: name of the member
    :ivar size: its size, in bytes
    """

    name: bounds.Name
    size: bounds.Size


Guests = Annotated[list[Guest], bounds.AtMost(MOST_DISKS)]
Layers = Annotated[list[Vhd], bounds.AtMost(MOST_LAYERS)]
#: Sentences without a full stop.
Notes = Annotated[list[bounds.Name], bounds.AtMost(MOST_NOTES)]
IgnoredMembers = Annotated[list[Ignored], bounds.AtMost(MOST_IGNORED)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneDisk:
    """What conversions and checks of one disk have in common.

    :ivar virtual_size: size of the raw disk, in bytes
    :ivar layers: the chain of VHDs, from the leaf to the base; empty if the
                  disk comes from a XenServer export
    :ivar allocated: bytes that the raw disk occupies, or would occupy; the
                     rest is holes
    :ivar source_size: size of the archive, in bytes
    :ivar disk: the export's description of the disk; None for a chain
    :ivar guest: the export's description of the virtual machine; None for a
                 chain
    :ivar notes: what the order of the layers rests on, where that is less than
                 usual, what could not be verified, and what a file holds
                 beside its disk
    :ivar ignored: the members that do not belong to the disk
    """

    virtual_size: bounds.Size
    layers: Layers
    allocated: bounds.Size
    source_size: bounds.Size
    disk: Disk | None = None
    guest: Guest | None = None
    notes: Notes = dataclasses.field(default_factory=list)
    ignored: IgnoredMembers = dataclasses.field(default_factory=list)

    @property
    def layer_count(self) -> int:
        """The number of layers; a disk of an export is one."""
        return max(1, len(self.layers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionResult(OneDisk):
    """The result of a conversion.

    :ivar source_sha256: SHA-256 of the archive in hexadecimal digits; empty if
                         it was not requested
    """

    source_sha256: bounds.Digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult(OneDisk):
    """The result that a conversion would have, and the space it would need.

    :ivar room: bytes of free space that the conversion requires
    :ivar first_sectors: findings in the first sectors of the disk
    :ivar disk_map: the layer that each sector comes from; None if it was not
                    requested
    """

    room: bounds.Size
    first_sectors: FirstSectors
    disk_map: maps.DiskMap | None = None


@dataclasses.dataclass(frozen=True)
class FoundDisk:
    """A disk in an image.

    :ivar virtual_size: size of the disk, in bytes
    :ivar stored: number of its bytes that are in the image; the rest is zeros
    :ivar first_sectors: findings in its first sectors
    :ivar disk: the export's description of the disk; None for a chain
    """

    virtual_size: bounds.Size
    stored: bounds.Size
    first_sectors: FirstSectors
    disk: Disk | None = None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The contents of an image.

    :ivar disks: the disk of a chain, or all disks of the virtual machine
    :ivar layers: see :class:`.OneDisk`
    :ivar guest: see :class:`.OneDisk`
    :ivar notes: see :class:`.OneDisk`
    :ivar ignored: see :class:`.OneDisk`
    :ivar other_guests: the other virtual machines of a package
    """

    disks: Annotated[list[FoundDisk], bounds.AtMost(MOST_DISKS)]
    layers: Layers
    guest: Guest | None = None
    notes: Notes = dataclasses.field(default_factory=list)
    ignored: IgnoredMembers = dataclasses.field(default_factory=list)
    other_guests: Guests = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Description:
    """What an image says about itself in its first file.

    :ivar disks: the disks of the virtual machines. Their size is 0 unless the
                 description alone decides it.
    :ivar guests: the virtual machines; empty if the first file is no
                  description, as in a chain
    """

    disks: Annotated[list[Disk], bounds.AtMost(MOST_DISKS)]
    guests: Guests


@dataclasses.dataclass(frozen=True)
class ConvertedDisk:
    """One of the disks of an image that have all been converted.

    :ivar target: number of the file that it was written to, from 0
    :ivar virtual_size: size of the raw disk, in bytes
    :ivar allocated: bytes that the raw disk occupies; the rest is holes
    :ivar disk: the export's description of the disk; None for a chain
    """

    target: bounds.Size
    virtual_size: bounds.Size
    allocated: bounds.Size
    disk: Disk | None = None


@dataclasses.dataclass(frozen=True)
class AllDisks:
    """The result of a conversion of all disks.

    :ivar disks: the disks, in the order of their numbers
    :ivar source_size: size of the archive, in bytes
    :ivar guests: the virtual machines; empty for a chain
    :ivar notes: see :class:`.OneDisk`
    :ivar ignored: see :class:`.OneDisk`
    """

    disks: Annotated[list[ConvertedDisk], bounds.AtMost(MOST_DISKS)]
    source_size: bounds.Size
    guests: Guests
    notes: Notes
    ignored: IgnoredMembers

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

"""Findings on a guest and its disk, for people and for programs."""

from typing import Any
from typing import TYPE_CHECKING

from glance_xs_convert import text
from glance_xs_convert.worker import protocol

if TYPE_CHECKING:
    from glance_xs_convert import api


def first_sectors(found: 'api.FirstSectors | protocol.Assessment',
                  ) -> dict[str, Any]:
    """Return the findings in a disk's first sectors, as fields."""
    return {
        'partition_table': found.partition_table or 'none',
        'efi_system_partition': found.has_efi_system_partition,
        'boot_code': found.has_boot_code,
    }


def hints(found: 'api.FirstSectors', guest: 'api.Guest | None',
          ) -> list[str]:
    """What keeps a guest from booting under KVM."""
    return [hint for hint in (
        found.hint, guest.hint if guest is not None else None) if hint]


def describe_disk(found: 'api.FirstSectors') -> str:
    """Return a sentence on the first sectors of a disk."""
    table = (f'a partition table ({found.partition_table})'
             if found.partition_table else 'no partition table')
    efi = ('an EFI system partition' if found.has_efi_system_partition
           else 'no EFI system partition')
    code = 'boot code' if found.has_boot_code else 'no boot code'
    return f'The disk has {table}, {efi} and {code}.'


def describe_guest(guest: 'api.Guest') -> str:
    """Return a sentence on the virtual machine of an export."""
    source = ' '.join(filter(None, (guest.product, guest.version)))
    memory = None if guest.memory is None else (
        f'{text.size(guest.memory)} of memory')
    cpus = None if guest.cpus is None else text.count(guest.cpus, 'CPU')
    boot = f'boot mode {guest.boot_mode}'
    if guest.bootloader is not None:
        boot += f' ({guest.bootloader})'
    firmware = None if guest.firmware is None else (
        f'firmware {guest.firmware}')
    facts = ', '.join(filter(None, (memory, cpus, boot, firmware)))
    return (f'The virtual machine "{guest.name}" was exported by '
            f'{source or "an unknown product"}: {facts}.')

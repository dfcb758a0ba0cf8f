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

from collections.abc import Sequence
from typing import Any

from glance_xs_convert import results
from glance_xs_convert import text


def first_sectors(found: results.FirstSectors) -> dict[str, Any]:
    """Return the findings in a disk's first sectors, as fields."""
    return {
        'partition_table': found.partition_table or 'none',
        'efi_system_partition': found.has_efi_system_partition,
        'boot_code': found.has_boot_code,
    }


def hints_on_disk(found: results.FirstSectors) -> list[str]:
    """Say what a guest needs to boot from a disk under KVM."""
    if found.has_boot_code:
        return []
    if found.has_efi_system_partition:
        return ['a guest boots from this disk with UEFI only: set the image '
                'property hw_firmware_type to uefi']
    return ['a guest will not boot from this disk under KVM as it is: the '
            'disk has neither boot code nor an EFI system partition']


def hints_on_guest(guest: results.Guest | None) -> list[str]:
    """Say what a guest needs to boot under KVM, whatever its disk holds."""
    if guest is None or not guest.is_paravirtualized:
        return []
    return ['the guest is paravirtualized: to boot under KVM, it needs its '
            'own boot loader and a kernel that supports KVM']


def describe_disk(found: results.FirstSectors) -> str:
    """Return a sentence on the first sectors of a disk."""
    table = (f'a partition table ({found.partition_table})'
             if found.partition_table else 'no partition table')
    efi = ('an EFI system partition' if found.has_efi_system_partition
           else 'no EFI system partition')
    code = 'boot code' if found.has_boot_code else 'no boot code'
    return f'The disk has {table}, {efi} and {code}.'


def describe_guest(guest: results.Guest) -> str:
    """Return a sentence on the virtual machine of an export."""
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
            f'{guest.exporter or "an unknown product"}: {facts}.')


def describe_members(notes: Sequence[str],
                     ignored: Sequence[results.Ignored]) -> list[str]:
    """Return sentences on the members of an archive."""
    sentences = [f'Note: {note}.' for note in notes]
    if ignored:
        sentences.append(f'Not part of a disk: {_listed(ignored)}.')
    return sentences


def members(notes: Sequence[str], ignored: Sequence[results.Ignored],
            is_structured: bool) -> dict[str, Any]:
    """Return what there is to say on the members of an archive, as fields.

    :param is_structured: whether a field can be a list
    """
    fields: dict[str, Any] = {}
    if notes:
        fields['notes'] = '; '.join(notes)
    if ignored:
        fields['ignored'] = [
            {'name': item.name, 'size': item.size} for item in ignored
        ] if is_structured else _listed(ignored)
    return fields


def _listed(ignored: Sequence[results.Ignored]) -> str:
    return ', '.join(f'{item.name} ({text.size(item.size)})'
                     for item in ignored)

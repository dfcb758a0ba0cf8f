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
"""The image properties with which an adapted guest boots under KVM.

Sources: Glance's *Useful image properties*; Nova's ``objects/fields.py`` for
the values.
"""

from collections.abc import Mapping

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt

DISK_BUS = 'hw_disk_bus'
VIF_MODEL = 'hw_vif_model'
FIRMWARE = 'hw_firmware_type'
MACHINE = 'hw_machine_type'
AGENT = 'hw_qemu_guest_agent'
OS_TYPE = 'os_type'
OS_DISTRO = 'os_distro'
OS_VERSION = 'os_version'

VIRTIO = 'virtio'
_IDE = 'ide'
_SATA = 'sata'
_E1000 = 'e1000'
_RTL8139 = 'rtl8139'
_Q35 = 'q35'
_WINDOWS = 'windows'
#: The first version of Windows that has a driver for e1000 on every
#: architecture: Vista.
_WINDOWS_WITH_E1000 = 6

#: The families of operating systems that have a value for os_type.
_OS_TYPES = ('linux', _WINDOWS)
#: Distributions that Glance calls by another name than libguestfs.
_DISTROS = {'archlinux': 'arch'}

#: What only makes sense on Xen: names with the values that are removed; None
#: stands for every value. Each has an old and a new name.
XEN_ONLY: Mapping[str, tuple[str, ...] | None] = {
    'hypervisor_type': ('xen',),
    'img_hv_type': ('xen',),
    'vm_mode': None,
    'hw_vm_mode': None,
    DISK_BUS: ('xen',),
    VIF_MODEL: ('netfront',),
}

#: The reasons for which a guest keeps its drivers, but has an operating system
#: that may boot with the devices that it knows.
_BOOTS_WITH_EMULATION = (
    exceptions.SeveralOperatingSystems, exceptions.EncryptedGuest,
    exceptions.UncleanGuest, exceptions.NoRoomInGuest,
    exceptions.UnsupportedGuest)


def of_guest(found: adapt.Adapted) -> dict[str, str]:
    """Return the properties for an adapted guest."""
    system = found.system
    is_uefi = found.firmware == adapt.UEFI
    properties = {
        DISK_BUS: VIRTIO if found.has_virtio_disk else _emulated_disk(is_uefi),
        VIF_MODEL: VIRTIO if found.has_virtio_net else _emulated_card(found),
        FIRMWARE: found.firmware,
    }
    if is_uefi:
        properties[MACHINE] = _Q35
    if system.family in _OS_TYPES:
        properties[OS_TYPE] = system.family
    if system.distribution:
        properties[OS_DISTRO] = _DISTROS.get(system.distribution,
                                             system.distribution)
    if system.version:
        properties[OS_VERSION] = system.version
    if system.has_agent:
        properties[AGENT] = 'yes'
    return properties


def of_unadapted(error: exceptions.XsConvertError, is_uefi: bool,
                 ) -> dict[str, str]:
    """Return the properties for a guest that could not be adapted.

    They name devices that XenServer emulated for it, if that may help.

    :param error: the reason
    :param is_uefi: whether the guest boots with UEFI
    """
    if not isinstance(error, _BOOTS_WITH_EMULATION):
        return {}
    properties = {DISK_BUS: _emulated_disk(is_uefi), VIF_MODEL: _E1000}
    if is_uefi:
        properties |= {FIRMWARE: adapt.UEFI, MACHINE: _Q35}
    return properties


def is_xen_only(name: str, value: str) -> bool:
    """Whether a property keeps an adapted guest off KVM.

    Dashes and underscores are equivalent, because some tools uploaded one in
    place of the other.
    """
    name = name.replace('-', '_')
    if name not in XEN_ONLY:
        return False
    values = XEN_ONLY[name]
    return values is None or value.lower() in values


def _emulated_disk(is_uefi: bool) -> str:
    # The machine type for UEFI has no IDE.
    return _SATA if is_uefi else _IDE


def _emulated_card(found: adapt.Adapted) -> str:
    """Return the network card that XenServer emulated, or a common one."""
    system = found.system
    if system.family == _WINDOWS and (
            system.major or 0) < _WINDOWS_WITH_E1000:
        return _RTL8139
    return _E1000

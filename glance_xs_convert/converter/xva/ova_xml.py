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

"""``ova.xml``, the description of the virtual machine in a XenServer export.

The document is one XML-RPC value. Its ``objects`` are records of XenServer's
database, among them VMs, VBDs (disks as the machine sees them) and VDIs (disks
as the storage sees them), which refer to each other. Source: xen-api,
``export.ml`` and ``importexport.ml``.
"""

import dataclasses
import string
from typing import Any
from typing import Literal

from glance_xs_convert.converter import strict_xml
from glance_xs_convert import exceptions
from glance_xs_convert import results
from glance_xs_convert import text

NAME = 'ova.xml'
#: What the firmware can be called.
_FIRMWARES: dict[str, Literal['bios', 'uefi']] = {
    'bios': 'bios', 'uefi': 'uefi'}
#: The root of the format before XenServer 4.0.
_OLD_ROOT = 'appliance'

_MAX_DIGITS = 20
#: Greater numbers are taken for this one, which is beyond all limits, too.
_MAX_NUMBER = 2 ** 63 - 1


def is_manifest(path: str) -> bool:
    """Whether a file of this name is the document."""
    return path.rpartition('/')[2] == NAME


def folder_of(path: str) -> str:
    """Return the folder of the document, to which the chunks' paths relate.

    :param path: path of the document in the archive
    """
    return path.removeprefix('./').removesuffix(NAME)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The part of ``ova.xml`` that matters here.

    :ivar disks: the machine's disks, in the order of their devices
    :ivar sizes: sizes of all VDIs in bytes, by reference; some VDIs may not
                 be disks of the machine
    """

    guest: results.Guest
    disks: list[results.Disk]
    sizes: dict[str, int]


def parse(document: bytes) -> Manifest:
    """Read a document.

    :param document: at most ``strict_xml.MAX_SIZE`` bytes
    :raises DamagedExport: the document is damaged or contradicts itself
    :raises OldExport: it is in the format of XenServer 3
    """
    builder = _Builder()
    try:
        strict_xml.read(document, builder)
    except strict_xml.Refused as error:
        raise _damaged(str(error)) from None
    return _manifest(builder.root)


class _Builder:
    """Turns XML-RPC into dictionaries, lists and strings.

    :ivar root: the whole value, once the document has been read
    """

    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[_Element] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name == _OLD_ROOT:
            raise exceptions.OldExport(
                'the export is in the format of XenServer 3, which cuts '
                'disks into chunk-….gz files: import it into XenServer and '
                'export it again')
        self._open.append(_Element(name))

    def text(self, data: str) -> None:
        element = self._open[-1]
        if element.value is None:
            element.text.append(data)

    def end(self, name: str) -> None:
        element = self._open.pop()
        if not self._open:
            self.root = element.result()
        else:
            self._open[-1].add(element)


class _Element:
    """An open element with its content so far."""

    __slots__ = ('key', 'name', 'text', 'value')

    def __init__(self, name: str) -> None:
        self.name = name
        self.text: list[str] = []
        self.key = ''
        self.value: Any = None
        if name == 'struct':
            self.value = {}
        elif name == 'data':
            self.value = []

    def result(self) -> Any:
        """Return the value of the element."""
        return ''.join(self.text) if self.value is None else self.value

    def add(self, child: '_Element') -> None:
        """Add a complete element inside this one."""
        if self.name == 'struct':
            self.value[child.key] = child.value
        elif self.name == 'data':
            self.value.append(child.result())
        elif self.name == 'member' and child.name == 'name':
            self.key = child.result()
        else:
            self.value = child.result()


def _manifest(document: Any) -> Manifest:
    objects = _field(document, 'objects')
    if not isinstance(objects, list):
        raise _damaged('it has no list of objects')
    records = _records(objects)
    if not records['VM']:
        raise _damaged('it does not describe a virtual machine')
    vdis = records['VDI']
    disks = [_disk(vbd, vdis[_string(vbd, 'VDI')])
             for vbd in records['VBD'].values() if _has_disk(vbd, records)]
    disks.sort(key=lambda disk: (len(disk.position), disk.position))
    vm = next(iter(records['VM'].values()))
    return Manifest(
        _guest(vm, _field(document, 'version')), disks,
        {ref: size for ref, vdi in vdis.items()
         if (size := _number(vdi, 'virtual_size'))})


def _records(objects: list[Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the fields of the objects, by class and reference."""
    records: dict[str, dict[str, dict[str, Any]]] = {
        kind: {} for kind in ('VM', 'VBD', 'VDI', 'SR')}
    for item in objects:
        kind, ref = _string(item, 'class'), _string(item, 'id')
        fields = _field(item, 'snapshot')
        if kind not in records or not isinstance(fields, dict):
            continue
        if ref in records[kind]:
            raise _damaged(
                f'it describes the object {text.printable(ref)!r} twice')
        records[kind][ref] = fields
    return records


def _has_disk(vbd: dict[str, Any],
              records: dict[str, dict[str, dict[str, Any]]]) -> bool:
    """Whether XenServer exports the data behind a device."""
    vdi = records['VDI'].get(_string(vbd, 'VDI'))
    if vdi is None or _string(vbd, 'type') == 'CD':
        return False
    storage = records['SR'].get(_string(vdi, 'SR'))
    return _string(storage, 'content_type') != 'iso'


def _disk(vbd: dict[str, Any], vdi: dict[str, Any]) -> results.Disk:
    position = _shown(vbd, 'userdevice')
    device = _shown(vbd, 'device')
    if not device and position.isdecimal() and position.isascii():
        device = _device(int(position[:_MAX_DIGITS]))
    ref = _string(vbd, 'VDI')
    if ref != text.printable(ref):
        raise _damaged('it refers to a disk as '
                       f'{text.printable(ref)!r}, as XenServer never does')
    return results.Disk(ref, _shown(vdi, 'name_label'), _size(vdi), device,
                        position, _is_true(vbd, 'bootable'))


def _device(position: int) -> str:
    """Return a Xen guest's name for a device, or '' if it is unknown."""
    letters = string.ascii_lowercase
    return f'xvd{letters[position]}' if position < len(letters) else ''


def _size(vdi: dict[str, Any]) -> int:
    """Return a VDI's size in bytes.

    :raises DamagedExport: it is not a positive number
    """
    size = _number(vdi, 'virtual_size')
    if not size:
        raise _damaged(
            f'it gives the disk {_shown(vdi, "name_label")!r} a size of '
            f'{_shown(vdi, "virtual_size")!r} bytes')
    return size


def _guest(vm: dict[str, Any], version: Any) -> results.Guest:
    bootloader = _shown(vm, 'PV_bootloader')
    domain_type = _string(vm, 'domain_type')
    if domain_type in ('', 'unspecified'):
        is_paravirtualized = bool(bootloader) or not (
            _string(vm, 'HVM_boot_policy'))
    else:
        is_paravirtualized = domain_type != 'hvm'
    found = _string(_field(vm, 'HVM_boot_params'), 'firmware').lower()
    firmware = None if is_paravirtualized else _FIRMWARES.get(found)
    return results.Guest(
        name=_shown(vm, 'name_label'),
        product=_shown(version, 'product_brand'),
        version=_shown(version, 'product_version'),
        memory=_number(vm, 'memory_static_max'),
        cpus=_number(vm, 'VCPUs_max'),
        firmware=firmware,
        boot_mode='PV' if is_paravirtualized else 'HVM',
        bootloader=bootloader or None if is_paravirtualized else None)


def _field(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else None


def _string(record: Any, name: str) -> str:
    """Return a field, or '' if it is missing or not a string."""
    found = _field(record, name)
    return found if isinstance(found, str) else ''


def _shown(record: Any, name: str) -> str:
    return text.printable(_string(record, name))


def _is_true(record: Any, name: str) -> bool:
    return _string(record, name) in ('1', 'true')


def _number(record: Any, name: str) -> int | None:
    found = _string(record, name)
    if found.isascii() and found.isdecimal() and len(found) <= _MAX_DIGITS:
        return min(int(found), _MAX_NUMBER)
    return None


def _damaged(reason: str) -> exceptions.DamagedExport:
    return exceptions.DamagedExport(reason, member=NAME)

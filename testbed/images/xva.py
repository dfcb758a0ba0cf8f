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

"""XenServer exports (.xva) of disks whose bytes are known beforehand.

A :class:`Disk` is the truth: a stretch of bytes that is mostly zeros. It is
cut into chunks as by XenServer's ``stream_vdi.ml`` (``send_one``): numbers
skip the zeros, a checksum follows each chunk, and an empty chunk comes where
XenServer had not sent anything for five seconds. Chunks that do not have 1 MiB
are cut so that XenServer's own reader (``recv_one``) puts them in the same
place.
"""

from collections import abc
import dataclasses
import hashlib
import random
import typing
from xml.sax import saxutils

from testbed.images import archive
from testbed.images import sparse
import xxhash

MIB = 1 << 20

#: The checksums that XenServer's import accepts: the extension of the member's
#: name, which tells how its content is computed.
XXH64 = 'xxhash'
SHA1 = 'checksum'


def checksum(kind: str, data: bytes) -> bytes:
    """Return the content of a checksum member."""
    if kind == SHA1:
        return hashlib.sha1(data).hexdigest().encode()  # nosec B324
    return b'%016X' % xxhash.xxh64_intdigest(data)


class Chunk(typing.NamedTuple):
    """A chunk of a disk in the archive."""

    number: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class Disk:
    """A virtual disk, and how it is cut into chunks.

    ``chunk_size`` is the length of the first chunk, and of all others except
    those in ``lengths``, which gives shorter lengths by the chunk's place in
    the archive. ``keep_alives`` is the number of empty chunks that precede a
    chunk, also by its place. ``zeros`` are the offsets of chunks that are
    written although they hold only zeros.
    """

    content: sparse.Sparse
    chunk_size: int = MIB
    lengths: abc.Mapping[int, int] = dataclasses.field(default_factory=dict)
    keep_alives: abc.Mapping[int, int] = dataclasses.field(
        default_factory=dict)
    zeros: abc.Collection[int] = ()
    checksum: str = XXH64

    ref: str = 'Ref:7'
    name: str = 'system'
    device: str = 'xvda'
    userdevice: str = '0'
    bootable: bool = True
    virtual_size: str | None = None

    @property
    def size(self) -> int:
        return self.content.size

    def chunks(self) -> abc.Iterator[Chunk]:
        """Cut the disk, from front to back."""
        reader = _Cutter(self.content)
        number = place = 0
        while reader.position < self.size:
            size = min(self.lengths.get(place, self.chunk_size),
                       self.size - reader.position)
            whole = min(self.chunk_size, self.size - reader.position)
            is_last = reader.position + whole >= self.size
            if (place and not is_last and whole == self.chunk_size
                    and reader.position not in self.zeros
                    and reader.is_zero(whole)):
                skipped = self._skipped(reader)
                reader.take_zeros(skipped * self.chunk_size)
                number += skipped
                continue
            for _ in range(self.keep_alives.get(place, 0)):
                yield Chunk(number, b'')
                number += 1
            yield Chunk(number, reader.take(size))
            number += 1
            place += 1

    def _skipped(self, reader: '_Cutter') -> int:
        """Count the chunks of zeros that follow, except the last chunk."""
        end = min([reader.next_data(),
                   *(zero for zero in self.zeros
                     if zero > reader.position)])
        most = (self.size - reader.position - 1) // self.chunk_size
        return min((end - reader.position) // self.chunk_size, most)

    def members(self) -> abc.Iterator[archive.Member]:
        """Yield the members of the archive, each chunk with its checksum."""
        for chunk in self.chunks():
            yield from pair(self, chunk)


class _Cutter:
    """Reads a disk forward; long runs of zeros cost nothing."""

    def __init__(self, content: sparse.Sparse) -> None:
        self.position = 0
        self._pieces = list(content.pieces())
        self._pieces.reverse()

    def next_data(self) -> int:
        """Return the offset of the next byte that may not be zero."""
        offset = self.position
        for piece in reversed(self._pieces):
            if not isinstance(piece, int):
                break
            offset += piece
        return offset

    def is_zero(self, size: int) -> bool:
        return self.next_data() >= self.position + size

    def take_zeros(self, size: int) -> None:
        """Skip zeros."""
        self.position += size
        while size:
            piece = self._pieces.pop()
            if not isinstance(piece, int):
                raise ValueError('these are not zeros')
            if piece > size:
                self._pieces.append(piece - size)
            size -= min(piece, size)

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        self.position += size
        taken = []
        while size:
            piece = self._pieces.pop()
            if isinstance(piece, int):
                part = bytes(min(piece, size))
                rest: sparse.Piece = piece - len(part)
            else:
                part, rest = piece[:size], piece[size:]
            if rest:
                self._pieces.append(rest)
            size -= len(part)
            taken.append(part)
        return b''.join(taken)


def pair(disk: Disk, chunk: Chunk) -> list[archive.Member]:
    """Return a chunk and its checksum."""
    name = f'{disk.ref}/{chunk.number:08d}'
    return [archive.Member(name, chunk.data),
            archive.Member(f'{name}.{disk.checksum}',
                           checksum(disk.checksum, chunk.data))]


@dataclasses.dataclass(frozen=True)
class Export:
    """A virtual machine and its disks.

    ``vm``, ``version`` and ``vdis`` override or add fields of ``ova.xml``, the
    last by a disk's reference; None removes a field. ``others`` are further
    objects (class, ID, fields). ``typed`` encloses strings in <string>, as
    writers other than XenServer do.
    """

    disks: abc.Sequence[Disk]
    vm: abc.Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)
    version: abc.Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)
    vdis: abc.Mapping[str, abc.Mapping[str, typing.Any]] = (
        dataclasses.field(default_factory=dict))
    others: abc.Sequence[tuple[str, str, abc.Mapping[str, typing.Any]]] = ()
    has_cd: bool = True
    typed: bool = False

    def document(self) -> dict[str, typing.Any]:
        """Return the content of ``ova.xml`` as Python values."""
        objects = [_record('VM', 'Ref:0', {**self._vm(), **self.vm})]
        for index, disk in enumerate(self.disks):
            objects += [
                _record('VBD', f'Ref:{1000 + index}', _vbd(disk)),
                _record('VDI', disk.ref, {
                    **_vdi(disk), **self.vdis.get(disk.ref, {})})]
        if self.has_cd:
            objects.append(_record('VBD', 'Ref:900', {
                'VM': 'Ref:0', 'VDI': 'OpaqueRef:NULL', 'device': 'xvdd',
                'userdevice': '3', 'bootable': False, 'mode': 'RO',
                'type': 'CD', 'empty': True}))
        objects.append(_record('SR', 'Ref:901', {
            'name_label': 'Local storage', 'content_type': 'user'}))
        objects += [_record(*other) for other in self.others]
        version = _without_none({**VERSION, **self.version})
        return {'version': version, 'objects': objects}

    def _vm(self) -> dict[str, typing.Any]:
        refs = [f'Ref:{1000 + index}' for index in range(len(self.disks))]
        return {**VM, 'VBDs': refs}

    def ova_xml(self) -> bytes:
        """Return the first member's content."""
        return xml_value(self.document(), self.typed).encode()

    def members(self) -> abc.Iterator[archive.Member]:
        """Yield all members, the disks in the order of their references."""
        yield archive.Member('ova.xml', self.ova_xml())
        for disk in sorted(self.disks, key=lambda disk: disk.ref):
            yield from disk.members()

    def pieces(self) -> abc.Iterator[sparse.Piece]:
        """Yield the uncompressed archive."""
        return archive.tar_pieces(self.members(), archive.USTAR)

    def tar(self) -> bytes:
        """Return the archive as one bytes object; for small disks."""
        return archive.tar(self.members(), archive.USTAR)


VERSION = {
    'hostname': 'xenserver-1', 'date': '20240115T10:00:00Z',
    'product_version': '8.2.1', 'product_brand': 'XenServer',
    'build_number': 'release/yangtze/master/58', 'xapi_major': '1',
    'xapi_minor': '20', 'export_vsn': '2'}

VM = {
    'uuid': '0b1a5f36-9d5b-4a5e-8d9a-6f9d0d3f3a11', 'name_label': 'web-1',
    'name_description': '', 'power_state': 'Halted',
    'is_a_template': False, 'is_a_snapshot': False,
    'memory_static_max': '2147483648', 'memory_dynamic_max': '2147483648',
    'VCPUs_max': '2', 'VCPUs_at_startup': '2', 'PV_bootloader': '',
    'PV_kernel': '', 'PV_args': '', 'HVM_boot_policy': 'BIOS order',
    'HVM_boot_params': {'order': 'dc', 'firmware': 'bios'},
    'platform': {'acpi': '1', 'apic': 'true', 'secureboot': 'false'},
    'suspend_VDI': 'OpaqueRef:NULL'}

#: The fields of a virtual machine that determine how it boots.
UEFI = {'HVM_boot_params': {'order': 'dc', 'firmware': 'uefi'}}
PARAVIRTUALIZED = {'HVM_boot_policy': '', 'HVM_boot_params': {},
                   'PV_bootloader': 'pygrub'}


def _vbd(disk: Disk) -> dict[str, typing.Any]:
    return {'VM': 'Ref:0', 'VDI': disk.ref, 'device': disk.device,
            'userdevice': disk.userdevice, 'bootable': disk.bootable,
            'mode': 'RW', 'type': 'Disk', 'empty': False}


def _vdi(disk: Disk) -> dict[str, typing.Any]:
    size = str(disk.size) if disk.virtual_size is None else disk.virtual_size
    return {'name_label': disk.name, 'name_description': '', 'SR': 'Ref:901',
            'virtual_size': size, 'physical_utilisation': size,
            'type': 'user', 'sharable': False, 'read_only': False}


def _record(kind: str, identity: str,
            fields: abc.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    return {'class': kind, 'id': identity, 'snapshot': _without_none(fields)}


def _without_none(fields: abc.Mapping[str, typing.Any],
                  ) -> dict[str, typing.Any]:
    return {name: value for name, value in fields.items()
            if value is not None}


def xml_value(value: typing.Any, typed: bool = False) -> str:
    """Encode a value in XML-RPC."""
    if isinstance(value, bool):
        inside = f'<boolean>{int(value)}</boolean>'
    elif isinstance(value, str):
        inside = saxutils.escape(value)
        if typed:
            inside = f'<string>{inside}</string>'
    elif isinstance(value, dict):
        inside = '<struct>' + ''.join(
            f'<member><name>{saxutils.escape(name)}</name>'
            f'{xml_value(item, typed)}</member>'
            for name, item in value.items()) + '</struct>'
    else:
        inside = '<array><data>' + ''.join(
            xml_value(item, typed) for item in value) + '</data></array>'
    return f'<value>{inside}</value>'


def random_disk(seed: object, size: int, chunk_size: int = MIB,
                **options: typing.Any) -> Disk:
    """Make a disk with data in about a third of its chunks, or zeros."""
    rng = random.Random(str(seed))
    content = sparse.Sparse()
    offset = 0
    while offset < size:
        length = min(chunk_size, size - offset)
        if rng.randrange(3) == 0:
            start = rng.randrange(length)
            content.put(offset + start, rng.randbytes(
                min(length - start, 1 + rng.randrange(5000))))
        offset += length
    content.truncate(size)
    places = -(-size // chunk_size)
    options.setdefault('keep_alives', {
        rng.randrange(1, places + 1): 1 + rng.randrange(3)
        for _ in range(min(3, places - 1))})
    return Disk(content, chunk_size, **options)

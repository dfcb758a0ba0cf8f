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
"""What virt-inspector and virt-v2v-in-place say about a guest, as XML.

The document describes a stranger's disk, so it is parsed strictly: no document
type, no entities, bounded in every direction. Source: ``virt-inspector.rng``
of guestfs-tools; virt-v2v-inspector(1).
"""

from collections.abc import Mapping
import dataclasses
import xml.parsers.expat  # nosec B407

from glance_xs_convert import exceptions
from glance_xs_convert import text

#: The longest document, in bytes: ten thousand packages take 7 MB.
LONGEST = 32 << 20
_DEEPEST = 12
_MOST_ELEMENTS = 1_000_000
#: The longest text that is of interest, in characters.
_LONGEST_TEXT = 200
#: The most operating systems that are counted.
_MOST_SYSTEMS = 64

_SYSTEM = 'operatingsystem'
_APPLICATION = 'application'
_NAME = 'name'
#: Elements of an operating system that are of interest.
_FIELDS = frozenset((
    _NAME, 'arch', 'distro', 'product_name', 'product_variant',
    'major_version', 'minor_version', 'osinfo', 'format'))
#: The guest agent, by the names of packages and of its Windows installer.
_AGENTS = ('qemu-guest-agent', 'qemu guest agent')


@dataclasses.dataclass(frozen=True)
class System:
    """An operating system on a disk.

    :ivar family: ``linux``, ``windows`` or another word of libguestfs
    :ivar distribution: such as ``debian`` or ``windows``
    :ivar product: its name for people
    :ivar version: such as ``12.5``, or None if it is not known
    :ivar architecture: such as ``x86_64``
    :ivar has_agent: whether QEMU's guest agent is installed; None if nobody
                     knows
    """

    family: str
    distribution: str | None
    product: str | None
    version: str | None
    architecture: str | None
    has_agent: bool | None = None

    @property
    def name(self) -> str:
        """The name of the system, for people."""
        words = [self.product or self.distribution or self.family]
        if self.version and self.version not in words[0]:
            words.append(self.version)
        if self.distribution and self.product and (
                self.product[0].isdecimal()):
            words.insert(0, self.distribution)
        return ' '.join(words)

    @property
    def major(self) -> int | None:
        """The first number of the version."""
        first = (self.version or '').partition('.')[0]
        return int(first) if first.isdecimal() else None


def parse(document: bytes) -> list[System]:
    """Return the operating systems in a document.

    :raises AdaptingFailed: it is not what the tools write
    """
    if len(document) > LONGEST:
        raise _unexpected(f'is longer than {text.size(LONGEST)}')
    reader = _Reader()
    try:
        reader.read(document)
    except xml.parsers.expat.ExpatError as error:
        raise _unexpected(
            'is not well-formed: '
            f'{xml.parsers.expat.errors.messages[error.code]}') from error
    return reader.systems


class _Reader:
    """Collects the operating systems of a document."""

    def __init__(self) -> None:
        self.systems: list[System] = []
        self._path: list[str] = []
        self._elements = 0
        self._text = ''
        self._fields: dict[str, str] = {}
        self._has_applications = False
        self._has_agent = False

    def read(self, document: bytes) -> None:
        # Python cannot read every encoding that a document can declare.
        parser = xml.parsers.expat.ParserCreate('utf-8')
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.Parse(document, True)

    def _refuse(self, *arguments: object) -> None:
        raise _unexpected('declares a document type')

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        self._elements += 1
        self._text = ''
        if len(self._path) > _DEEPEST or self._elements > _MOST_ELEMENTS:
            raise _unexpected('has too many elements')
        if name == _SYSTEM:
            if len(self.systems) == _MOST_SYSTEMS:
                raise _unexpected('has too many operating systems')
            self._fields = {}
            self._has_applications = self._has_agent = False

    def _data(self, data: str) -> None:
        if len(self._text) < _LONGEST_TEXT:
            self._text += data

    def _end(self, name: str) -> None:
        words = text.printable(self._text[:_LONGEST_TEXT].strip())
        self._text = ''
        parent = self._path[-2] if len(self._path) > 1 else None
        self._path.pop()
        if name == _SYSTEM:
            self.systems.append(self._system())
        elif parent == _SYSTEM and name in _FIELDS:
            self._fields.setdefault(name, words)
        elif parent == _APPLICATION and name in (_NAME, 'display_name'):
            self._has_applications = True
            self._has_agent |= words.lower().startswith(_AGENTS)

    def _system(self) -> System:
        known = {name: value for name, value in self._fields.items()
                 if value and value != 'unknown'}
        return System(
            family=known.get(_NAME, 'unknown'),
            distribution=known.get('distro'),
            product=known.get('product_name'),
            version=_version(known),
            architecture=known.get('arch'),
            has_agent=self._has_agent if self._has_applications else None)


def _version(known: Mapping[str, str]) -> str | None:
    """Return a version such as 12.5; a minor version of 0 is left out."""
    major = known.get('major_version', '')
    minor = known.get('minor_version', '')
    if not major.isdecimal() or (major, minor or '0') == ('0', '0'):
        return None
    if not minor.isdecimal() or minor == '0':
        # Nobody calls Windows 10 by its minor version, but 6.0 is Vista.
        return f'{major}.0' if known.get(_NAME) == 'windows' else major
    return f'{major}.{minor}'


def _unexpected(what: str) -> exceptions.AdaptingFailed:
    return exceptions.AdaptingFailed(
        f'the description of the guest by the tool {what}')

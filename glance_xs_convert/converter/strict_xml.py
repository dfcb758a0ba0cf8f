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

"""Reading an XML document that a stranger has written.

A document type declaration is refused, and with it all entities but those that
XML itself defines. The depth and the number of elements are bounded.
"""

import codecs
from typing import Protocol
from xml.parsers import expat  # nosec B406: DTDs are refused

from glance_xs_convert import text
from glance_xs_convert import units

#: The largest document, in bytes, and the deepest nesting of elements. Those
#: of virtual machines have a few hundred KiB and are 20 deep.
MAX_SIZE = 8 * units.MIB
_MAX_DEPTH = 100
_MAX_ELEMENTS = 500_000

_UTF_8 = 'utf-8'
#: The encodings that have a byte order mark.
_MARKED = {codecs.BOM_UTF16_LE: 'utf-16-le', codecs.BOM_UTF16_BE: 'utf-16-be'}


class Refused(ValueError):
    """The document is not acceptable; the text says why, beginning "it"."""


class Handler(Protocol):
    """What is called with the parts of a document."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element."""

    def text(self, data: str) -> None:
        """Take text inside the innermost element."""

    def end(self, name: str) -> None:
        """Take the end of the innermost element."""


def read(document: bytes, handler: Handler, with_namespaces: bool = False,
         ) -> None:
    """Hand the parts of a document to a handler.

    The document is UTF-8 whatever it declares, because programs declare the
    encoding that their strings have in memory. UTF-16 has a byte order mark.

    :param document: at most ``MAX_SIZE`` bytes
    :param with_namespaces: whether names are preceded by a namespace and a
                            space
    :raises Refused: the document is not acceptable
    """
    _Reader(handler, with_namespaces).read(_in_utf_8(document))


def local_name(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition(' ')[2]


def _in_utf_8(document: bytes) -> bytes:
    for mark, encoding in _MARKED.items():
        if document.startswith(mark):
            try:
                return document[len(mark):].decode(encoding).encode()
            except UnicodeError:
                raise Refused(
                    'it is not UTF-16, as its first bytes say') from None
    return document


class _Reader:

    def __init__(self, handler: Handler, with_namespaces: bool) -> None:
        self._handler = handler
        self._depth = 0
        self._elements = 0
        self._parser = expat.ParserCreate(
            _UTF_8, ' ' if with_namespaces else None)
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.EntityDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = handler.text

    def read(self, document: bytes) -> None:
        if len(document) > 2 * MAX_SIZE:
            raise Refused(f'it has more than {text.size(MAX_SIZE)}')
        try:
            self._parser.Parse(document, True)
        except expat.ExpatError as error:
            raise Refused(
                f'it is not well-formed XML ({expat.ErrorString(error.code)}'
                f', line {error.lineno})') from None

    def _refuse_doctype(self, *args: object) -> None:
        raise Refused('it has a document type declaration or entities, which '
                      'XenServer never writes')

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _MAX_DEPTH:
            raise Refused(f'its elements are nested more than {_MAX_DEPTH} '
                          'levels deep')
        if self._elements > _MAX_ELEMENTS:
            raise Refused(f'it has more than {_MAX_ELEMENTS} elements')
        self._handler.start(name, attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(name)

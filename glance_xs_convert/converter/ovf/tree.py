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

"""An XML document as a tree of elements, without their namespaces."""

from collections.abc import Iterator

from glance_xs_convert.converter import strict_xml


class Element:
    """An element.

    :ivar name: its name without its namespace
    :ivar attributes: by their names without namespaces
    :ivar children: the elements in it
    :ivar text: the text in it, without that of its children
    """

    __slots__ = ('attributes', 'children', 'name', 'text')

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ''

    def get(self, name: str) -> str:
        """Return an attribute, or '' if it is missing."""
        return self.attributes.get(name, '').strip()

    def child_text(self, *names: str) -> str:
        """Return the text of the first child of the first name that has any.

        It is '' if there is none.
        """
        for name in names:
            for child in self.children:
                if child.name == name and child.text.strip():
                    return child.text.strip()
        return ''

    def descendants(self, *names: str) -> Iterator['Element']:
        """Yield the elements of these names inside, in document order."""
        waiting = self.children[::-1]
        while waiting:
            element = waiting.pop()
            if element.name in names:
                yield element
            waiting.extend(reversed(element.children))


def read(document: bytes) -> Element:
    """Read a document and return its root.

    :raises strict_xml.Refused: it is not acceptable
    """
    builder = _Builder()
    strict_xml.read(document, builder, with_namespaces=True)
    return builder.top.children[0]


class _Builder:

    def __init__(self) -> None:
        self.top = Element('', {})
        self._open = [self.top]
        self._texts: list[list[str]] = [[]]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        # An attribute of no namespace, or of the first one, has precedence.
        local: dict[str, str] = {}
        for key, value in attributes.items():
            local.setdefault(strict_xml.local_name(key), value)
        element = Element(strict_xml.local_name(name), local)
        self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def end(self, name: str) -> None:
        self._open.pop().text = ''.join(self._texts.pop())

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

import codecs
import unittest

import ddt

from glance_xs_convert.converter import strict_xml


class Heard:
    """Writes down what it is called with."""

    def __init__(self):
        self.parts = []

    def start(self, name, attributes):
        self.parts.append(('start', name, attributes))

    def text(self, data):
        self.parts.append(('text', data))

    def end(self, name):
        self.parts.append(('end', name))


def read(document, **options):
    heard = Heard()
    strict_xml.read(document, heard, **options)
    return heard.parts


BOMB = b'''<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;">]>
<a>&c;</a>'''
OUTSIDE = (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
           b'<a>&b;</a>')


@ddt.ddt
class StrictXml(unittest.TestCase):

    def test_parts(self):
        self.assertEqual(
            [('start', 'a', {'b': '1'}), ('text', 'x<'),
             ('start', 'c', {}), ('end', 'c'), ('end', 'a')],
            read(b'<?xml version="1.0"?><a b="1">x&lt;<c/></a>'))

    def test_namespaces(self):
        document = b'<a xmlns="urn:x" xmlns:y="urn:y" y:b="1"/>'
        (_, name, attributes), _ = read(document, with_namespaces=True)
        self.assertEqual('urn:x a', name)
        self.assertEqual({'urn:y b': '1'}, attributes)
        self.assertEqual('a', strict_xml.local_name(name))
        self.assertEqual('a', strict_xml.local_name('a'))

    @ddt.data((codecs.BOM_UTF16_LE, 'utf-16-le'),
              (codecs.BOM_UTF16_BE, 'utf-16-be'),
              (codecs.BOM_UTF8, 'utf-8'), (b'', 'utf-8'))
    @ddt.unpack
    def test_encodings(self, mark, encoding):
        """What the document declares does not count."""
        document = '<?xml version="1.0" encoding="utf-16"?><ä/>'
        self.assertEqual(('start', 'ä', {}),
                         read(mark + document.encode(encoding))[0])

    @ddt.data(BOMB, OUTSIDE, b'<!DOCTYPE a><a/>')
    def test_entities_and_document_types(self, document):
        with self.assertRaisesRegex(strict_xml.Refused, 'type declaration'):
            read(document)

    @ddt.data(b'', b'text', b'<a>', b'<a></b>', b'<a/><a/>', b'<a>&b;</a>',
              b'<a>\xff</a>', b'\0<a/>')
    def test_not_well_formed(self, document):
        with self.assertRaisesRegex(strict_xml.Refused,
                                    r'^it is not well-formed XML \(.*line'):
            read(document)

    def test_not_utf_16(self):
        with self.assertRaisesRegex(strict_xml.Refused, 'not UTF-16'):
            read(codecs.BOM_UTF16_LE + b'\0\xd8')

    def test_depth(self):
        def nested(depth):
            return b'<a>' * depth + b'</a>' * depth

        self.assertEqual(200, len(read(nested(100))))
        with self.assertRaisesRegex(strict_xml.Refused, '100 levels deep'):
            read(nested(101))

    def test_number_of_elements(self):
        with self.assertRaisesRegex(strict_xml.Refused, '500000 elements'):
            read(b'<a>' + b'<b/>' * 500_000 + b'</a>')

    def test_size(self):
        with self.assertRaisesRegex(strict_xml.Refused, 'more than 8 MiB'):
            read(b'<a>' + b' ' * (16 << 20) + b'</a>')

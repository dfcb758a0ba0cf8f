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

import unittest

from glance_xs_convert.converter.ovf import tree
from glance_xs_convert.converter import strict_xml

DOCUMENT = b'''<e:Envelope xmlns:e="urn:e" xmlns:r="urn:r">
<References><File e:id=" f1 " r:id="other" href="a.vhd"/>
<Nested><File href="b.vhd"/></Nested></References>
<Info> two <b>no</b>parts </Info><Info>second</Info><Empty> </Empty>
<File href="c.vhd"/></e:Envelope>'''


class Tree(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.root = tree.read(DOCUMENT)

    def test_names_without_namespaces(self):
        self.assertEqual('Envelope', self.root.name)
        self.assertEqual(
            ['References', 'Info', 'Info', 'Empty', 'File'],
            [child.name for child in self.root.children])

    def test_descendants_in_document_order(self):
        self.assertEqual(
            ['a.vhd', 'b.vhd', 'c.vhd'],
            [file.get('href') for file in self.root.descendants('File')])
        self.assertEqual(
            ['a.vhd', '', 'b.vhd', 'c.vhd'],
            [found.get('href')
             for found in self.root.descendants('File', 'Nested')])
        self.assertEqual([], list(self.root.descendants('Envelope')))

    def test_attributes(self):
        first = next(self.root.descendants('File'))
        self.assertEqual('f1', first.get('id'))
        self.assertEqual('', first.get('missing'))

    def test_text(self):
        self.assertEqual('two parts', self.root.child_text('Info'))
        self.assertEqual('second', self.root.children[2].text)
        self.assertEqual('two parts',
                         self.root.child_text('Missing', 'Empty', 'Info'))
        self.assertEqual('', self.root.child_text('Empty'))

    def test_refused(self):
        for document in (b'', b'<a>', b'<!DOCTYPE a><a/>'):
            with self.assertRaises(strict_xml.Refused):
                tree.read(document)

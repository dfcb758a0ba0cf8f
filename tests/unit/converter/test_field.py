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

"""Images of the shapes that people have, with the sums that must come out."""

import hashlib
import json
import lzma

from tests.unit import cases


def manifest(case):
    """Return the images, by their names."""
    path = cases.fixtures(case) / 'field' / 'manifest.json'
    return json.loads(path.read_text())['cases']


class Field(cases.ConvertCase):

    def contents(self, name):
        """Yield an image as it is stored, and without the xz around it."""
        data = (cases.fixtures(self) / 'field' / name).read_bytes()
        yield data
        if name.endswith('.xz'):
            yield lzma.decompress(data)

    def sha256(self, data, arguments):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.convert(data, disk=options.get('--disk'))
        found = hashlib.sha256(self.target.read_bytes()).hexdigest()
        self.target.unlink()
        return found

    def test_sums(self):
        for name, case in manifest(self).items():
            if 'sha256' in case:
                for data in self.contents(case['file']):
                    with self.subTest(name, size=len(data)):
                        self.assertEqual(case['sha256'],
                                         self.sha256(data, case['args']))

    def test_refusals(self):
        for name, word in (('vdi', 'VirtualBox'), ('raw-zero-start-20M',
                                                   'a raw disk'),
                           ('xencenter-ova-2disks-none', r'\(1\), 8 MiB')):
            case = manifest(self)[name]
            self.assertNotIn('sha256', case)
            for data in self.contents(case['file']):
                with self.subTest(name, size=len(data)):
                    self.assertRegex(str(self.assert_refused(data)), word)

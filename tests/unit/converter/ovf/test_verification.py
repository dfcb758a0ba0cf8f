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

"""A package's files against its manifest, wherever that is."""

import hashlib
import io
import unittest

from glance_xs_convert.converter.ovf import verification
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions

DATA = b'the disk' * 1000


def line(name, algorithm='sha256', data=DATA):
    return (f'{algorithm.upper()}({name})= '
            f'{hashlib.new(algorithm, data).hexdigest()}\n').encode()


class Verification(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.sums = verification.Verification()
        self.addCleanup(self.sums.close)

    def read(self, path='disk.vhd', data=DATA):
        """Read a file, the first bytes alone, and verify it."""
        source = io.BytesIO(data)
        reader = forward.ForwardReader(iter(lambda: source.read(100), b''))
        hashed = self.sums.begin(path, reader, len(data))
        self.assertEqual(data[:10], hashed.read(10))
        hashed.read_rest()
        self.assertEqual(data[-512:], hashed.tail)
        self.sums.end(path, path, hashed)

    def test_manifest_before_the_file(self):
        names = {f'{name}.vhd': name for name in ('sha1', 'sha256', 'sha512')}
        self.sums.read_manifest(b''.join(
            line(*item) for item in names.items()), 'x.mf')
        for name in names:
            self.read(name)
        self.assertEqual([], self.sums.unverified())

    def test_manifest_behind_the_file(self):
        self.read()
        self.sums.read_manifest(line('disk.vhd'), 'x.mf')
        self.assertEqual([], self.sums.unverified())

    def test_sums_that_were_not_computed(self):
        """It takes the manifest to know that SHA-512 is wanted."""
        self.read()
        self.sums.read_manifest(
            line('disk.vhd', 'sha512', b'other'), 'x.mf')
        self.assertEqual(['disk.vhd'], self.sums.unverified())

    def test_wrong(self):
        self.sums.read_manifest(line('disk.vhd', data=b'other'), 'x.mf')
        with self.assertRaises(exceptions.WrongDigest) as caught:
            self.read()
        self.assertEqual('disk.vhd', caught.exception.member)

    def test_wrong_behind_the_file(self):
        self.read()
        self.assertRaises(exceptions.WrongDigest, self.sums.read_manifest,
                          line('disk.vhd', data=b'other'), 'x.mf')

    def test_two_manifests(self):
        self.sums.read_manifest(b'', 'x.mf')
        self.assertRaises(exceptions.DamagedPackage, self.sums.read_manifest,
                          b'', 'y.mf')

    def test_names_are_those_in_the_directory(self):
        self.sums.directory = 'vm/'
        self.sums.read_manifest(
            line('disk.vhd') + line('vm/other.vhd', data=b'wrong'), 'x.mf')
        for path in ('vm/disk.vhd', 'vm/other.vhd'):
            self.read(path)
        self.assertEqual(['vm/other.vhd'], self.sums.unverified())

    def test_lines_that_say_nothing(self):
        self.sums.read_manifest(b'nonsense\n', 'x.mf')
        [note] = self.sums.notes
        self.assertIn('nonsense', note)

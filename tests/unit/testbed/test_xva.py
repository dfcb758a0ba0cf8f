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

"""Checks the exports against XenServer's rules for reading them."""

import hashlib
import io
import random
import tarfile
import unittest
from xml.etree import ElementTree

import ddt
import xxhash

from testbed.images import archive
from testbed.images import sparse
from testbed.images import xva

MIB = xva.MIB


def receive(data, size):
    """Read the only disk of an export as XenServer's import does.

    The rules are those of ``recv_one`` in xen-api's ``stream_vdi.ml``: the
    offset runs on, and what a number skips counts in first chunks.
    """
    disk, last, first_length = b'', -1, None
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        infos = iter(opened)
        manifest = next(infos)
        if manifest.name != 'ova.xml':
            raise ValueError(manifest.name)
        while len(disk) < size:
            info = next(infos)
            number = int(info.name.partition('/')[2])
            if number <= last:
                raise ValueError(info.name)
            if first_length is None:
                first_length = info.size
            chunk = opened.extractfile(info).read()
            disk += bytes((number - last - 1) * first_length) + chunk
            last = number
            check = next(infos)
            wanted = {'xxhash': xxhash.xxh64_hexdigest(chunk).upper(),
                      'checksum': hashlib.sha1(chunk).hexdigest()}
            stem, _, extension = check.name.rpartition('.')
            found = opened.extractfile(check).read().decode()
            if (stem, found) != (info.name, wanted[extension]):
                raise ValueError(check.name)
        if next(infos, None) is not None:
            raise ValueError('more follows')
    return disk


@ddt.ddt
class AgainstTheRules(unittest.TestCase):

    def check(self, disk):
        data = xva.Export([disk]).tar()
        self.assertEqual(disk.content.tobytes(), receive(data, disk.size))

    @ddt.data(512, 1000, 4096, 65536, 100_001, MIB)
    def test_chunks_of_any_length(self, chunk_size):
        for seed in range(4):
            for size in (1, chunk_size - 1, chunk_size, chunk_size + 1,
                         7 * chunk_size, 23 * chunk_size + 5):
                with self.subTest(seed=seed, size=size):
                    self.check(xva.random_disk(seed, size, chunk_size))

    def test_chunks_shorter_than_the_first(self):
        for seed in range(20):
            rng = random.Random(seed)
            lengths = {rng.randrange(1, 20): rng.randrange(1, 4096)
                       for _ in range(5)}
            self.check(xva.random_disk(seed, 40 * 4096 + 9, 4096,
                                       lengths=lengths))

    def test_sha1(self):
        self.check(xva.random_disk('sha1', 3 * MIB, checksum=xva.SHA1))

    def test_zeros_are_skipped_but_for_the_first_and_the_last(self):
        content = sparse.Sparse()
        content.put(3 * MIB, b'x')
        content.truncate(10 * MIB)
        chunks = list(xva.Disk(content).chunks())
        self.assertEqual([0, 3, 9], [chunk.number for chunk in chunks])
        disk = xva.Disk(content, zeros=[5 * MIB])
        self.assertEqual([0, 3, 5, 9],
                         [chunk.number for chunk in disk.chunks()])

    def test_a_chunk_of_no_length_takes_a_number(self):
        content = sparse.Sparse()
        content.put(3 * MIB, b'x')
        content.truncate(10 * MIB)
        disk = xva.Disk(content, keep_alives={1: 2, 2: 1})
        self.assertEqual(
            [(0, MIB), (3, 0), (4, 0), (5, MIB), (11, 0), (12, MIB)],
            [(chunk.number, len(chunk.data)) for chunk in disk.chunks()])
        self.check(disk)

    def test_a_disk_of_2040_gib_costs_nothing(self):
        content = sparse.Sparse()
        content.truncate(2040 << 30)
        self.assertEqual([0, 2040 * 1024 - 1], [
            chunk.number for chunk in xva.Disk(content).chunks()])


class OvaXml(unittest.TestCase):

    def test_is_well_formed(self):
        for typed in (False, True):
            export = xva.Export([xva.random_disk(1, MIB, name='a <b> & c')],
                                typed=typed)
            root = ElementTree.fromstring(export.ova_xml())
            self.assertEqual('value', root.tag)
            texts = [element.text for element in root.iter()]
            self.assertIn('a <b> & c', texts)
            self.assertIn(str(MIB), texts)


class Zstandard(unittest.TestCase):

    def test_frames(self):
        data = random.Random(1).randbytes(5000)
        packed = archive.zstandard([data, 3 * MIB, data], frame_size=4000)
        self.assertGreater(packed.count(b'\x28\xb5\x2f\xfd'), 1)
        self.assertEqual(data + bytes(3 * MIB) + data,
                         archive.zstd.decompress(packed))

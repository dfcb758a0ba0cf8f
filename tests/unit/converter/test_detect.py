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

"""The format of an image, told by its first bytes and its first file."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import unittest

import ddt

from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter import detect
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd

DATA = random.Random('detect').randbytes(4096)


def packed(*names, tar_format=tarfile.GNU_FORMAT):
    """A tar archive of files and directories, as Python makes it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode='w', format=tar_format) as file:
        for name in names:
            info = tarfile.TarInfo(name.rstrip('/'))
            if name.endswith('/'):
                info.type = tarfile.DIRTYPE
            info.size = 0 if name.endswith('/') else len(DATA)
            file.addfile(info, io.BytesIO(DATA))
    return target.getvalue()


def skimmed(data, name='notes'):
    return member.Skimmed(name, name, len(data), data[:2048], data[-512:])


@ddt.ddt
class FirstBytes(unittest.TestCase):

    def test_compressions(self):
        for pack, name in ((gzip.compress, 'gzip'), (bz2.compress, 'bzip2'),
                           (lzma.compress, 'xz'),
                           (lambda data: archive.zstandard([data]),
                            'zstandard')):
            for data in (DATA, packed('0.vhd')):
                self.assertEqual(name, detect.wrapping(pack(data)).value)

    def test_no_compression(self):
        for data in (b'', b'\x1f', DATA, packed('0.vhd'), b'BZh',
                     lzma.compress(DATA, lzma.FORMAT_ALONE)):
            self.assertIs(detect.Wrapping.NONE, detect.wrapping(data))

    @ddt.data(tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)
    def test_tar(self, tar_format):
        data = bytearray(packed('0.vhd', tar_format=tar_format))
        self.assertTrue(detect.is_tar(bytes(data)))
        self.assertFalse(detect.is_tar(bytes(data[:511])))
        data[3] ^= 1
        self.assertFalse(detect.is_tar(bytes(data)))

    def test_no_tar(self):
        for data in (b'', bytes(1024), DATA):
            self.assertFalse(detect.is_tar(data))

    def test_size_of_a_disk(self):
        data = vhd.Layer(96 * 1024, [(0, DATA[:512])]).tobytes()
        self.assertEqual(96 * 1024, detect.disk_size(data))
        self.assertEqual(0, detect.disk_size(data[:510]))
        self.assertEqual(0, detect.disk_size(DATA))

    def test_fixed_vhds(self):
        """They may begin with whatever a disk begins with."""
        for start in (DATA, chains.partition_table(63, 99), bytes(2048)):
            self.assertTrue(detect.may_be_fixed(start.ljust(1024, b'\0')))
        for start in (DATA[:1023], b'', b'QFI\xfb' + DATA,
                      b'<!DOCTYPE html>' + DATA):
            self.assertFalse(detect.may_be_fixed(start))

    def test_disks_that_hold_something(self):
        self.assertTrue(detect.looks_like_a_disk(
            chains.partition_table(63, 99).ljust(4096, b'\0')))
        for start in (bytes(4096), DATA, b'QFI\xfb' + DATA):
            self.assertFalse(detect.looks_like_a_disk(start))


@ddt.ddt
class FirstFile(unittest.TestCase):

    @ddt.data(('ova.xml', 'EXPORT'), ('./ova.xml', 'EXPORT'),
              ('export/ova.xml', 'EXPORT'), ('Ref:12/00000000', 'EXPORT'),
              ('vm.ovf', 'PACKAGE'), ('./a/VM.OVF', 'PACKAGE'),
              ('0.vhd', 'VHDS'), ('notes', 'VHDS'), (None, 'VHDS'))
    @ddt.unpack
    def test_content(self, name, content):
        self.assertEqual(content, detect.content(name).name)


@ddt.ddt
class Ignored(unittest.TestCase):
    """What must not lie beside the disk."""

    def refuse(self, data, content=detect.Content.VHDS, name='notes'):
        with self.assertRaises(exceptions.XsConvertError) as caught:
            detect.check_ignored(content, [skimmed(data, name)])
        return caught.exception

    @ddt.data(('0.vhd',), ('backup/', '0.vhd'), ('ova.xml',), ('vm.ovf',),
              ('Ref:12/00000000',))
    def test_archive_of_disks(self, names):
        error = self.refuse(packed(*names))
        self.assertIsInstance(error, exceptions.ForeignDisk)
        self.assertEqual('notes', error.member)

    def test_archive_of_a_vhd_with_another_name(self):
        data = archive.tar([archive.Member('disk', vhd.Layer(
            96 * 1024, [(0, DATA[:512])]).image())])
        self.assertIsInstance(self.refuse(data), exceptions.ForeignDisk)

    def test_part_of_another_kind_of_image(self):
        layer = vhd.Layer(64 * 1024, [(0, DATA[:512])],
                          disk_type=vhd.FIXED).tobytes()
        for error in (self.refuse(layer, detect.Content.EXPORT),
                      self.refuse(b'<value>', name='ova.xml')):
            self.assertIsInstance(error, exceptions.DamagedExport)

    def test_what_may_lie_there(self):
        for data in (b'', b'text', DATA, packed('readme'), packed('a/', 'b'),
                     packed('a/')):
            for content in detect.Content:
                detect.check_ignored(content, [skimmed(data)])

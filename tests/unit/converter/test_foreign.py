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

"""What is given instead of a XenServer image is called by its name."""

import io
import json
import lzma
import random
import shutil
import subprocess
import tarfile
import zipfile

import ddt
from oslo_utils.imageutils import format_inspector

from glance_xs_convert.converter import foreign
from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import chains
from tests.unit import cases
from tests.unit.converter import sources

MIB = 1 << 20
NOISE = random.Random('foreign').randbytes(MIB)


def at(offset, magic, size=2 * MIB):
    """Zeros with a signature in them."""
    return (bytes(offset) + magic).ljust(size, b'\0')


def iso():
    return at(0x8000, b'\1CD001\1\0')


def ext4():
    return at(0x438, b'\x53\xef')


def zipped():
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as file:
        file.writestr('disk.vhd', NOISE[:5000])
    return target.getvalue()


def xml(content):
    return f'<?xml version="1.0" encoding="utf-8"?>\n{content}'.encode()


LFS = (b'version https://git-lfs.github.com/spec/v1\n'
       b'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d'
       b'17e2393\nsize 12345\n')
ANNEX = (b'/annex/objects/SHA256E-s1048576--2cf24dba5fb0a30e26e83b2ac5b9e29e'
         b'.vhd\n')


@ddt.ddt
class Foreign(cases.ConvertCase):

    @ddt.named_data(
        ('cowd', lambda: b'COWD' + NOISE, 'ESX'),
        ('vmdk_descriptor', lambda: b'# Disk DescriptorFile\nversion=1\n',
         'descriptor of a VMDK'),
        ('7z', lambda: b"7z\xbc\xaf'\x1c\0\4" + NOISE, '7z archive'),
        ('rar4', lambda: b'Rar!\x1a\x07\0' + NOISE, 'rar archive'),
        ('rar5', lambda: b'Rar!\x1a\x07\1\0' + NOISE, 'rar archive'),
        ('zip', zipped, 'zip archive'),
        ('lz4', lambda: b'\x04\x22\x4d\x18\x64\x40\xa7' + NOISE, 'lz4'),
        ('lzma', lambda: lzma.compress(NOISE, lzma.FORMAT_ALONE), 'LZMA'),
        ('cpio', lambda: b'070701' + b'0' * 104 + NOISE, 'cpio archive'),
        ('json', lambda: json.dumps(
            {'error': {'code': 404, 'title': 'Not Found'}}).encode(),
         'JSON document'),
        ('html', lambda: b'\n<!doctype HTML>\n<title>404</title>',
         'HTML page'),
        ('xml', lambda: xml('<Error><Code>AccessDenied</Code></Error>'),
         'XML document'),
        ('ovf', lambda: xml(
            '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>'),
         'OVF descriptor without its disks'),
        ('ovf_prefixed', lambda: xml('<!-- made --><ovf:Envelope/>'),
         'OVF descriptor without its disks'),
        ('ova_xml', lambda: xml('<value><struct></struct></value>'),
         'ova.xml'),
        ('text', lambda: 'Die Datei ist größer als erlaubt.\n'.encode(),
         'text'),
        ('lfs', lambda: LFS, 'git lfs pull'),
        ('annex', lambda: ANNEX, 'git annex get'),
        ('annex_link', lambda: b'../../.git' + ANNEX, 'git annex get'),
        ('alias', lambda: b'data/6ad0c9a8-7a1c-4f0e.vhd', 'Xen Orchestra'),
        ('ext4', ext4, 'ext4'),
        ('ntfs', lambda: at(3, b'NTFS    ')[:510] + b'\x55\xaa', 'NTFS'),
        ('lvm', lambda: at(512, b'LABELONE'), 'LVM'),
        ('mbr', lambda: chains.partition_table(63, 99) + NOISE,
         'a partition table (MBR)'),
        ('boot_sector', lambda: NOISE[:510] + b'\x55\xaa' + NOISE,
         'a boot sector'),
        ('zeros', lambda: bytes(MIB), 'whose first sector is zero'),
        ('late_data', lambda: bytes(4096) + NOISE,
         'whose first sector is zero'))
    @ddt.unpack
    def test_named(self, make, what):
        data = make()
        for source in (data, sources.OnceOnly(io.BytesIO(data)),
                       archive.gzipped([data])):
            error = self.assert_refused(source, exceptions.NotAnArchive)
            self.assertIn(what, str(error))

    @ddt.data(('qcow2', 'qcow2'), ('vmdk', 'VMDK'), ('vhdx', 'VHDX'),
              ('vdi', 'VDI'), ('qed', 'QED'))
    @ddt.unpack
    def test_disks_of_qemu_img(self, form, what):
        """The signatures are those that others write and recognize."""
        if shutil.which('qemu-img') is None:
            self.skipTest('qemu-img is not installed')
        path = self.scratch / 'disk'
        subprocess.run(['qemu-img', 'create', '-q', '-f', form, path, '8M'],
                       check=True)
        data = path.read_bytes()
        found = format_inspector.detect_file_format(str(path))
        self.assertEqual(form, str(found))
        error = self.assert_refused(data, exceptions.NotAnArchive)
        self.assertIn(what, str(error))

    @ddt.data((iso, 'iso'), (lambda: at(512, b'EFI PART'), None))
    @ddt.unpack
    def test_content_of_disks(self, make, form):
        """A disk may begin like this, and so may a fixed VHD."""
        found = foreign.identify(make()[:foreign.START_SIZE])
        self.assertTrue(found.is_content)
        if form is not None:
            path = self.scratch / 'disk'
            path.write_bytes(make())
            self.assertEqual(
                form, str(format_inspector.detect_file_format(str(path))))

    def test_what_is_nothing_in_particular(self):
        self.assertIsNone(foreign.identify(NOISE))
        self.assertEqual('empty', foreign.identify(b'').what)

    def test_an_empty_tar_archive_is_no_disk(self):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode='w'):
            pass
        self.assert_refused(target.getvalue(), exceptions.NoVhd)

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

"""Broken and hostile exports: each is refused with a typed error."""

import random
import tarfile

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import sparse
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import exports

MIB = 1 << 20
GIB = 1 << 30

WRAPPINGS = exports.WRAPPINGS
Damaged = exceptions.DamagedExport
Incomplete = exceptions.IncompleteDisk
disk = exports.disk
members = exports.members
chunk = exports.chunk
changed = exports.changed
cut = exports.cut


@ddt.ddt
class DisksAndSizes(exports.RefusalCase):

    def test_a_disk_that_ova_xml_does_not_know(self):
        extra = chunk(0, b'x' * 512, 'Ref:8')
        self.refuse(cut(1, 0, extra), Damaged, 'Ref:8')
        self.refuse(cut(13, 0, extra), Damaged, 'Ref:8')

    def test_the_disk_under_another_reference(self):
        sound = xva.Export([disk()])
        other = xva.Export([disk(ref='Ref:8')])
        self.refuse(archive.tar([
            archive.Member('ova.xml', sound.ova_xml()),
            *list(other.members())[1:]]), Damaged, 'Ref:8')

    def test_a_disk_without_chunks(self):
        self.refuse(cut(1, 12), Incomplete, 'Ref:7')

    def test_another_disk_without_chunks(self):
        first, second = exports.two_disks()
        export = xva.Export([first, second])
        for choice, missing in (('0', second), ('1', first)):
            kept = [member for member in export.members()
                    if not member.name.startswith(missing.ref)]
            self.refuse(archive.tar(kept), Incomplete, missing.ref,
                        disk=choice)

    def test_a_disk_in_two_places(self):
        first, second = exports.two_disks()
        sound = list(xva.Export([first, second]).members())
        start = next(index for index, member in enumerate(sound)
                     if member.name.startswith(first.ref))
        moved = [sound[0], *sound[start:start + 2], *sound[1:start],
                 *sound[start + 2:]]
        for choice in '01':
            self.refuse(archive.tar(moved), Damaged, first.ref, disk=choice)

    @ddt.data('-1', '0', '-5243904', '', 'x', '1' * 30, '5e6')
    def test_sizes_that_are_none(self, size):
        self.refuse(archive.tar(members(virtual_size=size)), Damaged,
                    'ova.xml')

    @ddt.data(1, 512, 5 * MIB, 5 * MIB + 1023, 5 * MIB + 1025, 6 * MIB,
              2040 * GIB)
    def test_sizes_that_are_lies(self, size):
        self.refuse(archive.tar(members(virtual_size=str(size))), Incomplete)

    def test_sizes_above_the_limit(self):
        for size in (2040 * GIB + 1, 1 << 62, 10 ** 20 - 1):
            self.refuse(archive.tar(members(virtual_size=str(size))),
                        exceptions.LimitExceeded)
        self.refuse(archive.tar(members()), exceptions.LimitExceeded,
                    limits=image_limits.Limits(
                        max_virtual_size=5 * MIB + 1023))
        self.convert(archive.tar(members()), limits=image_limits.Limits(
            max_virtual_size=5 * MIB + 1024))


@ddt.ddt
class OvaXml(exports.RefusalCase):

    def test_missing(self):
        self.refuse(cut(0), Damaged, 'ova.xml')

    @ddt.data(1, 3, 13)
    def test_not_first(self, place):
        sound = members()
        self.refuse(archive.tar([
            *sound[1:place], sound[0], *sound[place:]]
            if place > 1 else [archive.directory(), *sound[1:], sound[0]]),
            Damaged, 'ova.xml')

    def test_twice(self):
        for place in (1, 13):
            self.refuse(cut(place, 0, [members()[0]]), Damaged, 'ova.xml')
        self.refuse(cut(5, 0, [members()[0]]))

    def test_too_long(self):
        document = members()[0].content
        fits = document.ljust(8 * MIB)
        self.convert(changed(0, content=fits))
        self.target.unlink()
        self.refuse(changed(0, content=fits + b' '), Damaged, '8 MiB')
        self.refuse(changed(0, claimed_size=1 << 40), Damaged, '8 MiB')

    def test_cut(self):
        document = members()[0].content
        for size in (0, 1, 1000, len(document) - 1):
            self.refuse(changed(0, content=document[:size]), Damaged,
                        'ova.xml')

    def test_deeply_nested(self):
        self.refuse(changed(0, content=b'<value>' * MIB), Damaged, 'nested')

    def test_document_types_and_entities(self):
        document = members()[0].content
        laughs = b'<!DOCTYPE v [<!ENTITY a "ha">' + b''.join(
            b'<!ENTITY %c "&%c;&%c;">' % (n + 1, n, n)
            for n in range(ord('a'), ord('z'))) + b']>'
        for start in (laughs, b'<!DOCTYPE value>',
                      b'<!DOCTYPE v SYSTEM "file:///dev/zero">'):
            self.refuse(changed(0, content=start + document), Damaged,
                        'document type')

    def test_not_xml(self):
        for content in (b'{"objects": []}', bytes(9999), b'\xff' * 999):
            self.refuse(changed(0, content=content), Damaged, 'ova.xml')

    def test_of_the_old_format(self):
        old = b'<?xml version="1.0"?><appliance version="0.1"></appliance>'
        disk = archive.Member('sda/chunk-000000000.gz', b'x')
        self.refuse(archive.tar([archive.Member('ova.xml', old), disk]),
                    exceptions.OldExport)
        self.refuse(cut(1, 12, [disk]), exceptions.OldExport, 'chunk-')
        self.refuse(archive.tar([disk]), exceptions.OldExport, 'chunk-')


@ddt.ddt
class Members(exports.RefusalCase):

    @ddt.data(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
              tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE)
    def test_links_and_devices(self, kind):
        for index in (0, 1, 2, 7):
            self.refuse(changed(index, type=kind, linkname='/etc/passwd',
                                content=b''),
                        exceptions.XsConvertError)
        extra = archive.Member('Ref:7/link', type=kind, linkname='../x')
        for place in (1, 3, 13):
            self.refuse(cut(place, 0, [extra]), exceptions.XsConvertError)

    @ddt.data('/Ref:7/00000000', '../Ref:7/00000000', 'Ref:7/../00000000',
              'Ref:7/../../00000000', '/ova.xml', '../ova.xml')
    def test_names_that_lead_out(self, name):
        for index in (0, 1, 2, 7):
            self.refuse(changed(index, name=name), exceptions.UnsafeMember)

    def test_more_other_files_than_allowed(self):
        note = archive.Member('notes', b'x' * 2000)
        self.refuse(cut(1, 0, [note]), exceptions.LimitExceeded,
                    limits=image_limits.Limits(max_ignored_size=1999))
        self.refuse(cut(1, 0, [
            archive.Member(str(n), b'') for n in range(1001)]),
            exceptions.LimitExceeded)

    def test_a_huge_file_that_is_none_of_the_disk(self):
        note = archive.Member('notes', claimed_size=1 << 40)
        self.refuse(cut(1, 0, [note]), exceptions.LimitExceeded, 'notes')

    def test_holes(self):
        """Tar can leave out zeros, and no export has reason to."""
        content = sparse.Sparse()
        content.put(0, b'x' * 512)
        content.truncate(1 << 40)
        self.refuse(cut(1, 2, [archive.gnu_sparse(
            'Ref:7/00000000', content)]), exceptions.XsConvertError)


@ddt.ddt
class Wrappings(cases.ConvertCase):

    @ddt.data(*WRAPPINGS)
    def test_cut(self, wrapping):
        packed = WRAPPINGS[wrapping](archive.tar(members()))
        rng = random.Random(wrapping)
        sizes = {1, 100, 511, 512, 513, len(packed) - 1,
                 *(rng.randrange(len(packed)) for _ in range(12))}
        if wrapping == 'plain':
            sizes.discard(len(packed) - 1)
            sizes = {min(size, len(packed) - 1025) for size in sizes}
        for size in sizes:
            with self.subTest(size=size):
                self.assert_refused(packed[:size])

    @ddt.data('gzip', 'zstandard')
    def test_flipped_bits(self, wrapping):
        packed = WRAPPINGS[wrapping](archive.tar(members()))
        rng = random.Random(wrapping)
        wanted = disk()
        for _ in range(24):
            damaged = archive.flipped(packed, rng.randrange(len(packed) * 8))
            try:
                self.convert(damaged)
            except exceptions.XsConvertError:
                continue
            self.assertEqual(wanted.content.tobytes(),
                             self.target.read_bytes())
            self.target.unlink()

    def test_flipped_bits_of_a_plain_archive(self):
        packed = archive.tar(members())
        data = packed.index(members()[5].content)
        rng = random.Random('plain')
        for _ in range(24):
            bit = 8 * data + rng.randrange(8 * MIB)
            self.assert_refused(archive.flipped(packed, bit),
                                exceptions.WrongChecksum)

    def test_windows(self):
        parameters = archive.zstd.CompressionParameter
        data = archive.tar(members())
        fits = archive.zstandard([data], options={parameters.window_log: 27})
        self.convert(fits)
        self.target.unlink()
        for log in (28, 31):
            self.assert_refused(archive.zstandard(
                [data], options={parameters.window_log: log}),
                exceptions.LimitExceeded, '128 MiB')

    def test_bombs(self):
        sound = list(xva.Export([disk()]).members())
        start = archive.tar(sound[:1], archive.USTAR, end=0)
        zeros = archive.zstandard([256 * MIB]) * 400
        for head in (
                b'', start,
                archive.header(archive.Member('x', claimed_size=100 * GIB)),
                start + archive.header(archive.Member(
                    'Ref:7/00000000', claimed_size=100 * GIB)),
                archive.tar(sound)):
            self.assert_refused(archive.zstandard([head]) + zeros)

    def test_a_bomb_that_is_a_sound_disk(self):
        content = sparse.Sparse()
        content.truncate(400 * GIB)
        bomb = xva.Export([xva.Disk(content, 100 * GIB)])
        head = archive.tar([archive.Member('ova.xml', bomb.ova_xml())], end=0)
        head += archive.header(archive.Member(
            'Ref:7/00000000', claimed_size=100 * GIB))
        zeros = archive.zstandard([256 * MIB])
        self.assert_refused(archive.zstandard([head]) + zeros * 400,
                            exceptions.LimitExceeded, 'proportion')

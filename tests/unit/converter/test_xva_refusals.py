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

import dataclasses
import random
import tarfile
from unittest import mock

import ddt

from glance_xs_convert.converter.containers import xva_chunks
from glance_xs_convert import exceptions
from glance_xs_convert import limits

from testbed.images import archive
from testbed.images import sparse
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import test_xva

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

WRAPPINGS = test_xva.WRAPPINGS
Damaged = exceptions.DamagedExport
Incomplete = exceptions.IncompleteDisk


def disk(**options):
    """A disk of six chunks, the last one short, without keep-alives."""
    content = sparse.Sparse()
    for number in range(6):
        content.put(number * MIB + 99, random.Random(number).randbytes(300))
    content.truncate(5 * MIB + 1024)
    return xva.Disk(content, **options)


def members(**options):
    """The members of an export: ova.xml, then chunks and checksums."""
    return list(xva.Export([disk(**options)]).members())


def chunk(number, data, ref='Ref:7', kind=xva.XXH64, ending=None):
    """A chunk and its checksum."""
    name = f'{ref}/{number:08d}'
    return [archive.Member(name, data), archive.Member(
        f'{name}.{ending or kind}', xva.checksum(kind, data))]


def changed(index, **changes):
    """A sound export with one member changed."""
    sound = members()
    sound[index] = dataclasses.replace(sound[index], **changes)
    return archive.tar(sound)


def cut(first, count=1, put=()):
    """A sound export with members taken away, and others in their place."""
    sound = members()
    sound[first:first + count] = put
    return archive.tar(sound)


class RefusalCase(cases.ConvertCase):

    def refuse(self, data, error=Damaged, member=None, **options):
        """Check that an export is refused, however it is wrapped."""
        for name, wrap in WRAPPINGS.items():
            with self.subTest(name):
                found = self.assert_refused(wrap(data), error, member,
                                            **options)
        return found


@ddt.ddt
class Checksums(RefusalCase):

    def test_data_that_changed(self):
        for index in (1, 5, 11):
            content = bytearray(members()[index].content)
            content[99] ^= 1
            self.refuse(changed(index, content=bytes(content)),
                        exceptions.WrongChecksum, f'{index // 2:08d}')

    def test_data_that_changed_under_sha1(self):
        sound = members(checksum=xva.SHA1)
        content = bytearray(sound[3].content)
        content[0] ^= 1
        sound[3] = dataclasses.replace(sound[3], content=bytes(content))
        self.refuse(archive.tar(sound), exceptions.WrongChecksum, '00000001')

    def test_one_that_changed(self):
        self.refuse(changed(2, content=b'0123456789ABCDEF'),
                    exceptions.WrongChecksum, '00000000')

    def test_that_of_another_chunk(self):
        sound = members()
        self.refuse(changed(4, content=sound[6].content),
                    exceptions.WrongChecksum, '00000001')

    def test_of_a_chunk_of_no_length(self):
        sound = members(keep_alives={2: 1})
        index = next(index for index, member in enumerate(sound)
                     if member.size == 0)
        sound[index + 1] = dataclasses.replace(
            sound[index + 1], content=b'0' * 16)
        self.refuse(archive.tar(sound), exceptions.WrongChecksum)

    @ddt.data(2, 6, 12)
    def test_missing(self, index):
        self.refuse(cut(index), Damaged, 'checksum')

    def test_twice(self):
        self.refuse(cut(3, 0, [members()[2]]), Damaged, '00000000.xxhash')

    def test_with_the_name_of_another_chunk(self):
        self.refuse(changed(4, name='Ref:7/00000002.xxhash'), Damaged,
                    'checksum')

    @ddt.data('md5', 'sha256', 'xxhash2', 'XXHASH', 'gz')
    def test_unknown_kinds(self, kind):
        self.refuse(changed(2, name=f'Ref:7/00000000.{kind}'), Damaged, kind)

    @ddt.data(b'', b'0', b'0123456789ABCDE', b'0123456789ABCDEFG',
              b'0123456789abcdef', b'0123456789ABCDEX', b'0123456789ABCDE\n',
              b'\0' * 16, b'0' * 40, b'A' * (2 << 20))
    def test_malformed(self, content):
        self.refuse(changed(2, content=content), Damaged, '00000000.xxhash')

    def test_one_kind_named_as_the_other(self):
        data = members()[1].content
        self.refuse(cut(1, 2, chunk(0, data, ending='checksum')), Damaged,
                    '00000000.checksum')

    def test_another_kind_in_the_middle_of_a_disk(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data, kind=xva.SHA1)), Damaged,
                    '00000002.checksum')


@ddt.ddt
class Numbers(RefusalCase):

    def test_the_same_twice(self):
        sound = members()
        self.refuse(cut(5, 0, sound[3:5]), Damaged, '00000001')

    def test_decreasing(self):
        sound = members()
        self.refuse(cut(3, 4, [*sound[5:7], *sound[3:5]]), Damaged,
                    '00000001')

    def test_no_first_chunk(self):
        self.refuse(cut(1, 2), Incomplete, '00000001')

    def test_a_first_chunk_of_no_length(self):
        self.refuse(cut(1, 2, chunk(0, b'')), Incomplete, '00000000')

    def test_no_last_chunk(self):
        self.refuse(cut(11, 2), Incomplete, 'Ref:7')

    def test_a_last_chunk_that_is_too_short(self):
        data = members()[11].content
        self.refuse(cut(11, 2, chunk(5, data[:-1])), Incomplete, 'Ref:7')

    def test_one_byte_too_many(self):
        data = members()[11].content
        self.refuse(cut(11, 2, chunk(5, data + b'\0')), Incomplete,
                    '00000005')

    def test_a_chunk_in_the_middle_that_is_missing(self):
        """It stands for zeros; what is missing is told by nothing."""
        self.convert(cut(5, 2))

    def test_a_chunk_in_the_middle_that_is_too_short(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data[:-512])), Incomplete, 'Ref:7')

    def test_longer_than_the_first(self):
        data = members()[5].content
        self.refuse(cut(5, 2, chunk(2, data + b'\0')), Damaged, '00000002')
        self.refuse(cut(1, 2, chunk(0, data[:-1])), Damaged, '00000001')

    @ddt.data(6, 7, 99999999, 10 ** 18)
    def test_beyond_the_end(self, number):
        self.refuse(cut(13, 0, chunk(number, b'x')), Incomplete, str(number))
        self.refuse(cut(11, 2, chunk(number, b'x')), Incomplete, str(number))

    def test_too_many_chunks(self):
        content = sparse.Sparse()
        for count, accepted in ((19, True), (21, False)):
            content.put(512 * (count - 1), b'x' * 512)
            data = xva.Export([xva.Disk(
                content, 512, zeros=range(0, content.size, 512))]).tar()
            with mock.patch.object(xva_chunks, '_MAX_CHUNKS', 20):
                if accepted:
                    self.convert(data)
                    self.target.unlink()
                else:
                    self.refuse(data, exceptions.LimitExceeded, 'Ref:7')

    def test_too_many_chunks_of_no_length(self):
        with mock.patch.object(xva_chunks, '_MAX_SHORT_CHUNKS', 20):
            self.convert(archive.tar(members(keep_alives={2: 19})))
            self.target.unlink()
            self.refuse(archive.tar(members(keep_alives={2: 20})),
                        exceptions.LimitExceeded, 'Ref:7')

    @ddt.data('Ref:7/0000000', 'Ref:7/0000000x', 'Ref:7/-0000001',
              'Ref:7/00000000/', 'Ref:7/٠٠٠٠٠٠٠٠', 'Ref:7/' + '1' * 80,
              'Ref:7//00000000', 'Ref:7', 'Ref:7/00000000.xxhash.xxhash')
    def test_names_that_are_none(self, name):
        self.refuse(changed(1, name=name))


@ddt.ddt
class DisksAndSizes(RefusalCase):

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
        first, second = test_xva.two_disks()
        export = xva.Export([first, second])
        for choice, missing in (('0', second), ('1', first)):
            kept = [member for member in export.members()
                    if not member.name.startswith(missing.ref)]
            self.refuse(archive.tar(kept), Incomplete, missing.ref,
                        disk=choice)

    def test_a_disk_in_two_places(self):
        first, second = test_xva.two_disks()
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
                    limits=limits.Limits(max_virtual_size=5 * MIB + 1023))
        self.convert(archive.tar(members()), limits=limits.Limits(
            max_virtual_size=5 * MIB + 1024))


@ddt.ddt
class OvaXml(RefusalCase):

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
class Members(RefusalCase):

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
                    limits=limits.Limits(max_ignored_size=1999))
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

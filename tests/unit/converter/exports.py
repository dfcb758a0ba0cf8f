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

"""XenServer exports, and a check of the disk that comes out of one."""

import dataclasses
import os
import random

from glance_xs_convert import exceptions

from testbed.images import archive
from testbed.images import model
from testbed.images import sparse
from testbed.images import xva
from tests.unit import cases

MIB = 1 << 20
WRAPPINGS = {
    'plain': lambda data: data,
    'gzip': lambda data: archive.gzipped([data]),
    'zstandard': lambda data: archive.zstandard([data]),
}


def two_disks():
    """The references sort the other way round than the devices."""
    return [xva.random_disk('first', 3 * MIB + 512, ref='Ref:9'),
            xva.random_disk('second', 5 * MIB, ref='Ref:10', name='data',
                            device='xvdb', userdevice='1', bootable=False)]


class ExportCase(cases.ConvertCase):
    """Converts exports, and judges what comes out."""

    def assert_comes_out(self, wanted, data, **options):
        """Check bytes, size and space of the raw disk."""
        result = self.convert(data, **options)
        self.assertIsNone(model.difference_from(self.target, wanted.content))
        self.assertEqual(wanted.size, result.virtual_size)
        self.assertLessEqual(
            self.target.stat().st_blocks * 512,
            model.content_allocation(wanted.content) + cases.SLACK)
        self.assertEqual([self.target.name], os.listdir(self.output))
        self.target.unlink()
        return result


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
    """Gives broken exports to the converter."""

    def refuse(self, data, error=exceptions.DamagedExport, member=None,
               **options):
        """Check that an export is refused, however it is wrapped."""
        for name, wrap in WRAPPINGS.items():
            with self.subTest(name):
                found = self.assert_refused(wrap(data), error, member,
                                            **options)
        return found

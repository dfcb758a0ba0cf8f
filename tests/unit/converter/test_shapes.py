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

"""Archives of all shapes: the right disk, or a refusal that names both sides.

Whatever road the bytes take, and in whatever order they come, the outcome is
the same.
"""

import gzip
import io
import itertools

import ddt

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import model
from testbed.images import ova
from testbed.images import shapes
from testbed.images import xva
from tests.unit import cases
from tests.unit.converter import exports
from tests.unit.converter import sources


def orders(members):
    """Return the members in all orders, or in a few if they are many."""
    if len(members) <= 3:
        return list(itertools.permutations(members))
    return [members, members[::-1], members[2:] + members[:2]]


@ddt.ddt
class Accepted(cases.ConvertCase):

    @ddt.data(*sorted(shapes.accepted()))
    def test_disk(self, name):
        shape = shapes.accepted()[name]
        for members in orders(shape.members):
            packed = archive.tgz(members)
            result = self.assert_converts(shape.layers, packed)
            self.target.unlink()
            self.assertEqual(shape.notes, len(result.notes), result.notes)
            self.assert_agrees(result, packed)
            self.assert_pipe_agrees(shape, packed)

    def assert_agrees(self, result, packed):
        """What check and inspect say is what the conversion says."""
        for found in (api.check(io.BytesIO(packed)),
                      api.inspect(io.BytesIO(packed))):
            self.assertEqual(
                (result.layers, result.notes, result.ignored),
                (found.layers, found.notes, found.ignored))

    def assert_pipe_agrees(self, shape, packed):
        """A pipe gives the same disk, or has to be given as a file."""
        try:
            api.convert(sources.OnceOnly(io.BytesIO(packed)),
                        str(self.target))
        except exceptions.UnreadableSource as error:
            self.assertIn('as a file', str(error))
        else:
            self.assertIsNone(model.difference(self.target, shape.layers))
            self.target.unlink()

    def test_order_that_is_known_in_time(self):
        """One pass is enough, even of a pipe."""
        known = shapes.accepted()
        for name in ('dates', 'UUIDs', 'logical volumes', 'no ending',
                     'AVHD', 'full and delta, not linked', 'fixed base',
                     'old names and swap', 'number and a difference',
                     'fixed base, not linked', 'one of any name'):
            for members in (known[name].members, known[name].members[::-1]):
                self.assert_converts(
                    known[name].layers,
                    sources.OnceOnly(io.BytesIO(archive.tgz(members))))
                self.target.unlink()


class TooLarge(cases.ConvertCase):
    """The size of the disk is bounded, whatever tells which layer has it."""

    def test_leaf_of_another_size_than_its_base(self):
        for names in (('b', 'a'), ('0.vhd', '1.vhd'), ('x.vhd', '1.vhd')):
            for leaf, base in ((2, 1), (1, 2)):
                chain = shapes.chain(2)
                for number, factor in ((0, leaf), (1, base)):
                    chain = shapes.changed(
                        chain, number, current_size=factor * shapes.SIZE)
                members = shapes.members(chain, names)
                for packed in (members, members[::-1]):
                    self.assert_bounded(chain, archive.tgz(packed))

    def assert_bounded(self, chain, packed):
        size = model.size(chain)
        self.assert_converts(chain, packed, limits=image_limits.Limits(
            max_disk_size=size))
        self.target.unlink()
        self.assert_refused(packed, exceptions.DiskTooLarge,
                            limits=image_limits.Limits(max_disk_size=size - 1))


@ddt.ddt
class Refused(cases.ConvertCase):

    @ddt.data(*sorted(shapes.refused()))
    def test_refusal(self, name):
        shape = shapes.refused()[name]
        for members in orders(shape.members):
            packed = archive.tgz(members)
            error = self.assert_refused(packed)
            self.assertEqual(shape.refusal, error.kind, error)
            for words in shape.words:
                self.assertIn(words, str(error))
            for road in (api.check, api.inspect):
                with self.assertRaises(type(error)) as caught:
                    road(io.BytesIO(packed))
                self.assertEqual(str(error), str(caught.exception))
            self.assert_refused(sources.OnceOnly(io.BytesIO(packed)))


class Ignored(cases.ConvertCase):

    def test_what_is_ignored_is_listed(self):
        shape = shapes.accepted()['other files']
        found = self.convert(archive.tgz(shape.members))
        self.assertEqual(
            [('notes.txt', 23), ('._0.vhd', 163), ('vmlinuz', 1800),
             ('empty', 0), ('sums.md5', 32),
             ('log.gz', len(gzip.compress(b'It went well.\n')))],
            [(item.name, item.size) for item in found.ignored])

    def test_swap(self):
        for name in ('old names and swap', 'numbers and swap'):
            found = self.convert(archive.tgz(shapes.accepted()[name].members))
            self.target.unlink()
            self.assertEqual(['swap.vhd'],
                             [item.name for item in found.ignored])

    def test_links_that_have_nothing_to_do_with_it(self):
        members = [*shapes.accepted()['UUIDs'].members, archive.Member(
            'README', type=b'2', linkname='notes')]
        found = self.convert(archive.tgz(members))
        self.assertEqual(['README'], [item.name for item in found.ignored])

    def test_disks_in_other_formats_are_refused(self):
        for magic, what in ((b'vhdxfile', 'VHDX'), (b'QFI\xfb', 'qcow2'),
                            (b'KDMV', 'VMDK')):
            error = self.assert_refused(archive.tgz([
                *shapes.accepted()['dates'].members,
                archive.Member('data', magic + bytes(4000))]),
                exceptions.ForeignDisk)
            self.assertIn('data: ', str(error))
            self.assertIn(what, str(error))

    def test_archives_of_disks_are_refused(self):
        """They may hold a newer layer."""
        inner = shapes.members(shapes.chain(1), ['0.vhd'])
        for data in (archive.tar(inner), archive.tgz(inner),
                     archive.tar([archive.directory('./'), *inner]),
                     archive.tgz([archive.Member('disk', inner[0].content)]),
                     xva.Export([xva.random_disk('a', 4096)]).tar(),
                     ova.Package([ova.Machine([
                         ova.Disk(shapes.chain(1)[0])])]).tar()):
            for others in (shapes.accepted()['dates'].members,
                           list(xva.Export([xva.random_disk(
                               'b', 4096)]).members())):
                error = self.assert_refused(archive.tar([
                    *others, archive.Member('newer', data)]),
                    exceptions.ForeignDisk)
                self.assertIn('newer: ', str(error))

    def test_archives_of_other_things_are_ignored(self):
        for data in (archive.tar([archive.Member('log', b'x')]),
                     archive.tgz([archive.Member('log', b'x')]),
                     archive.tar([archive.directory('./')])):
            found = self.convert(archive.tar([
                *shapes.accepted()['dates'].members,
                archive.Member('logs', data)]))
            self.target.unlink()
            self.assertEqual(['logs'], [item.name for item in found.ignored])

    def test_compressed_disks_in_other_formats_are_refused(self):
        error = self.assert_refused(archive.tgz([
            *shapes.accepted()['dates'].members,
            archive.Member('data.gz', gzip.compress(
                b'QFI\xfb' + bytes(4000)))]), exceptions.ForeignDisk)
        self.assertIn('qcow2', str(error))

    def test_parts_of_an_export_among_vhds(self):
        for name in ('ova.xml', 'Ref:1/00000000'):
            error = self.assert_refused(archive.tgz([
                *shapes.accepted()['dates'].members,
                archive.Member(name, b'<value></value>')]),
                exceptions.DamagedExport)
            self.assertIn(name, str(error))

    def test_a_vhd_in_an_export(self):
        export = exports.two_disks()
        members = [*xva.Export(export).members(),
                   shapes.accepted()['one of any name'].members[0]]
        error = self.assert_refused(archive.tgz(members),
                                    exceptions.DamagedExport,
                                    disk='0')
        self.assertIn('photo.jpg', str(error))

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


"""What a survey finds out, and how often it reads an archive for it."""

import dataclasses
import unittest

import ddt

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter import survey
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import vhd
from tests.unit.converter import shapes
from tests.unit.converter import sources

chain = shapes.chain
with_layer = shapes.with_layer


@ddt.ddt
class Survey(unittest.TestCase):

    def survey(self, members, seekable=True, most=30):
        self.file = sources.Counting(archive.tgz(members))
        if not seekable:
            self.file.seekable = lambda: False
        with intake.opened(
                self.file, conversion_progress.Progress()) as source:
            return survey.survey(source, image_limits.Limits(
                max_chain_length=most))

    def assert_complete(self, found, layers):
        """All structures are known, and say what the layers say."""
        self.assertEqual(
            [layer.current_size for layer in layers],
            [layer.current_size
             for layer in found.resolve(image_limits.DEFAULT).layers])
        for surveyed in found.vhds.values():
            self.assertIsNone(surveyed.damage)
            self.assertTrue(surveyed.structures.complete)

    def test_one_pass_is_enough_for_xenserver(self):
        layers = chain()
        found = self.survey(archive.chain_members(layers), seekable=False)
        self.assert_complete(found, layers)
        self.assertEqual(1, self.file.passes)

    @ddt.named_data(
        ('front_damaged', 2, {'front': vhd.DAMAGED}),
        ('table_before_header', 2, {
            'layout': ('bat', 'header', 'locators', 'blocks')}),
        ('table_before_header_front_damaged', 3, {
            'front': vhd.DAMAGED,
            'layout': ('bat', 'header', 'locators', 'blocks')}))
    def test_passes(self, passes, changes):
        layers = with_layer(chain(), 1, **changes)
        members = archive.chain_members(layers)
        self.assert_complete(self.survey(members), layers)
        self.assertEqual(passes, self.file.passes)
        with self.assertRaisesRegex(exceptions.UnreadableSource, 'as a file'):
            self.survey(members, seekable=False)

    def test_vhds_of_any_name_are_told_by_their_content(self):
        fixed = vhd.Layer(4096, [(0, b'd' * 512)], disk_type=vhd.FIXED)
        for layer in (chain(1)[0], fixed):
            found = self.survey([
                archive.Member('./notes', b'n' * 5000),
                archive.Member('./disk', layer.tobytes())])
            self.assert_complete(found, [layer])
            self.assertEqual(['./notes'],
                             [item.path for item in found.ignored])

    def test_what_the_next_pass_has_to_know(self):
        layers = chain()
        found = self.survey([
            archive.Member('./notes', b'n' * 5000),
            *archive.chain_members(layers, order=(2, 0, 1))])
        resolved = found.resolve(image_limits.DEFAULT)
        self.assertEqual({1: 2, 2: 0, 3: 1}, {
            index: vhd.rank for index, vhd in resolved.found.items()})
        self.assertEqual(found.vhds[3].structures,
                         resolved.found[3].structures)

    def test_a_damaged_disk_for_swapping_does_not_matter(self):
        layers = chain()
        swap = archive.Member('./swap.vhd', b'conectix' * 100)
        found = self.survey([swap, *archive.chain_members(layers)])
        self.assertEqual(3, len(found.resolve(image_limits.DEFAULT).layers))
        found = self.survey([swap, *archive.chain_members(
            layers, ['a', 'b', 'c'])])
        with self.assertRaisesRegex(exceptions.DamagedVhd, 'swap.vhd'):
            found.resolve(image_limits.DEFAULT)

    def test_more_vhds_than_a_chain_may_have(self):
        with self.assertRaisesRegex(exceptions.LimitExceeded, '5 layers'):
            self.survey(archive.chain_members(chain(7)), most=5)

    def test_damage_is_kept_until_the_chain_is_wanted(self):
        layers = with_layer(chain(), 1, header_fields={'checksum': 1})
        found = self.survey(archive.chain_members(layers))
        self.assertEqual(3, len(found.vhds))
        with self.assertRaisesRegex(exceptions.DamagedVhd, r'1\.vhd'):
            found.resolve(image_limits.DEFAULT)

    def test_chains_are_judged_whole(self):
        members = archive.chain_members(chain())
        for missing, error in ((0, exceptions.MissingLayer),
                               (1, exceptions.MissingLayer),
                               (2, exceptions.MissingBase)):
            found = self.survey([member for number, member
                                 in enumerate(members) if number != missing])
            with self.assertRaises(error):
                found.resolve(image_limits.DEFAULT)

    def test_no_vhd(self):
        found = self.survey([archive.Member('./notes', b'n')])
        with self.assertRaises(exceptions.NoVhd):
            found.resolve(image_limits.DEFAULT)

    def test_descriptions(self):
        layer = dataclasses.replace(chain(1)[0], hidden=1)
        found = self.survey(archive.chain_members([layer]))
        described, = found.resolve(image_limits.DEFAULT).layers
        self.assertEqual(len(layer.tobytes()), described.file_size)
        self.assertEqual(str(layer.unique_id), described.unique_id)
        self.assertEqual('dynamic', described.disk_type)
        self.assertTrue(described.is_hidden)
        self.assertEqual('tap 1.3', described.creator)
        self.assertIsNone(described.parent_unique_id)

    def test_only_a_differencing_disk_has_a_parent(self):
        leaf, base = self.survey(archive.chain_members(chain(2))).resolve(
            image_limits.DEFAULT).layers
        self.assertEqual(base.unique_id, leaf.parent_unique_id)
        self.assertIsNone(base.parent_unique_id)
        self.assertEqual(('differencing', 'dynamic'),
                         (leaf.disk_type, base.disk_type))

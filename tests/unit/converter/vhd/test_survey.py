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
import io
import unittest

import ddt

from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.vhd import chain as chain_of
from glance_xs_convert.converter.vhd import survey
from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert import progress

from testbed.images import archive
from testbed.images import vhd
from tests.unit.converter import shapes

chain = shapes.chain
with_layer = shapes.with_layer


class Counting(io.BytesIO):
    """A file that counts how often it is read from its start.

    :ivar passes: how often it was
    """

    passes = 0

    def readinto(self, buffer):
        self.passes += self.tell() == 0
        return super().readinto(buffer)


@ddt.ddt
class Survey(unittest.TestCase):

    def survey(self, members, seekable=True):
        self.file = Counting(archive.tgz(members))
        if not seekable:
            self.file.seekable = lambda: False
        with intake.opened(self.file, progress.Progress()) as source:
            return survey.survey(source, limits.DEFAULT)

    def assert_complete(self, found, layers):
        """All structures are known, and say what the layers say."""
        self.assertEqual(
            [layer.current_size for layer in layers],
            [vhd.current_size for vhd in found.layers(limits.DEFAULT)])
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
            self.assertEqual(['./notes'], found.ignored)

    def test_numbers_go_before_other_names(self):
        layers = chain(1)
        found = self.survey([
            archive.Member('./other.vhd', chain(1, seed='other')[0]
                           .tobytes()), *archive.chain_members(layers)])
        self.assert_complete(found, layers)
        self.assertEqual(['./other.vhd'], found.ignored)
        self.assertEqual(
            {chain_of.Naming.NUMBERED},
            {surveyed.place.naming for surveyed in found.vhds.values()})

    def test_damage_is_kept_until_the_chain_is_wanted(self):
        layers = with_layer(chain(), 1, header_fields={'checksum': 1})
        found = self.survey(archive.chain_members(layers))
        self.assertEqual(3, len(found.vhds))
        with self.assertRaisesRegex(exceptions.DamagedVhd, r'1\.vhd'):
            found.layers(limits.DEFAULT)

    def test_chains_are_judged_whole(self):
        members = archive.chain_members(chain())
        for missing, error in ((0, exceptions.MissingLayer),
                               (1, exceptions.MissingLayer),
                               (2, exceptions.MissingBase)):
            found = self.survey([member for number, member
                                 in enumerate(members) if number != missing])
            with self.assertRaises(error):
                found.layers(limits.DEFAULT)

    def test_no_vhd(self):
        found = self.survey([archive.Member('./notes', b'n')])
        with self.assertRaises(exceptions.NoVhd):
            found.layers(limits.DEFAULT)

    def test_descriptions(self):
        layer = dataclasses.replace(chain(1)[0], hidden=1)
        found = self.survey(archive.chain_members([layer]))
        described, = found.layers(limits.DEFAULT)
        self.assertEqual(len(layer.tobytes()), described.file_size)
        self.assertEqual(layer.unique_id, described.unique_id)
        self.assertEqual('dynamic', described.disk_type)
        self.assertEqual(1, described.footer.hidden)
        self.assertIsNone(described.parent_unique_id)

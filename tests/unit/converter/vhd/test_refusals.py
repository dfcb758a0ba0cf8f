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


"""VHDs that are refused for what is in them."""


import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit import cases
from tests.unit.converter import shapes

KIB = vhd.KIB
MIB = vhd.MIB
GIB = vhd.GIB
pattern = chains.pattern
NOT_SOUND = (exceptions.DamagedVhd, exceptions.LimitExceeded)
chain = shapes.chain
with_layer = shapes.with_layer


def packed(layers, names=None, order=None):
    """The chain in a .tgz."""
    return archive.tgz(archive.chain_members(layers, names, order))


@ddt.ddt
class Vhds(cases.ConvertCase):
    """VHDs that contradict themselves or the specification."""

    def refuse(self, error=exceptions.DamagedVhd, **changes):
        """Make each layer of a chain unsound in turn, and a single VHD."""
        for number in range(3):
            layers = with_layer(chain(), number, **changes)
            for order in ((0, 1, 2), (2, 1, 0)):
                with self.subTest(number=number, order=order):
                    self.assert_refused(packed(layers, order=order), error,
                                        f'{number}.vhd')
        self.assert_refused(packed(with_layer(chain(1), 0, **changes)),
                            error, '0.vhd')

    @ddt.named_data(
        ('plain', {}),
        ('bat_behind', {'layout': ('header', 'blocks', 'bat', 'locators')}),
        ('no_front', {'front': vhd.ZEROED}),
        ('no_tail', {'tail': vhd.ABSENT}),
    )
    def test_encrypted(self, changes):
        self.refuse(exceptions.EncryptedVhd, batmap=True, encrypted=True,
                    **changes)

    @ddt.named_data(
        ('sums', {'front': vhd.DAMAGED, 'tail': vhd.DAMAGED}),
        ('front_zeroed', {'front': vhd.ZEROED, 'tail': vhd.DAMAGED}),
        ('front_only', {'front': vhd.DAMAGED, 'tail': vhd.ABSENT}),
        ('both_zeroed', {'front': vhd.ZEROED, 'tail': vhd.ZEROED}),
        ('cookie', {'footer_fields': {'cookie': b'conektix'}}),
        ('sum_0', {'footer_fields': {'checksum': 0}}),
        ('hidden_unsummed_by_another_writer', {
            'hidden': 1, 'hidden_unsummed': True,
            'creator_version': 0x00010003}),
        ('type_0', {'footer_fields': {'disk_type': 0}}),
        ('type_1', {'footer_fields': {'disk_type': 1}}),
        ('type_6', {'footer_fields': {'disk_type': 6}}),
        ('type_max', {'footer_fields': {'disk_type': 0xFFFFFFFF}}),
    )
    def test_footer(self, changes):
        self.refuse(**changes)

    @ddt.named_data(
        ('sum', {'checksum': 1}),
        ('cookie', {'cookie': b'cxspace\0'}),
        ('block_size_0', {'block_size': 0}),
        ('block_size_1', {'block_size': 1}),
        ('block_size_3', {'block_size': 3}),
        ('block_size_256', {'block_size': 256}),
        ('block_size_768', {'block_size': 768}),
        ('block_size_3_mib', {'block_size': 3 * MIB}),
        ('block_size_2_gib', {'block_size': 2 * GIB}),
        ('block_size_max', {'block_size': 0xFFFFFFFF}),
        ('no_entries', {'max_table_entries': 0}),
        ('too_few_entries', {'max_table_entries': 1}),
        ('entries_max', {'max_table_entries': 0xFFFFFFFF}),
        ('entries_of_1_gib', {'max_table_entries': 1 << 28}),
        ('table_on_the_front_copy', {'table_offset': 0}),
        ('table_in_the_header', {'table_offset': 1024}),
        ('table_past_the_end', {'table_offset': 1 << 40}),
        ('table_at_2_63', {'table_offset': 1 << 63}),
        ('table_at_the_last_byte', {'table_offset': (1 << 64) - 1}),
    )
    def test_header(self, fields):
        self.refuse(NOT_SOUND, header_fields=fields)

    @ddt.data(0, 64, 1 << 40, 1 << 63, (1 << 64) - 513, (1 << 64) - 1)
    def test_data_offset(self, offset):
        self.refuse(footer_fields={'data_offset': offset})

    @ddt.data(0, 1 << 63, (1 << 64) - 1, 2040 * GIB + 512, 1 << 50)
    def test_current_size(self, size):
        self.refuse(NOT_SOUND, footer_fields={'current_size': size})

    def test_current_size_that_the_table_does_not_cover(self):
        self.refuse(NOT_SOUND, footer_fields={'current_size': 1 * GIB})

    def bat(self, entries, **changes):
        """Refuse a single VHD and a base with entries of their BAT set."""
        layer = vhd.Layer(
            64 * KIB, [(0, pattern(0, 8)), (16, pattern(1, 8)),
                       (127, pattern(2))],
            block_size=4096, bat_entries=entries, **changes)
        self.assert_refused(packed([layer]), exceptions.DamagedVhd, '0.vhd')
        layers = chains.linked([vhd.Layer(64 * KIB), layer])
        for order in ((0, 1), (1, 0)):
            self.assert_refused(packed(layers, order=order),
                                exceptions.DamagedVhd, '1.vhd')

    # Layout of ``bat``'s VHD in sectors: front copy 0, header 1, BAT 3,
    # blocks 4, 13 and 22 (each a bitmap and 8 of data), tail 31.

    @ddt.data(31, 32, 100_000, 0xFFFFFFFE, 0x80000000)
    def test_block_outside_the_file(self, entry):
        self.bat({2: entry})

    @ddt.data(25, 30)
    def test_block_that_ends_outside_the_file(self, entry):
        self.bat({15: entry})

    @ddt.data(4, 5, 12, 13, 21)
    def test_block_on_another(self, entry):
        self.bat({7: entry})

    @ddt.data(0, 1, 2, 3)
    def test_block_on_the_structures(self, entry):
        self.bat({7: entry})

    @ddt.data(31, 35, 30)
    def test_block_on_a_bat_behind_the_blocks(self, entry):
        # blocks 3, 12 and 21; BAT 30; eight sectors; tail 39.
        self.bat({7: entry - 1},
                 layout=('header', 'locators', 'blocks', 'bat'),
                 padding={'tail': 8})

    def test_all_blocks_in_one_place(self):
        self.bat(dict.fromkeys(range(16), 4))

    @ddt.data(0, 1, 511, 512, 600, 1536, 2048, 5000)
    def test_member_cut_at(self, length):
        whole = vhd.Layer(64 * KIB, [(0, pattern(0, 128))],
                          block_size=4096).tobytes()
        self.assert_refused(
            archive.tgz([archive.Member('0.vhd', whole[:length])]),
            exceptions.XsConvertError, '0.vhd')

    @ddt.data(1, 512, 4096, 9000)
    def test_member_cut_in_the_last_block(self, missing):
        layers = chains.linked([
            vhd.Layer(64 * KIB, [(0, pattern(number, 128))], block_size=4096)
            for number in range(3)])
        for number in range(3):
            members = archive.chain_members(layers)
            whole = layers[number].tobytes()
            members[number] = archive.Member(
                f'./{number}.vhd', whole[:-512 - missing])
            self.assert_refused(archive.tgz(members),
                                exceptions.DamagedVhd, f'{number}.vhd')

    def test_member_that_is_shorter_than_the_fixed_disk(self):
        self.assert_refused(packed([vhd.Layer(
            MIB, disk_type=vhd.FIXED,
            footer_fields={'current_size': 2 * MIB})]),
            NOT_SOUND, '0.vhd')

    @ddt.data(vhd.DAMAGED, vhd.ZEROED, vhd.ABSENT)
    def test_fixed_disk_without_a_footer(self, tail):
        self.assert_refused(packed([vhd.Layer(
            MIB, [(0, pattern(0))], disk_type=vhd.FIXED, tail=tail)]),
            exceptions.DamagedVhd, '0.vhd')

    @ddt.data(b'', b'just text\n' * 100, bytes(64 * KIB),
              b'vhdxfile' + bytes(64 * KIB), b'QFI\xfb' + bytes(64 * KIB),
              b'conectix' * 200)
    def test_member_that_is_no_vhd(self, content):
        self.assert_refused(
            archive.tgz([archive.Member('./0.vhd', content)]),
            exceptions.XsConvertError, '0.vhd')
        layers = chain()
        members = archive.chain_members(layers)
        members[1] = archive.Member('./1.vhd', content)
        self.assert_refused(archive.tgz(members),
                            exceptions.DamagedVhd, '1.vhd')

    def test_disk_larger_than_the_limit(self):
        self.assert_refused(
            packed(chain(2, MIB)), exceptions.LimitExceeded, '.vhd',
            limits=image_limits.Limits(max_virtual_size=MIB - 1))

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

"""What a converter says is checked; the fuzzer plays converters."""

import copy
import dataclasses
import logging
import random
import typing
import unittest
from unittest import mock

from glance_xs_convert import conversion_progress
from glance_xs_convert import results
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import replies

from tests.fuzz import messages

SIZE = 1000

VHD = {'name': './0.vhd', 'disk_type': 'differencing', 'current_size': 4096,
       'allocated_size': 4096, 'file_size': 99, 'creator': 'tap 1.3',
       'unique_id': '0a1b2c3d-0000-4000-8000-0123456789ab',
       'parent_unique_id': '0a1b2c3d-0000-4000-8000-0123456789ac',
       'is_hidden': False}
GUEST = {'name': 'web-1', 'product': 'XenServer', 'version': '8.2.1',
         'memory': 2 ** 31, 'cpus': 2, 'firmware': 'uefi',
         'boot_mode': 'HVM', 'bootloader': None}
DISK = {'ref': 'Ref:9', 'name': 'system', 'size': 4096, 'device': 'xvda',
        'position': '0', 'bootable': True, 'machine': ''}
SECTORS = {'partition_table': 'MBR', 'has_efi_system_partition': False,
           'has_boot_code': True}
MEMBERS = {'notes': ['one order'],
           'ignored': [{'name': 'notes.txt', 'size': 23}]}
CONVERTED = {'virtual_size': 4096, 'layers': [VHD], 'allocated': 512,
             'source_size': SIZE,
             'source_sha256': '0' * 64, 'guest': GUEST, 'disk': DISK,
             **MEMBERS}
CHECKED = {'virtual_size': 4096, 'layers': [VHD, VHD], 'source_size': SIZE,
           'allocated': 512, 'room': 0, 'first_sectors': SECTORS,
           'disk_map': None, 'disk': None, 'guest': None, **MEMBERS}
INSPECTED = {'disks': [{'virtual_size': 4096, 'stored': 7,
                        'first_sectors': SECTORS, 'disk': DISK}],
             'layers': [], 'guest': GUEST, 'other_guests': [GUEST], **MEMBERS}
ALL = {'disks': [{'target': 0, 'virtual_size': 4096, 'allocated': 0,
                  'disk': DISK}], 'source_size': SIZE, 'guests': [GUEST],
       **MEMBERS}

WRONG_SIZES = (-1, 2 ** 63, True, '1', None, [], {})
WRONG_NAMES = (None, 1, [], 'a\nb', '\x1b[2J', '\u202e', '\U0001f600',
               '\ud800', 'x' * 3000)
#: For a path to a field, what it must not be.
WRONG = {
    (results.ConversionResult, 'virtual_size'): WRONG_SIZES,
    (results.ConversionResult, 'allocated'): WRONG_SIZES,
    (results.ConversionResult, 'source_sha256'): (
        None, 'G' * 64, '0' * 63, '0' * 64 + '\n', 0),
    (results.ConversionResult, 'layers'): (
        None, {}, '', [None], [[]], [{}], [{**VHD, 'more': 1}], [VHD] * 1001),
    (results.ConversionResult, 'guest'): (
        [], 'guest', 1, {}, {'name': 'web-1'}, {**GUEST, 'more': 1}),
    (results.ConversionResult, 'guest', 'name'): WRONG_NAMES,
    (results.ConversionResult, 'guest', 'cpus'): WRONG_SIZES[:-3],
    (results.ConversionResult, 'guest', 'firmware'): (
        'xen', '', ['uefi'], 1, {}),
    (results.ConversionResult, 'guest', 'boot_mode'): (None, 'PVH', 0),
    (results.ConversionResult, 'disk', 'bootable'): (None, 1, 'true'),
    (results.ConversionResult, 'disk', 'device'): WRONG_NAMES,
    (results.ConversionResult, 'layers', 0, 'disk_type'): (
        None, 'sparse', 3),
    (results.ConversionResult, 'layers', 0, 'unique_id'): (
        None, '', '0a1b2c3d', '0A1B2C3D-0000-4000-8000-0123456789AB',
        VHD['unique_id'] + '\n'),
    (results.ConversionResult, 'layers', 0, 'file_size'): WRONG_SIZES,
    (results.CheckResult, 'room'): WRONG_SIZES,
    (results.CheckResult, 'disk_map'): (
        {}, b'', '', {'size': 1, 'layers': 1, 'packed': ''}),
    (results.CheckResult, 'first_sectors'): (None, {}, 'MBR'),
    (results.CheckResult, 'first_sectors', 'partition_table'): (
        'APM', 1, ['MBR']),
    (results.CheckResult, 'first_sectors', 'has_boot_code'): (None, 0, 1),
    (results.Inspection, 'notes'): (None, {}, '', [None], ['a\nb'],
                                    ['x'] * 3001),
    (results.Inspection, 'ignored'): (
        None, {}, [None], [{}], [{'name': 'a'}], MEMBERS['ignored'] * 10001),
    (results.Inspection, 'ignored', 0, 'size'): WRONG_SIZES,
    (results.Inspection, 'ignored', 0, 'name'): WRONG_NAMES,
    (results.ConversionResult, 'notes'): (None, {}, [1], ['\n'], 'note'),
    (results.Inspection, 'other_guests'): (None, GUEST, [None], [{}]),
    (results.AllDisks, 'disks'): (None, {}, ALL['disks'] * 256, [DISK]),
    (results.AllDisks, 'disks', 0, 'target'): WRONG_SIZES,
    (results.AllDisks, 'disks', 0, 'disk', 'machine'): WRONG_NAMES,
    (results.Inspection, 'disks'): (None, {}, INSPECTED['disks'] * 256),
    (results.Inspection, 'disks', 0, 'stored'): WRONG_SIZES,
    (results.Inspection, 'disks', 0, 'disk', 'name'): WRONG_NAMES,
}
SOUND = {results.ConversionResult: CONVERTED, results.CheckResult: CHECKED,
         results.Inspection: INSPECTED, results.AllDisks: ALL}


def changed(fields, path, value):
    """A copy of some fields in which one is another."""
    if not path:
        return value
    copied = copy.copy(fields)
    copied[path[0]] = changed(fields[path[0]], path[1:], value)
    return copied


class Replies(unittest.TestCase):

    def assert_invalid(self, line):
        with self.assertRaises(replies.Invalid):
            replies.parse(line)

    def test_lines(self):
        self.assertEqual(('progress', {}), replies.parse(b'{"progress": {}}'))
        for line in (b'', b'{}', b'[]', b'1', b'{"a": 1}', b'{"a": []}',
                     b'{"a": {}, "b": {}}', b'{"a": {}, "a": {}}',
                     b'{"a": {"b": NaN}}', b'{"a": {"b": 1.0}}', b'\xc3\xa4',
                     b'{"a": {"b": Infinity}}', b'[' * 16_000,
                     b'{"a":' * 3000, b'9' * 10_000):
            self.assert_invalid(line)

    def test_length(self):
        line = b'{"a": {"b": "%s"}}'
        room = protocol.MAX_LINE - len(line) + 2
        replies.parse(line % (room * b'x'))
        self.assert_invalid(line % ((room + 1) * b'x'))

    def test_only_a_result_may_be_long(self):
        line = b'{"result": {"b": "%s"}}'
        room = protocol.MAX_RESULT - len(line) + 2
        replies.parse(line % (room * b'x'))
        self.assert_invalid(line % ((room + 1) * b'x'))

    def test_sound(self):
        for kind, fields in SOUND.items():
            found = replies.build(kind, fields)
            self.assertIsInstance(found, kind)
            self.assertEqual(fields, dataclasses.asdict(found))

    def test_unsound(self):
        for (kind, *path), values in WRONG.items():
            for value in values:
                with (self.subTest(kind=kind.__name__, path=path,
                                   value=str(value)[:40]),
                      self.assertRaises(replies.Invalid)):
                    replies.build(kind, changed(SOUND[kind], path, value))

    def test_missing_and_unknown_fields(self):
        for kind, fields in SOUND.items():
            for name in fields:
                rest = {**fields}
                del rest[name]
                for wrong in (rest, {**fields, 'more': 1}, None, [], 'x'):
                    with self.assertRaises(replies.Invalid):
                        replies.build(kind, wrong)

    def test_every_field_has_bounds(self):
        """Without them, nothing at all would be valid."""
        def bare(hint):
            if dataclasses.is_dataclass(hint):
                return any(map(bare, typing.get_type_hints(
                    hint, include_extras=True).values()))
            if typing.get_origin(hint) is typing.Annotated:
                return any(map(bare, typing.get_args(
                    typing.get_args(hint)[0])))
            return hint in (int, str, float, bytes, list, dict) or (any(
                map(bare, typing.get_args(hint))) and (
                    typing.get_origin(hint) is not typing.Literal))

        for kind in (results.ConversionResult, results.Inspection,
                     results.AllDisks, conversion_progress.Progress,
                     protocol.Confinement, protocol.Findings,
                     protocol.Refusal):
            self.assertFalse(bare(kind), kind)

    def test_texts_are_fit_to_be_shown(self):
        fields = {'kind': 'NoVhd', 'member': None, 'offset': None}
        for reason in ('\x1b[2J', 'two\nlines', '\u202e', '\U0001f600',
                       '\ud800', 20_000 * 'x', None, 1):
            with self.assertRaises(replies.Invalid):
                replies.error({**fields, 'reason': reason})

    def test_whatever_a_sound_child_says_is_valid(self):
        name = 'schl\u00fcssel\n\ud800\U0001f600' * 100
        line = protocol.encode_error(replies.exceptions.DamagedVhd(
            name * 100, member=name, offset=7))
        self.assertLessEqual(len(line), protocol.MAX_LINE)
        _, fields = replies.parse(line)
        self.assertEqual(7, replies.error(fields).offset)

    def test_fuzzed(self):
        """Neither result nor error breaks a rule of the fuzzer."""
        rng = random.Random(1)
        pool = list(messages.sown())
        self.addCleanup(logging.disable, logging.NOTSET)
        with mock.patch.object(messages, '_check', autospec=True,
                               side_effect=messages._check) as accepted:
            for seed in range(3000):
                data = messages.mutate(rng.choice(pool), 40_000, seed)
                messages.test_one_input(data)
        self.assertLess(100, accepted.call_count)

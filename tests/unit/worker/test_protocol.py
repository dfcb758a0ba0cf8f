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

"""The lines between a converter and its parent."""

import dataclasses
import json
import unittest

from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert.worker import protocol

from tests.unit import cases

EVIL = '\n{"result": {}}\n\x1b[2J\u202e'


class Lines(unittest.TestCase):

    def read(self, line):
        """Read a line as any reader of JSON does.

        :returns: the kind of its message, and the fields
        """
        self.assertEqual(1, line.count(b'\n'))
        self.assertTrue(line.endswith(b'\n'))
        (kind, fields), = json.loads(line).items()
        return kind, fields

    def test_job(self):
        for job in (
                protocol.Job(
                    protocol.PROBE,
                    protocol.Request(image_limits.DEFAULT)),
                protocol.Job(
                    protocol.CONVERT_ALL, protocol.Request(
                        image_limits.Limits(1, 2, 3, 4, 'x', 5, 'y'), EVIL,
                        True, 6, 7, 8, protocol.OFF), 9, (10, 11))):
            line = protocol.encode_job(job)
            self.assertEqual(1, line.count(b'\n'))
            self.assertEqual(job, protocol.decode_job(line))

    def test_progress(self):
        kind, fields = self.read(protocol.encode_progress(
            conversion_progress.Progress(source_read=7, layer=EVIL)))
        self.assertEqual(('progress', 7), (kind, fields['source_read']))
        self.assertTrue(fields['layer'].isprintable())
        kind, fields = self.read(protocol.encode_progress(
            conversion_progress.Progress()))
        self.assertIsNone(fields['layer'])

    def test_error(self):
        kind, fields = self.read(protocol.encode_error(
            exceptions.DamagedVhd(EVIL + 'x' * 9000, member=EVIL,
                                  offset=512)))
        self.assertEqual(('error', 'DamagedVhd', 512),
                         (kind, fields['kind'], fields['offset']))
        self.assertTrue(fields['reason'].isprintable())
        self.assertTrue(fields['member'].isprintable())
        self.assertLess(len(fields['reason']), 9000)
        _, fields = self.read(protocol.encode_error(
            exceptions.NotAnArchive('it is none')))
        self.assertEqual((None, None), (fields['member'], fields['offset']))

    def test_result(self):
        kind, fields = self.read(protocol.encode_result(cases.converted()))
        self.assertEqual('result', kind)
        self.assertEqual(['./0.vhd', './1.vhd', './2.vhd'],
                         [layer['name'] for layer in fields['layers']])

    def test_result_that_is_too_long(self):
        """Its reader would take it for a flood."""
        names = [cases.layer(name='x' * 1000)] * 1500
        with self.assertRaises(exceptions.LimitExceeded):
            protocol.encode_result(cases.converted(layers=names))

    def test_map_goes_another_way(self):
        found = cases.converted()
        checked = results.CheckResult(**{
            field.name: getattr(found, field.name, None)
            for field in dataclasses.fields(results.CheckResult)})
        line = protocol.encode_result(dataclasses.replace(
            checked, disk_map=['x' * (2 << 20)]))
        self.assertIsNone(self.read(line)[1]['disk_map'])

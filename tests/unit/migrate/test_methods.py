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

"""The method is chosen among those that are enabled."""

import types
import unittest

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods

DOWNLOAD = methods.Download('R', 'public')
DIRECT = methods.Direct()
BOTH = ['glance-direct', 'glance-download']


def choose(wanted, enabled, region='R'):
    return methods.choose(types.SimpleNamespace(
        imports=types.SimpleNamespace(methods=lambda: enabled),
        region=lambda: region, interface='public'), wanted)


class TestChoice(unittest.TestCase):
    """The hosts' own download is preferred."""

    def test_choice(self):
        for method, wanted, enabled, region in (
                (DOWNLOAD, 'auto', BOTH, 'R'), (DIRECT, 'auto', BOTH, None),
                (DIRECT, 'auto', BOTH[:1], 'R'),
                (DIRECT, 'glance-direct', BOTH, 'R')):
            self.assertEqual(method, choose(wanted, enabled, region).current)

    def test_no_choice(self):
        for wanted, enabled, region, reason in (
                ('auto', ['web-download'], 'R', 'web-download'),
                ('glance-download', ['glance-direct'], 'R', 'glance-direct'),
                ('glance-download', ['glance-download'], None, 'region')):
            with self.assertRaisesRegex(errors.CannotMigrate, reason):
                choose(wanted, enabled, region)

    def test_requests(self):
        source = types.SimpleNamespace(image_id='i')
        self.assertEqual({
            'name': 'glance-download', 'glance_region': 'R',
            'glance_image_id': 'i', 'glance_service_interface': 'public',
        }, DOWNLOAD.request(source))
        self.assertEqual({'name': 'glance-direct'}, DIRECT.request(source))


class TestMethods(unittest.TestCase):
    """A method that does not work is replaced once."""

    def setUp(self):
        super().setUp()
        self.methods = methods.Methods(DOWNLOAD, DIRECT)
        self.said = []
        self.methods.say = self.said.append

    def test_failure_without_a_reason(self):
        self.assertEqual(DIRECT, self.methods.after_failure(DOWNLOAD, None))
        self.assertEqual(DIRECT, self.methods.after_failure(DIRECT, None))
        self.assertEqual(DOWNLOAD, self.methods.current)
        self.methods.report_success(DIRECT)
        self.assertEqual(DIRECT, self.methods.current)
        self.methods.report_success(DIRECT)
        self.methods.report_success(DOWNLOAD)
        self.assertEqual(DIRECT, self.methods.current)
        self.assertEqual(1, len(self.said))
        self.assertIn('allowed_ports', self.said[0])

    def test_failure_with_a_reason(self):
        self.assertEqual(DOWNLOAD,
                         self.methods.after_failure(DOWNLOAD, 'OutOfSpace'))

    def test_method_that_works(self):
        self.methods.report_success(DOWNLOAD)
        self.assertEqual(DOWNLOAD, self.methods.after_failure(DOWNLOAD, None))
        self.assertEqual([], self.said)

    def test_only_auto_changes_the_method(self):
        for wanted, after in (('auto', DIRECT), ('glance-download',
                                                 DOWNLOAD)):
            self.assertEqual(after, choose(wanted, BOTH).after_failure(
                DOWNLOAD, None))

    def test_advice(self):
        self.assertEqual('', methods.advice(DOWNLOAD, 'NoVhd'))
        self.assertIn('allowed_ports', methods.advice(DOWNLOAD, None))
        self.assertIn('another ID', methods.advice(DIRECT, None))

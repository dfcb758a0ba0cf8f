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

"""The rows of the report, and who does the checks.

What the checks say is tested with each of them.
"""

import os
import types
from unittest import mock

from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import report

from tests.unit import cases


class Report(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.staging = self.scratch / 'staging'
        self.staging.mkdir()
        self.path = self.scratch / 'glance-api.conf'
        self.path.write_text(
            f'[DEFAULT]\nnode_staging_uri = file://{self.staging}\n')
        self.users = []

    def read(self):
        return configuration.Deployment([str(self.path)], [], {})

    def make(self, euid=0, owner=None, read=None):
        """Make the report as if a user did, and note as whom it is checked.

        :param owner: the user that the staging area belongs to
        """
        def run(user, call):
            self.users.append(user)
            return call()

        stat = os.stat

        def status(path, *arguments, **options):
            if path == str(self.staging) and owner is not None:
                return types.SimpleNamespace(st_uid=owner)
            return stat(path, *arguments, **options)

        with (mock.patch.object(report.os, 'geteuid', autospec=True,
                                return_value=euid),
              mock.patch.object(report.os, 'stat', status),
              mock.patch.object(report.users, 'run', run)):
            return report.make(read or self.read, before_removal=True)

    def test_rows(self):
        (name, code, details), *others = self.make(1000)
        self.assertEqual(('Configuration', 0), (name, code))
        self.assertIn(str(self.path), details)
        self.assertLess(2, len(others))
        self.assertEqual({str}, {type(details) for *_, details in others})
        self.assertEqual({int}, {type(code) for _, code, _ in others})

    def test_bad_configuration(self):
        """Nothing else can be said then."""
        self.path.write_text('[DEFAULT\n')
        [(name, code, details)] = self.make()
        self.assertEqual(('Configuration', 2), (name, code))
        self.assertNotIn('\n', details)

    def test_user(self):
        for euid, owner, wanted in (
                (0, 4711, [4711]), (0, 0, []), (1000, 4711, [])):
            self.users.clear()
            self.make(euid, owner)
            self.assertEqual(wanted, self.users)

    def test_user_that_is_not_known(self):
        """The checks say what is wrong with the staging area."""
        self.staging.rmdir()
        self.make()
        self.path.write_text('[DEFAULT]\nnode_staging_uri = http://x/\n')
        self.make()
        self.assertEqual([], self.users)

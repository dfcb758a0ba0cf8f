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

"""What the tests of the commands for migrations have in common."""

import json
from unittest import mock

from glance_xs_convert.cli.migrate import command
from glance_xs_convert.migrate import names
from tests.unit.cli import base
from tests.unit.migrate import glance

uid = glance.uid
BROKEN = 'The XenServer image cannot be converted: it is broken. [NoVhd]'
#: What a user can call an image.
EVIL = '=cmd|\x1b[2J\u202e\n'


class MigrateCase(base.CommandCase):
    """Calls the command on a Glance in memory."""

    def setUp(self):
        super().setUp()
        self.cloud = glance.Glance()
        patched = mock.patch.object(
            command.CloudCommand, 'connect',
            lambda command, parsed_args: self.cloud)
        patched.start()
        self.addCleanup(patched.stop)

    def migrate(self, *arguments, status=0):
        ended = self.run_here('migrate', *arguments, '-f', 'json')
        self.assertEqual(status, ended.status, ended.stderr)
        return json.loads(ended.stdout), ended.stderr

    def outputs(self, *arguments):
        """What a command outputs in each format."""
        for form in ('table', 'csv', 'value', 'json', 'yaml'):
            yield form, self.run_here('migrate', *arguments, '-f', form)

    def add_failed(self, reason):
        """Put an image there whose import failed for a reason."""
        old_id = self.cloud.add('failed', name=EVIL)
        self.cloud.add(image_id=names.new_id(old_id, 0), os_hidden=True,
                       **{names.MIGRATING: old_id, names.FAILED: reason})
        return old_id

    def assert_safe(self, ended):
        """Nothing of it moves a cursor or turns a text around."""
        for text in (ended.stdout, ended.stderr):
            wrong = [c for c in text if not c.isprintable() and c != '\n']
            self.assertEqual([], wrong)

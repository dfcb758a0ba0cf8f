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

"""What the commands have in common."""

import argparse
import os
import sys
import tempfile
import unittest
from unittest import mock

from openstack import config
from openstack import exceptions

from glance_xs_convert.cli.migrate import command
from tests.unit.cli import base


class TestConnection(base.CommandCase):
    """Who cannot be reached, and by what."""

    def run_without_openstacksdk(self, *arguments):
        return self.run_apart(*arguments, command=(
            sys.executable, '-c',
            'import sys; sys.modules["openstack"] = None; '
            'from glance_xs_convert.cli import main; '
            'sys.exit(main.main())'))

    def test_without_openstacksdk(self):
        self.assert_fails(self.run_without_openstacksdk('migrate', 'list'),
                          'where this command is, with "pip install '
                          'openstacksdk"')

    def test_help_without_openstacksdk(self):
        ended = self.run_without_openstacksdk('migrate', 'run', '--help')
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertIn('--mapping', ended.stdout)

    def test_unknown_cloud(self):
        ended = self.run_here('migrate', 'list', '--os-cloud', 'nowhere')
        self.assertEqual(1, ended.status)
        self.assertIn('nowhere', ended.stderr)

    def test_no_cloud_is_chosen(self):
        with tempfile.TemporaryDirectory() as scratch:
            nothing = {'HOME': scratch, 'XDG_CONFIG_HOME': scratch}
            for arguments in (['migrate', 'list'], ['migrate', 'run'],
                              ['migrate', 'report'], ['migrate', 'undo'],
                              ['upload', 'http://example.com/x.xva']):
                with mock.patch.dict(os.environ, nothing):
                    for name in [name for name in os.environ
                                 if name.startswith('OS_')]:
                        del os.environ[name]
                    ended = self.run_here(*arguments)
                self.assertEqual((1, ''), (ended.status, ended.stdout))
                # A warning of openstacksdk may come before it.
                self.assertRegex(
                    ended.stderr.splitlines()[-1],
                    r'\Ano cloud is chosen: set OS_CLOUD, .*OS_AUTH_URL')

    def test_options_do_not_mean_something_else_to_openstacksdk(self):
        get_one = config.OpenStackConfig.get_one
        with (mock.patch.object(config.OpenStackConfig, 'get_one',
                                autospec=True, side_effect=get_one) as seen,
              mock.patch('openstack.connection.Connection', autospec=True,
                         side_effect=exceptions.SDKException('stop'))):
            ended = self.run_here(
                'migrate', 'run', '--verify', '--name', 'x',
                '--os-username', 'me', '--os-auth-url', 'http://nowhere',
                '--os-password', 'secret', '--os-project-name', 'mine')
        self.assert_fails(ended, 'stop')
        given = vars(seen.call_args.kwargs['argparse'])
        self.assertEqual('me', given['os_username'])
        self.assertFalse({'verify', 'name', 'images', 'stores'} & set(given))


class TestArguments(unittest.TestCase):

    def test_pairs(self):
        self.assertEqual(('a', 'b=c'), command.key_value('a=b=c'))
        for wrong in ('a', '=b', ''):
            with self.assertRaises(argparse.ArgumentTypeError):
                command.key_value(wrong)

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

"""The options on how to adapt a guest."""

import argparse
import os
import unittest
from unittest import mock

from glance_xs_convert.cli import guest_options
from glance_xs_convert.guest import settings


class GuestOptions(unittest.TestCase):

    def settings(self, *arguments, **environment):
        parser = argparse.ArgumentParser(exit_on_error=False)
        guest_options.add_options(parser)
        with mock.patch.dict(os.environ, environment, clear=True):
            return guest_options.settings_of(parser.parse_args(arguments))

    def test_defaults(self):
        """They are those of the import plugin, which imports much more."""
        self.assertEqual(settings.Settings(), self.settings())

    def test_options(self):
        found = self.settings(
            '--max-time', '0', '--start-timeout', '5', '--memory', '900',
            '--virtio-win', '/iso', '--tool', '/t', '--inspector', '/i')
        self.assertEqual((0, 5, 900, '/iso', '/t', '/i'), (
            found.max_time, found.start_timeout, found.memory,
            found.virtio_win, found.tool, found.inspector))

    def test_environment(self):
        """The variables of libguestfs count, and no others."""
        found = self.settings(LIBGUESTFS_CACHEDIR='/cache', OS_PASSWORD='x',
                              MY_LIBGUESTFS_PATH='y')
        self.assertEqual({'LIBGUESTFS_CACHEDIR': '/cache'},
                         found.libguestfs)
        self.assertEqual('/cache', found.cache)

    def test_no_kvm(self):
        found = self.settings('--no-kvm', LIBGUESTFS_BACKEND_SETTINGS=(
            'gdb:force_kvm'))
        self.assertFalse(found.may_use_kvm)
        self.assertIn('gdb', found.libguestfs['LIBGUESTFS_BACKEND_SETTINGS'])

    def test_wrong_arguments(self):
        for arguments in (('--max-time', '-1'), ('--memory', '0'),
                          ('--start-timeout', '0')):
            self.assertRaises(argparse.ArgumentError, self.settings,
                              *arguments)

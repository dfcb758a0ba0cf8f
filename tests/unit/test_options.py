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
"""The plugin's options, and what follows from them."""

import os
import tempfile
import types as python_types
import unittest

from oslo_config import cfg
from oslo_config import types

from glance_xs_convert import options

from tests.unit import cases


class Options(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.conf = cfg.ConfigOpts()
        self.conf.register_opts(options.OPTS, group=options.GROUP)
        self.conf([], project='test', default_config_files=[])

    def set(self, **values):
        for name, value in values.items():
            self.conf.set_override(name, value, options.GROUP)

    def test_limits(self):
        self.set(max_virtual_size=7, max_chain_length=3)
        found = options.limits_of(self.conf[options.GROUP])
        self.assertEqual((7 << 30, 3),
                         (found.max_virtual_size, found.max_chain_length))
        self.assertIsNone(found.max_disk_size)
        self.assertEqual('max_virtual_size', found.size_limit)

    def test_numbers_are_bounded(self):
        """A typing error must not let a limit vanish."""
        for option in options.OPTS:
            if isinstance(option.type, types.Integer):
                with self.subTest(option.name):
                    self.assertRaises(ValueError, self.set,
                                      **{option.name: -1})

    def test_every_option_is_explained(self):
        for option in options.OPTS:
            self.assertRegex(option.help, r'^\n[A-Z][^\n]*(\n[^\n]+)*\.\n')


class Uploads(unittest.TestCase):

    def test_nothing_is_missing(self):
        self.assertIsNone(options.missing_for_uploads(
            ['glance-direct', 'web-download'], ['xs_convert']))

    def test_missing(self):
        for methods, plugins, name in (
                (['web-download'], ['xs_convert'], 'glance-direct'),
                (['glance-direct'], ['no_op'], 'xs_convert'),
                ([], [], 'glance-direct')):
            self.assertIn(name, options.missing_for_uploads(methods, plugins))


class LockPath(cases.ScratchCase):
    """Where imports keep their tickets."""

    def setUp(self):
        super().setUp()
        self.staging = self.scratch / 'glance' / 'staging'
        self.staging.mkdir(parents=True)

    def path(self, configured=None, staging=None):
        return options.lock_path(
            python_types.SimpleNamespace(lock_path=configured),
            str(staging or self.staging))

    def test_configured(self):
        self.assertEqual('/run/tickets', self.path('/run/tickets'))

    def test_beside_the_staging_area(self):
        beside = str(self.scratch / 'glance' / 'xs_convert')
        self.assertEqual(beside, self.path())
        self.assertEqual(beside, self.path(staging=f'{self.staging}/'))
        link = self.scratch / 'link'
        link.symlink_to(self.staging)
        self.assertEqual(beside, self.path(staging=link))

    def assert_inside(self, staging):
        self.assertEqual(os.path.join(staging, '.xs_convert'),
                         self.path(staging=staging))

    def test_others_can_write_beside_it(self):
        """They could create the directory first."""
        for mode in (0o775, 0o707, 0o1777):
            self.staging.parent.chmod(mode)
            self.assert_inside(str(self.staging))

    def test_beside_it_belongs_to_another(self):
        if os.geteuid():
            self.skipTest('only root can give a directory away')
        os.chown(self.staging.parent, 12345, 12345)
        self.assert_inside(str(self.staging))

    def test_glance_without_configuration(self):
        """Glance's own default for the staging area is /tmp/staging."""
        self.assert_inside(os.path.join(
            os.path.realpath(tempfile.gettempdir()), 'staging'))

    def test_no_staging_area_yet(self):
        self.assert_inside('/does/not/exist')

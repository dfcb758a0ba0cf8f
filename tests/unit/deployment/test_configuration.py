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

"""Judging a deployment, where Glance is installed and where it is not."""

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import unittest

from oslo_config import cfg

from glance_xs_convert.deployment import configuration
from glance_xs_convert import options

HAS_GLANCE = importlib.util.find_spec('glance') is not None

#: Where Glance registers the options that are copied.
MODULES = ('glance.api.versions', 'glance.common.config',
           'glance.common.wsgi', 'glance.async_.flows.api_image_import')

_IMPORT = '''
import importlib.abc
import pkgutil
import sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {
                'glance', 'glance_store', 'taskflow', 'webob'}:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())

from glance_xs_convert import deployment
from glance_xs_convert import options

for module in pkgutil.iter_modules(deployment.__path__,
                                   deployment.__name__ + '.'):
    __import__(module.name)
    print(module.name)
'''


class WithoutGlance(unittest.TestCase):

    def test_import(self):
        ended = subprocess.run(
            [sys.executable, '-c', _IMPORT], capture_output=True, text=True,
            env={'PYTHONPATH': ':'.join(sys.path)}, check=False)
        self.assertEqual('', ended.stderr)
        self.assertIn('glance_xs_convert.deployment.checks', ended.stdout)


@unittest.skipUnless(HAS_GLANCE, 'Glance is not installed')
class GlanceOptions(unittest.TestCase):
    """The copies of Glance's options are like Glance's own."""

    def setUp(self):
        super().setUp()
        for module in MODULES:
            importlib.import_module(module)
        store = importlib.import_module('glance_store.multi_backend')
        wsgi_app = importlib.import_module('glance.common.wsgi_app')
        config = importlib.import_module('glance.common.config')
        # What is registered when Glance starts, not when it is imported.
        self.late = cfg.ConfigOpts()
        self.late.register_opts(config.paste_deploy_opts,
                                group='paste_deploy')
        self.late.register_opts([cfg.DictOpt('enabled_backends',
                                             default={'fast': 'file'})])
        store.register_store_opts(
            self.late, reserved_stores=wsgi_app.RESERVED_STORES)

    def original(self, group, name):
        late = group in ('os_glance_staging_store', 'paste_deploy')
        conf = self.late if late else cfg.CONF
        return conf._get_opt_info(name, group)['opt']

    def test_like_the_originals(self):
        # Glance before 33 accepts any name of an import method.
        glance = importlib.metadata.version('glance')
        older = int(glance.partition('.')[0]) < 33
        for group, opts in configuration.GLANCE_OPTS.items():
            for option in opts:
                with self.subTest(group=group, option=option.name):
                    original = self.original(group, option.dest)
                    self.assertIs(type(original), type(option))
                    self.assertEqual(original.default, option.default)
                    if not (older and option.dest == 'enabled_import_methods'):
                        self.assertEqual(original.type, option.type)
                    self.assertEqual(original.deprecated_opts,
                                     option.deprecated_opts)

    def test_own_options_are_not_copies(self):
        self.assertNotIn(options.GROUP, configuration.GLANCE_OPTS)

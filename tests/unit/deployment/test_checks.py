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

"""The checks of a deployment, by themselves.

What they say for all kinds of configurations is tested with the command
``status``, which shows it.
"""

import sys

from glance_xs_convert.deployment import checks
from glance_xs_convert.deployment import configuration

from tests.unit import cases


class Checks(cases.ScratchCase):

    def deployment(self, text):
        path = self.scratch / 'glance-api.conf'
        path.write_text(text)
        return configuration.Deployment([str(path)], [], {})

    def test_all_run_whatever_is_wrong(self):
        """A setting that cannot work is a failure, not the end."""
        results = dict(checks.run_all(self.deployment(f'''
[DEFAULT]
enabled_import_methods = web-download
node_staging_uri = http://127.0.0.1/
[image_import_opts]
image_import_plugins = xs_convert
[xs_convert]
max_memory = little
[wsgi]
python_interpreter = {sys.executable}
'''), checks.CHECKS))
        for name in ('Options', 'Plugin is enabled', 'Import methods',
                     'Staging area', 'Converter starts'):
            self.assertEqual(checks.Code.FAILURE, results[name].code, name)
            self.assertNotIn('\n', results[name].details)

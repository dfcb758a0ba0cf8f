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
"""The checks of what adapting guests takes, with a stand-in."""

import sys

from glance_xs_convert.deployment import checks
from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import guests

from testbed.guests import stand_in

from tests.unit.guest import base


def check(path, with_appliance):
    """Run the checks for a configuration file."""
    deployment = configuration.Deployment([str(path)], [], {})
    return checks.run_all(deployment,
                          guests.choose(deployment, with_appliance))


class Guests(base.StandInCase):

    def run_all(self, plugins, with_appliance=False, **options):
        options = {'tool': self.tool, 'inspector': self.inspector,
                   'scratch_path': self.scratches, **options}
        path = self.scratch / 'glance-api.conf'
        path.write_text(
            f'[image_import_opts]\nimage_import_plugins = [{plugins}]\n'
            f'[wsgi]\npython_interpreter = {sys.executable}\n[xs_adapt]\n'
            + ''.join(f'{name} = {value}\n'
                      for name, value in options.items()))
        return {name: (result.code, result.details)
                for name, result in check(path, with_appliance)}

    def test_off(self):
        found = self.run_all('xs_convert')
        self.assertEqual(['Adapting guests'], list(found))
        code, details = found['Adapting guests']
        self.assertEqual(guests.Code.SUCCESS, code)
        self.assertIn('stored as they are', details)

    def test_on(self):
        found = self.run_all('xs_convert, xs_adapt')
        self.assertEqual(
            (guests.Code.SUCCESS, f'{stand_in.VERSION} is installed'),
            found['Adapting guests'])
        self.assertEqual(guests.Code.WARNING, found['KVM'][0])
        self.assertIn('of free space', found['Appliance: space'][1])

    def test_order(self):
        for plugins in ('xs_adapt, xs_convert', 'xs_adapt'):
            code, details = self.run_all(plugins)['Adapting guests']
            self.assertEqual(guests.Code.FAILURE, code)
            self.assertIn('must come after xs_convert', details)

    def test_order_with_another_conversion(self):
        code, details = self.run_all(
            'xs_convert, image_conversion, xs_adapt')['Adapting guests']
        self.assertEqual(guests.Code.FAILURE, code)
        self.assertIn('must come before image_conversion', details)

    def test_missing(self):
        code, details = self.run_all(
            'xs_convert,xs_adapt', tool='no-such')['Adapting guests']
        self.assertEqual(guests.Code.FAILURE, code)
        self.assertIn('requires the packages', details)

    def test_bad_settings(self):
        for wrong in ({'max_time': 'long'}, {'libguestfs': 'PATH:/tmp'}):
            code, _ = self.run_all('xs_convert,xs_adapt', **wrong)[
                'Adapting guests']
            self.assertEqual(guests.Code.FAILURE, code)

    def test_appliance(self):
        code, details = self.run_all('xs_convert', True)['Appliance starts']
        self.assertEqual(guests.Code.WARNING, code)
        self.assertIn('starts without KVM', details)
        self.has_kvm(True)
        code, details = self.run_all('xs_convert', True)['Appliance starts']
        self.assertEqual(guests.Code.SUCCESS, code)
        self.assertIn('starts with KVM', details)

    def test_no_brackets(self):
        path = self.scratch / 'glance-api.conf'
        path.write_text('[image_import_opts]\nimage_import_plugins = x\n')
        found = dict(check(path, False))
        self.assertEqual(guests.Code.FAILURE, found['Adapting guests'].code)

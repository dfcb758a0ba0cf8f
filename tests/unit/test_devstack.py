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

"""The plugin of DevStack, run by bash phase by phase.

The functions of DevStack that change the system are stand-ins, which write
down how they are called. The file of pipelines is the one that Glance ships,
and PasteDeploy and oslo.config read what comes out.
"""

import importlib.metadata
import os
import shutil
import subprocess

from oslo_config import cfg
from paste.deploy import loadwsgi

from glance_xs_convert import options

from tests.unit import cases

_FLAVORS = ('keystone', 'keystone+caching', 'keystone+cachemanagement')

#: As in stack.sh, with the option that developers of DevStack can set, too.
_RUN = r'''
set -o errexit -o nounset -o xtrace
called() { (IFS=' '; echo "$*" >> "$CALLS"); }
die() { shift; called die "$@"; exit 1; }
echo_summary() { called echo_summary "$@"; }
install_package() { called install_package "$@"; }
is_service_enabled() { [[ ",$ENABLED_SERVICES," == *,$1,* ]]; }
is_ubuntu() { [[ "$VENDOR" == ubuntu ]]; }
pip_uninstall() { called pip_uninstall "$@"; }
setup_develop() { called setup_develop "$@"; }
sudo() { called sudo "$@"; }
trueorfalse() {
    case "${!2:-}" in
        True|true|yes|1) echo True;;
        False|false|no|0) echo False;;
        *) echo "$1";;
    esac
}
# Of the option's lines in the section, the last one remains.
iniset() {
    local rest
    rest=$(awk -v section="[$2]" -v option="$3" '
        /^\[/ { inside = $0 == section }
        !(inside && $1 == option) { print }' "$1" 2>/dev/null || true)
    grep -qxF "[$2]" <<< "$rest" || rest+=$'\n'"[$2]"
    awk -v section="[$2]" -v line="$3 = $4" '
        { print } $0 == section { print line }' <<< "$rest" > "$1.new"
    mv "$1.new" "$1"
}
source "$PLUGIN/settings"
source "$PLUGIN/plugin.sh" "$@"
[[ $- == *x* ]]
'''


def _paste():
    """Return the path of the pipelines that Glance ships."""
    for path in importlib.metadata.files('glance'):
        if path.name == 'glance-api-paste.ini':
            return path.locate()
    raise AssertionError('Glance has no pipelines')


class DevStack(cases.ScratchCase):

    def setUp(self):
        super().setUp()
        self.import_conf = self.scratch / 'glance-image-import.conf'
        self.paste = self.scratch / 'glance-api-paste.ini'
        self.calls = self.scratch / 'calls'
        self.configure_glance()

    def configure_glance(self):
        """Write both files anew, as DevStack's ``configure_glance`` does."""
        shutil.copy(_paste(), self.paste)
        self.import_conf.write_text(
            '[image_import_opts]\nimage_import_plugins = []\n')

    def run_phase(self, *phase, status=0, **variables):
        """Run the plugin, and return what it has called."""
        self.calls.write_text('')
        done = subprocess.run(
            ['bash', '-c', _RUN, 'bash', *phase], text=True,
            capture_output=True, check=False, env={
                'PATH': os.environ['PATH'], 'ENABLED_SERVICES': 'g-api,key',
                'VENDOR': 'ubuntu', 'CALLS': str(self.calls),
                'PLUGIN': str(cases.ROOT / 'devstack'),
                'GLANCE_IMAGE_IMPORT_CONF': str(self.import_conf),
                'GLANCE_API_PASTE_INI': str(self.paste), **variables})
        self.assertEqual(status, done.returncode, done.stderr)
        return self.calls.read_text().splitlines()

    def configured(self):
        """Return the import plugins and the plugin's options."""
        conf = cfg.ConfigOpts()
        conf.register_opts(options.OPTS, group=options.GROUP)
        conf.register_opts([cfg.ListOpt('image_import_plugins', bounds=True)],
                           group='image_import_opts')
        conf([], project='glance', default_config_dirs=[],
             default_config_files=[str(self.import_conf)])
        return conf.image_import_opts.image_import_plugins, conf.xs_convert

    def pipeline(self, flavor):
        """Return the filters before the API, as PasteDeploy reads them."""
        loader = loadwsgi.ConfigLoader(str(self.paste))
        composite = loader.get_context(loadwsgi.APP, 'api')
        return composite.local_conf[flavor].split()

    def files(self):
        return self.import_conf.read_text(), self.paste.read_text()


class Install(DevStack):

    def test_install(self):
        before = self.files()
        self.assertEqual(
            ['echo_summary Installing glance-xs-convert',
             f'setup_develop {cases.ROOT}'],
            self.run_phase('stack', 'install'))
        self.assertEqual(before, self.files())

    def test_checkout_with_another_name(self):
        other = self.scratch / 'xs'
        shutil.copytree(cases.ROOT / 'devstack', other / 'devstack')
        self.assertIn(
            f'setup_develop {other}',
            self.run_phase('stack', 'install',
                           PLUGIN=str(other / 'devstack')))

    def test_metrics(self):
        self.assertIn(
            f'setup_develop {cases.ROOT} metrics',
            self.run_phase('stack', 'install',
                           GLANCE_XS_CONVERT_METRICS_FILE='/srv/xs.prom'))

    def test_tools_that_adapt_guests(self):
        for plugins in ('xs_convert,xs_adapt', 'xs_convert, xs_adapt'):
            calls = self.run_phase('stack', 'install',
                                   GLANCE_XS_CONVERT_PLUGINS=plugins)
            self.assertIn('install_package virt-v2v guestfs-tools nbdkit '
                          'qemu-utils', calls)
            self.assertRegex(calls[-1], '^sudo chmod a.r /boot/vmlinuz-')
        self.assertEqual(
            'install_package virt-v2v guestfs-tools nbdkit qemu-img',
            self.run_phase('stack', 'install', VENDOR='fedora',
                           GLANCE_XS_CONVERT_PLUGINS='xs_convert,xs_adapt',
                           )[-1])

    def test_without_glance(self):
        before = self.files()
        for phase in (('stack', 'install'), ('stack', 'post-config'),
                      ('clean',)):
            self.assertEqual([], self.run_phase(*phase,
                                                ENABLED_SERVICES='key'))
        self.assertEqual(before, self.files())

    def test_other_phases(self):
        before = self.files()
        for phase in (('stack', 'pre-install'), ('stack', 'extra'),
                      ('stack', 'test-config'), ('unstack',), ()):
            self.assertEqual([], self.run_phase(*phase))
        self.assertEqual(before, self.files())

    def test_clean(self):
        self.assertEqual(['pip_uninstall glance-xs-convert'],
                         self.run_phase('clean'))


class Configure(DevStack):

    def test_defaults(self):
        self.run_phase('stack', 'post-config')
        plugins, group = self.configured()
        self.assertEqual(['xs_convert'], plugins)
        self.assertIn('hypervisor_type', group.remove_properties)
        self.assertIn('xenapi_*', group.remove_properties)
        self.assertIsNone(group.metrics_file)
        for flavor in _FLAVORS:
            self.assertNotIn('xs_convert_upload', self.pipeline(flavor))

    def test_settings_of_local_conf(self):
        self.run_phase('stack', 'post-config',
                       GLANCE_XS_CONVERT_PLUGINS='xs_convert,xs_adapt',
                       GLANCE_XS_CONVERT_REMOVE_PROPERTIES='',
                       GLANCE_XS_CONVERT_METRICS_FILE='/srv/xs.prom')
        plugins, group = self.configured()
        self.assertEqual(['xs_convert', 'xs_adapt'], plugins)
        self.assertEqual([], group.remove_properties)
        self.assertEqual('/srv/xs.prom', group.metrics_file)

    def test_upload_filter(self):
        before = {one: self.pipeline(one) for one in _FLAVORS}
        self.run_phase('stack', 'post-config',
                       GLANCE_XS_CONVERT_UPLOAD_FILTER='yes')
        for flavor in _FLAVORS:
            self.assertEqual([*before[flavor][:-1], 'xs_convert_upload',
                              'rootapp'], self.pipeline(flavor))
        self.assertTrue(callable(loadwsgi.ConfigLoader(
            str(self.paste)).get_context(
                loadwsgi.FILTER, 'xs_convert_upload').object))

    def test_twice(self):
        variables = {'GLANCE_XS_CONVERT_UPLOAD_FILTER': 'True',
                     'GLANCE_XS_CONVERT_METRICS_FILE': '/srv/xs.prom'}
        self.run_phase('stack', 'post-config', **variables)
        once = self.files()
        self.run_phase('stack', 'post-config', **variables)
        self.assertEqual(once, self.files())

    def test_taken_out_again(self):
        fresh = self.paste.read_text()
        self.run_phase('stack', 'post-config',
                       GLANCE_XS_CONVERT_UPLOAD_FILTER='True')
        self.configure_glance()
        self.run_phase('stack', 'post-config')
        self.assertEqual(fresh, self.paste.read_text())

    def test_pipelines_of_another_shape(self):
        self.paste.write_text(self.paste.read_text().replace(
            ' rootapp\n', ' otherapp\n'))
        before = self.paste.read_text()
        calls = self.run_phase('stack', 'post-config', status=1,
                               GLANCE_XS_CONVERT_UPLOAD_FILTER='True')
        self.assertEqual([f'die {self.paste} has no pipeline that ends in '
                          'rootapp'], calls[-1:])
        self.assertEqual(before, self.paste.read_text())

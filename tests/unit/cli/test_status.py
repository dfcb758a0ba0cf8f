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

"""``glance-xs-convert status``, with configurations as Glance has them."""

import contextlib
import importlib.util
import io
import os
import sys
import unittest
from unittest import mock

from glance_xs_convert import api
from glance_xs_convert.deployment import checks
from glance_xs_convert.worker import seccomp

from tests.unit.cli import base

HAS_GLANCE = importlib.util.find_spec('glance') is not None


class StatusCase(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.staging = self.scratch / 'staging'
        self.staging.mkdir()
        self.etc = self.scratch / 'etc'
        self.etc.mkdir()
        self.write('glance-api.conf', f"""
            [DEFAULT]
            enabled_backends = one:file
            [os_glance_staging_store]
            filesystem_store_datadir = {self.staging}
            [wsgi]
            python_interpreter = {sys.executable}
            """)
        self.write('glance-image-import.conf', """
            [image_import_opts]
            image_import_plugins = [xs_convert,image_conversion]
            """)
        environment = mock.patch.dict(
            os.environ, OS_GLANCE_CONFIG_DIR=str(self.etc))
        environment.start()
        self.addCleanup(environment.stop)
        room = mock.patch.object(checks, '_LITTLE_ROOM', 0)
        room.start()
        self.addCleanup(room.stop)

    def write(self, name, text):
        path = self.etc / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(
            line.strip() for line in text.splitlines()) + '\n')
        return path

    def plugins(self, value):
        self.write('glance-image-import.conf', f"""
            [image_import_opts]
            image_import_plugins = {value}
            """)

    def results(self, *arguments):
        """The results by the names of the checks, and the exit status."""
        ended = self.run_here('status', '-f', 'json', *arguments)
        return {row['Check']: (row['Result'], row['Details'])
                for row in ended.json()}, ended.status

    def assert_result(self, check, result, text, *arguments):
        results, status = self.results(*arguments)
        self.assertEqual(result, results[check][0], results[check])
        self.assertIn(text, results[check][1])
        codes = {'Success': 0, 'Warning': 1, 'Failure': 2}
        self.assertEqual(max(codes[code] for code, _ in results.values()),
                         status)


class Configuration(StatusCase):

    def test_as_glance_reads_it(self):
        self.assert_result('Configuration', 'Success',
                           f'{self.etc}/glance-image-import.conf, '
                           f'{self.etc}/glance-api.conf')

    def test_without_the_optional_file(self):
        os.unlink(self.etc / 'glance-image-import.conf')
        self.assert_result('Configuration', 'Success',
                           f'read {self.etc}/glance-api.conf')

    def test_none(self):
        os.unlink(self.etc / 'glance-api.conf')
        self.assert_result('Configuration', 'Failure',
                           'Failed to find some config files')

    def test_damaged(self):
        self.write('glance-api.conf', 'no group and no option')
        self.assert_result('Configuration', 'Failure', 'Failed to parse')

    def test_directory(self):
        """As Kolla has it: the import options are in a .conf.d."""
        os.unlink(self.etc / 'glance-image-import.conf')
        self.write('glance.conf.d/glance-image-import.conf', """
            [image_import_opts]
            image_import_plugins = [xs_convert]
            """)
        self.assert_result(
            'Plugin is enabled', 'Success', 'is [xs_convert]',
            '--config-dir', self.etc / 'glance.conf.d')

    def test_file(self):
        path = self.write('other.conf', """
            [image_import_opts]
            image_import_plugins = [no_op]
            """)
        self.assert_result('Plugin is enabled', 'Failure', '[no_op]',
                           '--config-file', path)


class PlainUploads(StatusCase):

    FILTER = """
        [filter:uploads]
        use = egg:glance-xs-convert#xs_convert_upload
        """

    def paste(self, text):
        self.write('glance-api-paste.ini', text + self.FILTER)

    def option(self, value):
        self.write('glance-image-import.conf', f"""
            [image_import_opts]
            image_import_plugins = [xs_convert]
            [xs_convert]
            on_plain_upload = {value}
            """)

    def assert_said(self, result, text):
        self.assert_result('Plain uploads', result, text)

    def test_no_paste_file(self):
        self.assert_said('Success', 'glance-api-paste.ini was not found')

    def test_no_filter(self):
        self.paste("""
            [composite:api]
            default = cors context rootapp
            keystone = cors context uploads rootapp
            """)
        self.assert_said('Success',
                         'stores them unconverted, because the filter')

    def test_filter(self):
        self.paste("""
            [composite:api]
            default = cors context uploads rootapp
            """)
        self.assert_said('Success', 'turns them into imports')
        for action, text in (('pass', 'stores them unconverted'),
                             ('refuse', 'refuses them')):
            self.option(action)
            self.assert_said('Success', text)
        self.plugins('[image_conversion]')
        self.assert_said('Warning', 'xs_convert is not among')

    def test_filter_of_older_releases(self):
        self.write('glance-api.conf', """
            [paste_deploy]
            flavor = keystone
            [DEFAULT]
            enabled_import_methods = [web-download]
            """)
        self.paste("""
            [pipeline:glance-api]
            pipeline = cors context rootapp
            [pipeline:glance-api-keystone]
            pipeline = cors context uploads rootapp
            """)
        self.assert_said('Warning', 'glance-direct is not among')

    def test_damaged(self):
        self.paste('nothing of the kind')
        self.assert_said('Failure', 'no section headers')


class Plugin(StatusCase):

    def test_enabled(self):
        self.assert_result('Plugin is enabled', 'Success',
                           'is [xs_convert,image_conversion]')

    def test_not_enabled(self):
        self.plugins('[image_conversion]')
        self.assert_result('Plugin is enabled', 'Failure',
                           'stores XenServer images unconverted')

    def test_misspelt(self):
        self.plugins('[xs-convert]')
        self.assert_result('Plugin is enabled', 'Failure',
                           'is xs-convert a misspelling of xs_convert?')

    def test_without_brackets(self):
        self.plugins('xs_convert,image_conversion')
        self.assert_result('Plugin is enabled', 'Failure', '[')

    def test_order(self):
        for value, result, text in (
                ('[xs_convert]', 'Success', ''),
                ('[xs_convert,image_decompression]', 'Success', ''),
                ('[image_conversion,xs_convert]', 'Failure', 'put xs_convert'),
                ('[image_decompression,xs_convert]', 'Warning', 'this works'),
                ('[no_op]', 'Success', 'not enabled')):
            self.plugins(value)
            self.assert_result('Order of plugins', result, text)

    def test_no_glance(self):
        class Hidden:
            """Finds Glance before others do, and says that it is not there."""

            def find_spec(name, *_):
                if name == 'glance':
                    raise ModuleNotFoundError(name=name)

        with (mock.patch.dict(sys.modules),
              mock.patch.object(sys, 'meta_path',
                                [Hidden, *sys.meta_path])):
            for name in list(sys.modules):
                if f'{name}.'.startswith(
                        ('glance.', 'glance_xs_convert.plugin.')):
                    del sys.modules[name]
            self.assert_result('Plugin loads', 'Failure',
                               'Glance is not installed')

    @unittest.skipUnless(HAS_GLANCE, 'Glance is not installed')
    def test_loads(self):
        self.assert_result('Plugin loads', 'Success', 'loads with Glance')
        self.plugins('[xs_convert,image_convesion]')
        self.assert_result('Plugin loads', 'Warning', 'image_convesion')

    def test_import_methods(self):
        for value, result, text in (
                ('[web-download]', 'Success', 'imports with web-download'),
                ('[copy-image]', 'Failure', 'runs import plugins only for'),
                ('web-download', 'Failure', '[')):
            with open(self.etc / 'glance-api.conf', 'a') as file:
                file.write(f'[DEFAULT]\nenabled_import_methods = {value}\n')
            self.assert_result('Import methods', result, text)

    def test_options(self):
        self.assert_result('Options', 'Success', '[xs_convert]')
        self.write('glance-image-import.conf', """
            [xs_convert]
            max_memory = little
            """)
        self.assert_result('Options', 'Failure', 'max_memory')


class Staging(StatusCase):

    def test_stores(self):
        self.assert_result('Staging area', 'Success', str(self.staging))
        self.assertEqual([], os.listdir(self.staging))

    def test_old_form(self):
        self.write('glance-api.conf', f"""
            [DEFAULT]
            node_staging_uri = file://{self.staging}
            """)
        self.assert_result('Staging area', 'Success', str(self.staging))

    def test_not_a_directory_of_files(self):
        self.write('glance-api.conf', """
            [DEFAULT]
            node_staging_uri = http://127.0.0.1/
            """)
        self.assert_result('Staging area', 'Failure', 'not a file:// URI')

    def test_not_configured(self):
        self.write('glance-api.conf', """
            [DEFAULT]
            enabled_backends = one:file
            """)
        self.assert_result('Staging area', 'Failure',
                           '/var/lib/glance/os_glance_staging_store')

    def test_configured_as_nothing(self):
        self.write('glance-api.conf', """
            [DEFAULT]
            enabled_backends = one:file
            [os_glance_staging_store]
            filesystem_store_datadir =
            """)
        self.assert_result('Staging area', 'Failure',
                           'filesystem_store_datadir is not set')

    def test_missing(self):
        self.staging.rmdir()
        self.assert_result('Staging area', 'Failure', 'does not exist')

    def test_no_directory(self):
        self.staging.rmdir()
        self.staging.write_text('')
        self.assert_result('Staging area', 'Failure', 'cannot write')

    @unittest.skipUnless(os.geteuid(), 'root may write everywhere')
    def test_not_writable(self):
        self.staging.chmod(0o555)
        self.assert_result('Staging area', 'Failure', 'Permission denied')

    def test_little_room(self):
        with mock.patch.object(checks, '_LITTLE_ROOM', 1 << 80):
            self.assert_result('Staging area', 'Warning', 'may not be enough')


class Converter(StatusCase):

    def test_starts(self):
        self.assert_result('Converter starts', 'Success', sys.executable)

    def test_interpreter_is_missing(self):
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write('python_interpreter = /nonexistent/python\n')
        self.assert_result('Converter starts', 'Failure',
                           '/nonexistent/python')

    def test_interpreter_is_none(self):
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write('python_interpreter = /bin/false\n')
        self.assert_result('Converter starts', 'Failure', '/bin/false')

    def test_sample(self):
        result = api.check(io.BytesIO(checks.sample(bytes(4096))))
        self.assertEqual(4096, result.virtual_size)
        self.assertEqual(['fixed'],
                         [layer.disk_type for layer in result.layers])


class Sandbox(StatusCase):

    def configure(self, sandbox, code=''):
        """Run converters in which some code is executed first."""
        python = self.etc / 'python'
        python.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
            f'from glance_xs_convert.worker import child\n'
            f'from glance_xs_convert.worker import landlock\n'
            f'from glance_xs_convert.worker import sandbox\n'
            f'from glance_xs_convert.worker import seccomp\n'
            f'def missing(*arguments):\n'
            f"    raise seccomp.Unavailable('it is switched off')\n"
            f'{code}\nsys.exit(child.main())\n')
        python.chmod(0o700)
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write(f'python_interpreter = {python}\n'
                       f'[xs_convert]\nsandbox = {sandbox}\n')

    def test_denied(self):
        self.configure('best_effort')
        with contextlib.suppress(seccomp.Unavailable):
            seccomp.Filter()
            self.assert_result(
                'Sandbox', 'Success', 'files: denied, network: denied, '
                'programs: denied, other processes: denied')

    def test_open(self):
        self.configure('best_effort', 'landlock.restrict = seccomp.Filter = '
                                      'missing')
        self.assert_result(
            'Sandbox', 'Warning', 'files: denied, network: denied, '
            'programs: open, other processes: open')

    def test_required(self):
        self.configure('required', 'seccomp.Filter = missing')
        self.assert_result('Sandbox', 'Failure', 'imports fail: the '
                           'converter cannot be fully confined: seccomp: '
                           'it is switched off')

    def test_off(self):
        self.configure('off')
        self.assert_result('Sandbox', 'Warning', 'it is off')


class Output(StatusCase):

    def test_table(self):
        ended = self.run_here('status')
        self.assertRegex(ended.stdout, r'\| Converter starts +\| Success +\|')
        self.assertLess(max(map(len, ended.stdout.splitlines())), 100)

    def test_exit_status(self):
        ended = self.run_apart('status', '-f', 'value')
        self.assertEqual(0 if HAS_GLANCE else 2, ended.status)
        self.assertEqual('', ended.stderr)

    def test_check_that_breaks(self):
        with mock.patch.object(checks, 'run_all', autospec=True,
                               side_effect=RuntimeError('it broke')):
            self.assert_fails(self.run_here('status'), 'it broke', 255)

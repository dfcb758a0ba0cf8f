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
from glance_xs_convert.deployment import host
from glance_xs_convert.worker import seccomp

from tests.unit.cli import base

HAS_GLANCE = importlib.util.find_spec('glance') is not None


#: The entry points of the filters in pipelines, by their names there.
FILTERS = {'cors': 'oslo.middleware#cors', 'context': 'glance#context',
           'uploads': 'glance-xs-convert#xs_convert_upload'}


class StatusCase(base.CommandCase):
    """Has a configuration without a fault.

    :cvar CONVERTS: whether converters are started, which takes longer than
                    all other checks
    """

    CONVERTS = False

    def setUp(self):
        super().setUp()
        if not self.CONVERTS:
            others = mock.patch.object(checks, 'CHECKS', [
                (name, check) for name, check in checks.CHECKS
                if check not in (host.check_converter, host.check_sandbox)])
            others.start()
            self.addCleanup(others.stop)
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
            image_import_plugins = [xs_convert]
            """)
        self.paste("""
            [composite:api]
            default = cors context uploads rootapp
            """)
        environment = mock.patch.dict(
            os.environ, OS_GLANCE_CONFIG_DIR=str(self.etc))
        environment.start()
        self.addCleanup(environment.stop)
        room = mock.patch.object(host, 'LITTLE_ROOM', 0)
        room.start()
        self.addCleanup(room.stop)

    def write(self, name, text):
        path = self.etc / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(
            line.strip() for line in text.splitlines()) + '\n')
        return path

    def paste(self, pipelines, filters=('cors', 'context', 'uploads')):
        """Write the file of the pipelines, with a section for each filter."""
        self.write('glance-api-paste.ini', pipelines + ''.join(
            f'[filter:{name}]\nuse = egg:{FILTERS[name]}\n'
            for name in filters))

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

    def test_not_in_utf8(self):
        """Glance does not start with it either."""
        name = self.etc / 'glance.conf.d' / 'mine.conf'
        for path in (self.etc / 'glance-api.conf', name):
            path.parent.mkdir(exist_ok=True)
            before = path.read_bytes() if path.exists() else b''
            path.write_bytes(before + b'\n# one\n# f\xfcr\n')
            line = before.count(b'\n') + 3
            self.assert_result(
                'Configuration', 'Failure',
                f'line {line} of {path} is not in UTF-8; Glance does not '
                'start', '--config-dir', str(name.parent))
            path.write_bytes(before)

    def test_no_file(self):
        self.assert_result(
            'Configuration', 'Failure', f'{self.etc} cannot be read: Is a '
            'directory', '--config-file', str(self.etc))

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


class Pipeline(StatusCase):

    def assert_broken(self, text):
        """Glance does not start, and each check but one says only where."""
        self.assert_result('Pipeline', 'Failure', text)
        self.assert_result('Plain uploads', 'Failure', 'see "Pipeline"')

    def test_complete(self):
        self.assert_result('Pipeline', 'Success', 'every filter')

    def test_filter_without_a_section(self):
        self.paste("""
            [composite:api]
            default = cors context uploads rootapp
            """, filters=('cors', 'context'))
        self.assert_result(
            'Pipeline', 'Failure', 'Glance does not start: the pipeline '
            f'default in {self.etc}/glance-api-paste.ini names uploads, but '
            'there is no section [filter:uploads]')

    def test_no_such_flavor(self):
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write('[paste_deploy]\nflavor = keystone\n')
        self.assert_result('Pipeline', 'Failure', 'has no pipeline keystone')

    def test_syntax_error(self):
        self.paste('nothing of the kind')
        self.assert_broken('no section headers')

    def test_section_twice(self):
        self.paste("""
            [composite:api]
            default = cors context uploads rootapp
            """, filters=('cors', 'context', 'uploads', 'cors'))
        self.assert_broken('already exists')

    def test_no_file(self):
        os.unlink(self.etc / 'glance-api-paste.ini')
        self.assert_broken('glance-api-paste.ini was not found')

    def test_named_after_the_last_file(self):
        path = self.write('mine.conf', '[image_import_opts]')
        self.assert_result('Pipeline', 'Failure',
                           'mine-paste.ini was not found',
                           '--config-file', path)


class PlainUploads(StatusCase):

    def option(self, value):
        self.write('glance-image-import.conf', f"""
            [image_import_opts]
            image_import_plugins = [xs_convert]
            [xs_convert]
            on_plain_upload = {value}
            """)

    def assert_said(self, result, text):
        self.assert_result('Plain uploads', result, text)

    def test_no_filter(self):
        self.paste("""
            [composite:api]
            default = cors context rootapp
            keystone = cors context uploads rootapp
            """)
        self.assert_said('Warning',
                         'stores them unconverted, because the filter')

    def test_filter(self):
        self.assert_said('Success', 'turns them into imports')
        for action, result, text in (
                ('pass', 'Warning', 'stores them unconverted'),
                ('refuse', 'Success', 'refuses them')):
            self.option(action)
            self.assert_said(result, text)
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


class Plugin(StatusCase):

    def test_enabled(self):
        self.assert_result('Plugin is enabled', 'Success', 'is [xs_convert]')

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
        results, status = self.results()
        told = [check for check, (_, details) in results.items()
                if 'write image_import_plugins = '
                   '[xs_convert,image_conversion]' in details]
        self.assertEqual(['Plugin is enabled'], told)
        self.assertEqual(('Failure', 'see "Plugin is enabled"'),
                         results['Order of plugins'])
        self.assertEqual(2, status)

    def test_not_enabled_and_import_methods(self):
        self.plugins('[image_decompression]')
        self.assert_result('Import methods', 'Failure', 'converts nothing')

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
        self.assert_result('Plugin loads', 'Success', 'xs_convert loads')
        self.plugins('[xs_convert,image_convesion]')
        self.assert_result('Plugin loads', 'Warning', 'image_convesion')

    def test_import_methods(self):
        self.plugins('[xs_convert]')
        for value, result, text in (
                ('[web-download]', 'Success', 'imports with web-download'),
                ('[copy-image]', 'Failure', 'runs import plugins only for'),
                ('web-download', 'Failure', '[')):
            with open(self.etc / 'glance-api.conf', 'a') as file:
                file.write(f'[DEFAULT]\nenabled_import_methods = {value}\n')
            self.assert_result('Import methods', result, text)

    def test_release_of_glance(self):
        versions = {'glance': '33.0.0'}
        with mock.patch.object(checks.importlib.metadata, 'version',
                               autospec=True, side_effect=versions.get):
            self.assert_result('Release of Glance', 'Success', '33.0.0')
            for version, hint in (('34.0.0.0b1', 'look for an upgrade'),
                                  ('29.1.0', 'look for a newer Glance')):
                versions['glance'] = version
                self.assert_result('Release of Glance', 'Warning', hint)

    def test_image_conversion(self):
        self.plugins('[xs_convert,image_conversion]')
        tools = self.scratch / 'tools'
        tools.mkdir()
        with mock.patch.dict(os.environ, PATH=str(tools)):
            self.assert_result('image_conversion', 'Failure', 'needs qemu-img')
            (tools / 'qemu-img').symlink_to('/bin/true')
            self.assert_result('image_conversion', 'Success', 'is installed')
            self.write('glance-api.conf', f"""
                [DEFAULT]
                node_staging_uri = file://{self.staging}
                """)
            self.assert_result('image_conversion', 'Warning',
                               'set python_interpreter in [wsgi]')

    def test_filter_of_downloads(self):
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write('[DEFAULT]\n'
                       'enabled_import_methods = [glance-download]\n')
        self.assert_result('Import filter', 'Warning', 'port 9292')
        for lines, result in (
                ('[DEFAULT]\npublic_endpoint = https://image.example.org\n',
                 'Warning'),
                ('public_endpoint = https://image.example.org:443/v2\n',
                 'Success'),
                ('public_endpoint = https://image.example.org:9292\n'
                 '[import_filtering_opts]\nallowed_ports = [80,9292]\n',
                 'Success'),
                ('allowed_ports = []\ndisallowed_ports = [9292]\n',
                 'Warning'),
                ('allowed_ports = 9292\n', 'Failure')):
            with open(self.etc / 'glance-api.conf', 'a') as file:
                file.write(lines)
            self.assert_result('Import filter', result, '')

    def test_misspelt_option(self):
        self.write('glance-image-import.conf', """
            [image_import_opts]
            image_import_plugins = [xs_convert]
            [xs_convert]
            max_memroy = 512
            """)
        self.assert_result(
            'Options', 'Warning', '[xs_convert] has no option max_memroy, so '
            'it has no effect; is it a misspelling of max_memory?')

    def test_misspelt_section(self):
        self.write('glance-image-import.conf', """
            [xs-convert]
            max_memory = 512
            """)
        self.assert_result('Options', 'Warning',
                           'nothing reads the section [xs-convert]')

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
        with mock.patch.object(host, 'LITTLE_ROOM', 1 << 80):
            self.assert_result('Staging area', 'Warning', 'may not be enough')


class Tickets(StatusCase):

    def configure(self, path):
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write(f'[xs_convert]\nlock_path = {path}\n')

    def test_made_if_necessary(self):
        self.configure(self.scratch / 'tickets')
        self.assert_result('Tickets', 'Success', f'{self.scratch}/tickets')

    def test_cannot_be_made(self):
        self.scratch.joinpath('file').write_text('')
        self.configure(self.scratch / 'file' / 'tickets')
        self.assert_result('Tickets', 'Failure', 'set lock_path')

    @unittest.skipIf(os.geteuid(), 'only root may give a directory away')
    def test_belongs_to_another(self):
        other = self.scratch / 'other'
        other.mkdir(mode=0o777)
        other.chmod(0o777)
        os.chown(other, 4711, -1)
        self.configure(other)
        self.assert_result('Tickets', 'Failure', 'belongs to user 4711')


@unittest.skipIf(os.geteuid(), 'only root may become another user')
class AsRoot(StatusCase):
    """The checks run as the user that the staging area belongs to."""

    USER = 4711

    def setUp(self):
        super().setUp()
        self.scratch.chmod(0o755)

    def test_staging_of_another_user(self):
        os.chown(self.staging, self.USER, self.USER)
        self.assert_result('Staging area', 'Success',
                           f'user {self.USER} can write')

    def test_staging_that_he_may_not_write_to(self):
        os.chown(self.staging, self.USER, self.USER)
        self.staging.chmod(0o500)
        self.assert_result('Staging area', 'Failure',
                           f'user {self.USER} cannot write')

    def test_tickets_that_he_may_not_write_to(self):
        os.chown(self.staging, self.USER, self.USER)
        with open(self.etc / 'glance-api.conf', 'a') as file:
            file.write('[xs_convert]\n'
                       f'lock_path = {self.scratch}/tickets\n')
        self.scratch.joinpath('tickets').mkdir(0o700)
        self.assert_result('Tickets', 'Failure',
                           f'imports fail: user {self.USER} cannot write')


class BeforeRemoval(StatusCase):

    def find(self):
        results, status = self.results('--before-removal')
        del results['Configuration']
        return results, status

    def test_everything_is_there(self):
        results, status = self.find()
        self.assertEqual(['Upload filter', 'Import plugins'],
                         [name for name, (result, _) in results.items()
                          if result == 'Failure'])
        self.assertIn('Glance would not start',
                      results['Upload filter'][1])
        self.assertEqual(2, status)


class Converter(StatusCase):

    CONVERTS = True

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
        result = api.check(io.BytesIO(host.sample(bytes(4096))))
        self.assertEqual(4096, result.virtual_size)
        self.assertEqual(['fixed'],
                         [layer.disk_type for layer in result.layers])


class Sandbox(StatusCase):

    CONVERTS = True

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

    CONVERTS = True

    def test_paths_stay_whole(self):
        ended = self.run_here('status')
        self.assertIn(f'{self.etc}/glance-image-import.conf', ended.stdout)

    def test_table(self):
        ended = self.run_here('status')
        self.assertRegex(ended.stdout, r'\| Converter starts +\| Success +\|')
        longest = max(len(str(self.etc)) + len('/glance-image-import.conf,'),
                      60)
        self.assertLess(max(map(len, ended.stdout.splitlines())),
                        longest + 40)

    def test_exit_status(self):
        ended = self.run_apart('status', '-f', 'value')
        self.assertEqual(0 if HAS_GLANCE else 2, ended.status)
        self.assertEqual('', ended.stderr)

    def test_check_that_breaks(self):
        with mock.patch.object(checks, 'run_all', autospec=True,
                               side_effect=RuntimeError('it broke')):
            self.assert_fails(self.run_here('status'), 'it broke', 255)

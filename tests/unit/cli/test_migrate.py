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

"""``glance-xs-convert migrate`` on a Glance in memory."""

import csv
import io
import json
import os
import pathlib
import signal
import sys
import tempfile
import time
import types
import unittest
from unittest import mock

from openstack import config
from openstack import exceptions

from glance_xs_convert.cli import migrate_common
from glance_xs_convert.cli import migrate_progress
from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import runner
from tests.unit.cli import base
from tests.unit.migrate import glance

BROKEN = 'The XenServer image cannot be converted: it is broken.'


class Cloud(glance.Glance):
    """What the commands ask for beside images."""

    def __init__(self):
        super().__init__()
        self.connection = types.SimpleNamespace(
            has_service=lambda service: False)
        self.methods = ['glance-download']

    def import_methods(self):
        return self.methods

    def region(self):
        return 'Region'

    interface = 'public'

    def usage(self):
        return {}

    def stores(self):
        return ['fast', 'slow']


class MigrateCase(base.CommandCase):
    """Calls the command."""

    def setUp(self):
        super().setUp()
        self.cloud = Cloud()
        patched = mock.patch.object(
            migrate_common.CloudCommand, 'connect',
            lambda command, parsed_args: self.cloud)
        patched.start()
        self.addCleanup(patched.stop)

    def migrate(self, *arguments, status=0):
        ended = self.run_here('migrate', *arguments, '-f', 'json')
        self.assertEqual(status, ended.status, ended.stderr)
        return json.loads(ended.stdout), ended.stderr


class TestCommands(MigrateCase):
    """They print what was done, and say whether all is well."""

    def test_list(self):
        self.cloud.add('a', name='web')
        rows, said = self.migrate('list')
        self.assertEqual([{
            'id': 'a', 'name': 'web', 'project': 'p1', 'size': 1000,
            'state': 'waiting', 'new_id': None, 'reason': ''}], rows)
        self.assertIn('ok: import method glance-download', said)
        self.cloud.methods = ['web-download']
        _, said = self.migrate('list', status=1)
        self.assertIn('OBSTACLE: this cloud does not enable the import method '
                      'glance-download or glance-direct', said)

    def test_run_and_undo(self):
        self.cloud.add('a')
        rows, said = self.migrate('run')
        self.assertEqual(['done'], [row['state'] for row in rows])
        self.assertIn('1 image migrated', said)
        rows, _ = self.migrate('report')
        self.assertEqual(glance.DISK, rows[0]['disk'])
        rows, _ = self.migrate('undo', 'a')
        self.assertEqual([True], [row['undone'] for row in rows])
        rows, _ = self.migrate('undo', 'a')
        self.assertEqual([], rows)

    def test_undo_leaves_alone_what_was_not_migrated(self):
        self.cloud.add('signed', img_signature='x')
        self.cloud.add('off', status='deactivated')
        self.cloud.add('a')
        self.migrate('run', 'a')
        rows, _ = self.migrate('undo', '--yes')
        self.assertEqual(['a'], [row['id'] for row in rows])

    def test_run_that_fails(self):
        self.cloud.add('a')
        self.cloud.add('b')
        self.cloud.messages = [BROKEN]
        rows, said = self.migrate('run', '--jobs', '1', status=1)
        self.assertEqual(['failed', 'done'], [row['state'] for row in rows])
        self.assertIn('Failed: a (', said)
        self.migrate('list', status=1)
        self.migrate('run', '--retry')

    def test_quiet(self):
        self.cloud.add('a')
        _, said = self.migrate('run', '--quiet')
        self.assertEqual('', said)

    def test_limit_and_dry_run(self):
        for name in 'abc':
            self.cloud.add(name)
        rows, _ = self.migrate('run', '--dry-run', '--limit', '2')
        self.assertEqual(['a', 'b'], [row['id'] for row in rows])
        self.assertEqual({*'abc'}, set(self.cloud.records))
        rows, _ = self.migrate('run', '--limit', '2')
        self.assertEqual(['done', 'done', 'waiting'],
                         [row['state'] for row in rows])

    def test_nobody_agreed(self):
        self.cloud.add('a')
        self.assert_fails(
            self.run_here('migrate', 'run', '--old', 'delete'), '--yes')
        self.migrate('run')
        self.assert_fails(self.run_here('migrate', 'undo'), '--yes')
        self.migrate('undo', '--yes')

    def test_files(self):
        self.cloud.add('a', name='web')
        with tempfile.TemporaryDirectory() as scratch:
            mapping = pathlib.Path(scratch) / 'ids.csv'
            page = pathlib.Path(scratch) / 'page.html'
            rows, _ = self.migrate('run', '--mapping', mapping)
            self.migrate('report', '--html', page)
            with mapping.open(newline='') as file:
                self.assertEqual(
                    [['old_id', 'new_id', 'used_by'],
                     ['a', rows[0]['new_id'], '']], list(csv.reader(file)))
            self.assertIn('web', page.read_text())
            ended = self.run_here('migrate', 'report', '--html',
                                  pathlib.Path(scratch) / 'no' / 'page')
            self.assertEqual(1, ended.status)
            self.assertIn('cannot be written', ended.stderr)

    def test_wrong_arguments(self):
        self.cloud.add('a')
        for arguments, message in (
                (('list', 'b'), 'these XenServer images do not exist: b'),
                (('run', '--stores', 'fast,none'),
                 'does not have a store none'),
                (('run', '--method', 'glance-direct'), 'glance-direct')):
            self.assert_fails(self.run_here('migrate', *arguments), message)

    def test_what_a_deleted_image_left(self):
        self.cloud.add('orphan', xs_convert_migrating='gone')
        self.migrate('run', '--name', '*')
        self.assertIn('orphan', self.cloud.records)
        self.migrate('run')
        self.assertEqual({}, self.cloud.records)

    def test_signal(self):
        self.cloud.add('a')
        self.cloud.add('b')

        interrupt = runner.Runner.interrupt
        before = signal.getsignal(signal.SIGINT)
        with mock.patch.object(runner.Runner, 'interrupt', autospec=True,
                               side_effect=interrupt) as seen:
            def meanwhile(name, *arguments):
                if name == '_begin_import':
                    os.kill(os.getpid(), signal.SIGINT)
                    while not seen.called:
                        time.sleep(0.01)

            self.cloud.meanwhile = meanwhile
            rows, said = self.migrate('run', '--jobs', '1', status=1)
        self.assertEqual(['done', 'waiting'], [row['state'] for row in rows])
        self.assertIn('Interrupted', said)
        self.assertIs(before, signal.getsignal(signal.SIGINT))


class TestConnection(base.CommandCase):
    """Who cannot be reached, and by what."""

    def test_without_openstacksdk(self):
        with mock.patch.dict(sys.modules, {'openstack': None}):
            ended = self.run_here('migrate', 'list')
        self.assert_fails(ended, 'pip install glance-xs-convert[migrate]')

    def test_unknown_cloud(self):
        ended = self.run_here('migrate', 'list', '--os-cloud', 'nowhere')
        self.assertEqual(1, ended.status)
        self.assertIn('nowhere', ended.stderr)

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


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgress(unittest.TestCase):
    """How far it is, in lines or on a terminal."""

    ROW = candidates.Row('a', 'web\x1b[2J', 'p', 1000, 'waiting')

    def show(self, stream, quiet=False):
        with migrate_progress.shown(stream, quiet, 2, 2000) as watch:
            watch.started(self.ROW)
            watch.told(self.ROW, 'Converting', 0.5)
            watch.refresh()
            watch.ended(runner.Outcome(
                candidates.Row('a', 'web', 'p', 1000, 'failed',
                               reason='broken'), 3.0))
            watch.refresh()
        return stream.getvalue()

    def test_lines(self):
        self.assertEqual(
            ['web\\x1b[2J: begun (a)', 'web: failed after 3 s: broken'],
            self.show(io.StringIO()).splitlines())

    def test_terminal(self):
        said = self.show(_Terminal())
        self.assertIn('Converting: 50%', said)
        self.assertIn('1 of 2 images', said)
        self.assertNotIn('\x1b[2J', said)
        self.assertTrue(said.endswith('\x1b[J'))

    def test_quiet(self):
        self.assertEqual('', self.show(_Terminal(), quiet=True))

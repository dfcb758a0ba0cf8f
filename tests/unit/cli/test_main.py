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

"""The command as such: its help, its start, and what it logs."""

import importlib.metadata
import sys


from testbed.images import chains
from testbed.images import vhd
from tests.unit.cli import base

MIB = vhd.MIB


class Start(base.CommandCase):

    def test_help(self):
        for arguments in ((), ('--help',), ('help',)):
            ended = self.run_apart(*arguments)
            self.assertEqual(0, ended.status)
            for command in ('check', 'convert', 'inspect', 'status'):
                self.assertIn(f'  {command} ', ended.stdout)

    def test_documented_help_shows_the_defaults(self):
        """The documentation takes the help as it is, unlike argparse."""
        package = importlib.metadata.distribution('glance-xs-convert')
        shown = []
        for point in package.entry_points:
            if point.group == 'glance_xs_convert.cli':
                parser = point.load()(None, None).get_parser(point.name)
                shown += [action.help for action in parser._actions
                          if action.help]
        self.assertEqual([], [text for text in shown if '%(' in text])
        self.assertTrue(any('(default: best_effort)' in text
                            for text in shown))

    def test_version(self):
        ended = self.run_apart('--version')
        self.assertEqual(0, ended.status)
        self.assertRegex(ended.stdout, r'\d\.\d')

    def loaded(self, *arguments):
        """What is loaded at the end of a command."""
        code = ('import sys; from glance_xs_convert.cli import main; '
                'main.main(sys.argv[1:]); '
                'print(*sys.modules, file=sys.stderr)')
        return self.run_apart('-c', code, *arguments,
                              command=[sys.executable]).stderr.split()

    def test_loads_only_what_it_needs(self):
        """What is slow to load is loaded by the commands that use it."""
        loaded = self.loaded(
            'inspect', self.source(chains.story_chain().archive))
        self.assertIn('cliff.app', loaded)
        for module in ('cmd2', 'glance', 'oslo_config', 'oslo_log', 'rich',
                       'taskflow', 'tqdm'):
            self.assertNotIn(module, loaded)

    def test_other_processes_read_images(self):
        """They are not read in the process that writes to the terminal."""
        path = self.source(chains.story_chain().archive)
        for arguments in (['check', path], ['inspect', path],
                          ['convert', path, self.target]):
            loaded = self.loaded(*arguments)
            self.assertIn('glance_xs_convert.worker.parent', loaded)
            self.assertNotIn('glance_xs_convert.cli.adapt', loaded)
            self.assertNotIn('glance_xs_convert.cli.status', loaded)
            self.assertNotIn('glance_xs_convert.cli.migrate', loaded)
            self.assertEqual([], [
                module for module in loaded
                if module.startswith('glance_xs_convert.converter')])

    def test_unknown_command(self):
        ended = self.run_apart('convrt')
        self.assertEqual((2, ''), (ended.status, ended.stderr))
        self.assertIn('\n  convert\n', ended.stdout)


class Log(base.CommandCase):
    """What other packages log reaches the terminal in single lines."""

    def log(self, *arguments):
        """Run a command that logs at each level."""
        code = """if 1:
            import logging, sys
            from glance_xs_convert.cli import main, check
            def take_action(self, parsed_args):
                for level in (logging.DEBUG, logging.INFO, logging.WARNING):
                    logging.getLogger('other').log(
                        level, 'at %s\\n\\x1b[2J', level)
                return (), ()
            check.Check.take_action = take_action
            sys.exit(main.main(sys.argv[1:]))
        """
        ended = self.run_apart('-c', code, *arguments, 'check', 'x',
                               command=[sys.executable])
        self.assertEqual(0, ended.status, ended.stderr)
        return ended.stderr.splitlines()

    def test_warnings(self):
        self.assertEqual([r'at 30\n\x1b[2J'], self.log())

    def test_more_on_request(self):
        lines = self.log('--verbose')
        self.assertLessEqual({r'at 20\n\x1b[2J', r'at 30\n\x1b[2J'}, {*lines})
        self.assertTrue(all(line.isprintable() for line in lines))

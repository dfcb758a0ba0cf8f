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

"""The contracts on imports in ``pyproject.toml`` hold, and can be broken.

A contract that nothing can break is no better than none, so each one is
shown an import that it has to object to.
"""

import ast
import re
import shutil
import subprocess
import sys
import unittest

from tests.unit import cases

PACKAGE = 'glance_xs_convert'
_LINT = (sys.executable, '-c',
         'from importlinter import cli; cli.lint_imports_command()',
         '--cache-dir=cache')

#: For each contract, modules that are planted and what they import.
WRONG = {
    'wings': [
        ('converter.planted', f'{PACKAGE}.worker'),
        ('worker.planted', f'{PACKAGE}.plugin.task'),
        ('worker.planted', f'{PACKAGE}.guest.adapt'),
        ('guest.planted', f'{PACKAGE}.recovery.claims'),
        ('plugin.planted', f'{PACKAGE}.deployment.checks'),
        ('plugin.planted', f'{PACKAGE}.cli.main'),
        ('deployment.planted', f'{PACKAGE}.cli.common'),
        ('migrate.planted', f'{PACKAGE}.cli.common'),
        ('migrate.planted', f'{PACKAGE}.deployment.checks'),
        ('exceptions', f'{PACKAGE}.converter.convert'),
        ('results', f'{PACKAGE}.converter.convert'),
        ('text', f'{PACKAGE}.image_limits'),
    ],
    'rooms': [
        ('converter.streams.planted', f'{PACKAGE}.converter.disk.extents'),
        ('converter.disk.planted', f'{PACKAGE}.converter.vhd.layout'),
        ('converter.vhd.planted', f'{PACKAGE}.converter.convert'),
        ('converter.vhd.planted', f'{PACKAGE}.converter.xva.chunks'),
        ('converter.xva.planted', f'{PACKAGE}.converter.vhd.layout'),
        ('converter.containers.planted', f'{PACKAGE}.converter.vhd.layout'),
        ('converter.containers.planted', f'{PACKAGE}.converter.detect'),
        ('converter.opening', f'{PACKAGE}.converter.survey'),
    ],
    'pass': [
        ('converter.one_pass', f'{PACKAGE}.converter.vhd.image'),
    ],
    'outside-glance': [
        ('cli.planted', f'{PACKAGE}.plugin.task'),
        ('cli.planted', f'{PACKAGE}.recovery.host'),
        ('deployment.planted', f'{PACKAGE}.plugin.upload_filter'),
    ],
    'recovery': [
        ('recovery.planted', f'{PACKAGE}.converter.convert'),
        ('recovery.planted', f'{PACKAGE}.worker.parent'),
        ('recovery.planted', f'{PACKAGE}.options'),
    ],
    'without-glance': [
        ('cli.planted', 'glance.common'),
        ('deployment.planted', 'glance.common.config'),
        ('worker.planted', 'taskflow.task'),
        ('options', 'glance'),
    ],
    'pure-converter': [
        ('converter.planted', 'oslo_config.cfg'),
        ('converter.vhd.planted', 'logging'),
        ('converter.streams.planted', 'openstack'),
        ('converter.containers.planted', 'glance.api'),
        ('converter.disk.planted', 'pathlib'),
    ],
    'parent': [
        ('worker.parent', f'{PACKAGE}.converter.convert'),
        ('worker.process', f'{PACKAGE}.worker.child'),
        ('worker.replies', f'{PACKAGE}.worker.resources'),
    ],
    'child': [
        ('worker.child', f'{PACKAGE}.worker.replies'),
        ('worker.child', f'{PACKAGE}.publish'),
        ('worker.resources', 'subprocess'),
    ],
    'formats': [
        ('converter.vhd.planted', f'{PACKAGE}.converter.disk.raw_disk'),
        ('converter.containers.planted',
         f'{PACKAGE}.converter.disk.dry_run'),
    ],
    'guest': [
        ('guest.planted', 'glance.common'),
        ('guest.planted', 'oslo_config.cfg'),
        ('guest.planted', f'{PACKAGE}.converter.convert'),
    ],
    'warden': [
        ('guest.warden', f'{PACKAGE}.exceptions'),
        ('guest.warden', 'subprocess'),
    ],
    'migrate': [
        ('migrate.planted', f'{PACKAGE}.plugin.task'),
        ('migrate.planted', 'glance.common'),
        ('migrate.planted', 'oslo_config.cfg'),
        ('migrate.planted', 'taskflow.task'),
    ],
    'migrate-converts': [
        ('migrate.planted', f'{PACKAGE}.converter.convert'),
        ('migrate.planted', f'{PACKAGE}.api'),
    ],
}


class Imports(cases.ScratchCase):
    """Lints a copy of the package."""

    def setUp(self):
        super().setUp()
        shutil.copy(cases.ROOT / 'pyproject.toml', self.scratch)
        shutil.copytree(cases.ROOT / PACKAGE, self.scratch / PACKAGE)

    def plant(self, module, imported):
        path = self.scratch / PACKAGE / f'{module.replace(".", "/")}.py'
        with path.open('a') as file:
            file.write(f'import {imported}\n')

    def lint(self, *options):
        return subprocess.run([*_LINT, *options], cwd=self.scratch, text=True,
                              capture_output=True, check=False)

    def contracts(self):
        """The names of the contracts, by their ids."""
        text = self.scratch.joinpath('pyproject.toml').read_text()
        return dict(re.findall(r'^id = "(.*)"\nname = "(.*)"$', text,
                               re.MULTILINE))

    def test_package_keeps_the_contracts(self):
        linted = self.lint()
        self.assertEqual(0, linted.returncode, linted.stdout)

    def test_wrong_imports_are_found(self):
        names = self.contracts()
        self.assertEqual(sorted(WRONG), sorted(names))
        for planted in WRONG.values():
            for module, imported in planted:
                self.plant(module, imported)
        linted = self.lint()
        self.assertEqual(1, linted.returncode, linted.stdout)
        # Each broken contract has a section, whose title is underlined.
        parts = re.split(r'^(.+)\n-+$', linted.stdout, flags=re.MULTILINE)
        reports = dict(zip(parts[1::2], parts[2::2], strict=True))
        for contract, planted in WRONG.items():
            report = ' '.join(reports[names[contract]].split())
            for module, imported in planted:
                # Other packages are known by their root alone.
                target = (imported if imported.startswith(PACKAGE)
                          else imported.partition('.')[0])
                with self.subTest(contract, module=module, target=target):
                    self.assertIn(f'{PACKAGE}.{module} -> {target} ', report)

    def test_new_wings_have_to_find_their_place(self):
        self.plant('attic', 'os')
        linted = self.lint('--contract=wings')
        self.assertEqual(1, linted.returncode, linted.stdout)
        self.assertIn('attic', linted.stdout)


def imported(path):
    """The modules that a file imports, by their whole names."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


class Workshop(unittest.TestCase):
    """What is not in the package."""

    def test_nobody_uses_the_tests(self):
        for directory in (PACKAGE, 'testbed', 'tools'):
            files = list(cases.ROOT.joinpath(directory).rglob('*.py'))
            self.assertTrue(files)
            for path in files:
                wrong = [name for name in imported(path)
                         if name.partition('.')[0] == 'tests']
                self.assertEqual([], wrong, path)

    def test_the_testbed_uses_no_code_of_the_converter(self):
        """It would be no judge of it."""
        for path in cases.ROOT.joinpath('testbed', 'images').rglob('*.py'):
            wrong = [name for name in imported(path)
                     if name.partition('.')[0] == PACKAGE]
            self.assertEqual([], wrong, path)


class Names(unittest.TestCase):
    """A name means one thing in a module."""

    def hidden(self, text):
        """The imported modules that parameters of functions hide."""
        tree = ast.parse(text)
        modules = {alias.asname or alias.name for node in ast.walk(tree)
                   if isinstance(node, ast.Import | ast.ImportFrom)
                   for alias in node.names}
        return sorted(node.arg for node in ast.walk(tree)
                      if isinstance(node, ast.arg) and node.arg in modules)

    def test_no_parameter_hides_a_module(self):
        for directory in (PACKAGE, 'testbed', 'tools'):
            for path in cases.ROOT.joinpath(directory).rglob('*.py'):
                self.assertEqual([], self.hidden(path.read_text()), path)

    def test_hidden_modules_are_found(self):
        for line in ('def f(a, text): pass', 'def f(a, *, text=None): pass',
                     'f = lambda text: None', 'def f(*text): pass'):
            with self.subTest(line):
                self.assertEqual(['text'], self.hidden(
                    'from glance_xs_convert import text\n' + line))


class Helpers(cases.ScratchCase):
    """What tests share is in modules that have no tests of their own."""

    def wrong(self, directory):
        """Imports of test modules below a directory."""
        return [name for path in directory.rglob('*.py')
                for name in imported(path)
                if any(part.startswith('test_') for part in name.split('.'))]

    def test_no_test_module_is_imported(self):
        self.assertEqual([], self.wrong(cases.ROOT / 'tests'))

    def test_imports_of_test_modules_are_found(self):
        for line in ('import tests.unit.test_text',
                     'from tests.unit import test_text',
                     'from tests.unit.test_text import Text',
                     'def helper():\n    from tests.unit import test_text'):
            with self.subTest(line):
                self.scratch.joinpath('test_planted.py').write_text(line)
                self.assertEqual(1, len(self.wrong(self.scratch)))


class Modules(cases.ScratchCase):
    """Each module that can fail has a test module of its name."""

    def untested(self, package, tests):
        """The modules of a package with code, but without tests."""
        return [path for path in sorted(package.rglob('*.py'))
                if path.name != '__init__.py' and _has_code(path)
                and not (tests / path.relative_to(package).parent
                         / f'test_{path.name}').exists()]

    def test_package_has_its_tests(self):
        self.assertEqual([], self.untested(
            cases.ROOT / PACKAGE, cases.ROOT / 'tests' / 'unit'))

    def test_untested_modules_are_found(self):
        package, tests = self.scratch / 'package', self.scratch / 'tests'
        for path, text in (
                (package / 'room' / 'code.py', 'def half(x):\n  return x / 2'),
                (package / 'room' / 'tested.py', 'def one():\n  return 1'),
                (package / 'room' / 'names.py', 'ONE = "one"'),
                (package / 'form.py',
                 'class Form:\n  def do(self):\n    """Do it."""'),
                (tests / 'room' / 'test_tested.py', ''),
                (tests / 'test_code.py', '')):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.assertEqual([package / 'room' / 'code.py'],
                         self.untested(package, tests))


def _has_code(path):
    """Whether a module has functions that do something."""
    return any(not isinstance(statement, ast.Expr)
               or not isinstance(statement.value, ast.Constant)
               for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.FunctionDef)
               for statement in node.body)

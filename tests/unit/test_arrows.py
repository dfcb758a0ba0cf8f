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
        ('worker.planted', f'{PACKAGE}.plugin.opts'),
        ('plugin.planted', f'{PACKAGE}.deployment.checks'),
        ('plugin.planted', f'{PACKAGE}.cli.main'),
        ('deployment.planted', f'{PACKAGE}.cli.common'),
        ('migrate.planted', f'{PACKAGE}.cli.common'),
        ('migrate.planted', f'{PACKAGE}.deployment.checks'),
        ('exceptions', f'{PACKAGE}.converter.convert'),
    ],
    'rooms': [
        ('converter.streams.planted', f'{PACKAGE}.converter.disk.extents'),
        ('converter.disk.planted', f'{PACKAGE}.converter.vhd.layout'),
        ('converter.vhd.planted', f'{PACKAGE}.converter.convert'),
    ],
    'pass': [
        ('converter.one_pass', f'{PACKAGE}.converter.vhd.image'),
    ],
    'options': [
        ('cli.planted', f'{PACKAGE}.plugin.task'),
        ('deployment.planted', f'{PACKAGE}.plugin.upload_filter'),
    ],
    'without-glance': [
        ('cli.planted', 'glance.common'),
        ('deployment.planted', 'glance.common.config'),
        ('worker.planted', 'taskflow.task'),
        ('plugin.opts', 'glance'),
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
        ('worker.child', f'{PACKAGE}.files'),
        ('worker.resources', 'subprocess'),
    ],
    'formats': [
        ('converter.vhd.planted', f'{PACKAGE}.converter.disk.raw_disk'),
        ('converter.containers.planted',
         f'{PACKAGE}.converter.disk.dry_run'),
    ],
    'migrate': [
        ('migrate.planted', f'{PACKAGE}.plugin.opts'),
        ('migrate.planted', 'glance.common'),
        ('migrate.planted', 'oslo_config.cfg'),
        ('migrate.planted', 'taskflow.task'),
    ],
    'migrate-converts': [
        ('migrate.planted', f'{PACKAGE}.converter.convert'),
        ('migrate.planted', f'{PACKAGE}.api'),
    ],
}


class Arrows(cases.ScratchCase):
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
        text = self.scratch.joinpath('pyproject.toml').read_text()
        return re.findall(r'^id = "(.*)"$', text, re.MULTILINE)

    def test_package_keeps_the_contracts(self):
        linted = self.lint()
        self.assertEqual(0, linted.returncode, linted.stdout)

    def test_wrong_imports_are_found(self):
        self.assertEqual(sorted(WRONG), sorted(self.contracts()))
        for planted in WRONG.values():
            for module, imported in planted:
                self.plant(module, imported)
        for contract, planted in WRONG.items():
            linted = self.lint(f'--contract={contract}')
            self.assertEqual(1, linted.returncode, linted.stdout)
            report = ' '.join(linted.stdout.split())
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

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

"""What the documentation says is so."""

import configparser
import filecmp
import inspect
import pathlib
import re
import tempfile

from oslo_config import cfg
from oslo_config import generator
import testtools

from glance_xs_convert import exceptions

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = ROOT / 'doc' / 'source'

#: A title in CamelCase, as it is underlined in reStructuredText.
ERROR_TITLE = re.compile(r'^([A-Z][a-z]+(?:[A-Z][a-z]+)+)\n([-=~])\2+$',
                         re.MULTILINE)
TOX_RUN = re.compile(r'\btox (?:run )?-e ([a-z0-9,]+)')


def text_of(*path):
    return ROOT.joinpath(*path).read_text(encoding='utf-8')


def tox_runs(text):
    """The environments of each call of tox."""
    return [found.split(',') for found in TOX_RUN.findall(text)]


class TestErrors(testtools.TestCase):

    def test_each_class_has_a_section(self):
        classes = {name for name, _ in inspect.getmembers(
            exceptions, inspect.isclass)}
        titles = [title for title, _ in ERROR_TITLE.findall(
            text_of('doc', 'source', 'reference', 'errors.rst'))]
        self.assertEqual(sorted(classes), sorted(titles))


class TestCommands(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.tox = configparser.RawConfigParser()
        self.tox.read_string(text_of('tox.ini'))

    def environments(self):
        """The names of the environments in tox.ini.

        A section may be for several: ``name{,-one,-other}``.
        """
        for section in self.tox.sections():
            name, _, variants = section.removeprefix(
                'testenv:').rstrip('}').partition('{')
            for variant in variants.split(','):
                yield name + variant

    def test_environments_are_defined(self):
        defined = set(self.environments())
        pages = ['README.rst', 'CONTRIBUTING.rst', 'HACKING.rst', *(
            str(path.relative_to(ROOT)) for path in DOC.rglob('*.rst'))]
        for page in pages:
            for environments in tox_runs(text_of(page)):
                self.assertLessEqual(set(environments), defined, page)

    def test_readme_has_both_commands(self):
        runs = tox_runs(text_of('README.rst'))
        self.assertIn(['demo'], runs)
        self.assertIn(['pep8', 'unit', 'functional'], runs)

    def test_ci_runs_the_test_command_of_the_readme(self):
        [ran] = tox_runs(text_of('.ci', 'run'))
        self.assertIn(ran, tox_runs(text_of('README.rst')))


class TestConfiguration(testtools.TestCase):

    def test_sample_is_up_to_date(self):
        sample = ROOT / 'etc' / 'glance-image-import.conf.sample'
        with tempfile.TemporaryDirectory() as directory:
            made = pathlib.Path(directory, 'sample')
            conf = cfg.ConfigOpts()
            generator.register_cli_opts(conf)
            conf(['--config-file',
                  str(ROOT / 'etc' / 'oslo-config-generator.conf'),
                  '--output-file', str(made)], project='generator')
            generator.generate(conf)
            self.assertTrue(filecmp.cmp(made, sample, shallow=False),
                            'run: tox -e genconfig')

    def test_properties_for_kvm_are_the_same_everywhere(self):
        page = text_of('doc', 'source', 'user', 'boot.rst')
        documented = re.search(
            r'remove_properties =\n((?: {7}.*\n)+)', page)[1]
        settings = re.findall(
            r'GLANCE_XS_CONVERT_REMOVE_PROPERTIES\+?="(.*)"',
            text_of('devstack', 'settings'))
        self.assertEqual(
            re.findall(r'[^\s,]+', documented),
            re.findall(r'[^\s,]+', ''.join(settings)))

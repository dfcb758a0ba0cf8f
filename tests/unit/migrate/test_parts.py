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

"""The small parts."""

import ast
import html.parser
import io
import itertools
import types
import unittest

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import preflight
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import report
from glance_xs_convert.migrate import task_text
from tests.unit import cases

PACKAGE = cases.ROOT / 'glance_xs_convert'
#: The errors for which the host is to blame, where an import raises them.
OF_THE_HOST = ('OutOfSpace', 'UnreadableSource', 'UnwritableTarget',
               'ConverterStopped', 'SandboxIncomplete')
IN_AN_IMPORT = ('converter/disk', 'worker', 'plugin')
#: What a converter does that the archive has taken over.
OF_A_HOSTILE_ARCHIVE = ('sent an invalid message', 'sent too many messages')


def texts_of(*names):
    """The texts with which an import raises errors, without their values."""
    for path in itertools.chain.from_iterable(
            PACKAGE.joinpath(room).rglob('*.py') for room in IN_AN_IMPORT):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if (isinstance(node, ast.Call) and node.args
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in names):
                yield ''.join(part.value for part in ast.walk(node.args[0])
                              if isinstance(part, ast.Constant)
                              and isinstance(part.value, str))


class TestTaskText(unittest.TestCase):
    """What the plugin says is understood."""

    def test_faults_of_the_host_are_known_by_their_texts(self):
        texts = list(texts_of(*OF_THE_HOST))
        self.assertGreater(len(texts), len(OF_THE_HOST))
        for text in texts:
            with self.subTest(text):
                self.assertEqual(
                    any(words in text for words in OF_A_HOSTILE_ARCHIVE),
                    task_text.blames_archive(
                        f'The XenServer image cannot be converted: {text}.'))

    def test_who_is_to_blame(self):
        why = 'The XenServer image cannot be converted: '
        for message, archive in (
                (why + '1.vhd: it names another parent.', True),
                (why + 'there is no space left for the raw disk.', False),
                (why + 'the image service was stopped while it did so.',
                 False),
                (why + 'the converter ended unexpectedly, with status -9.',
                 False),
                ('Task failed due to Internal Error', False), ('', False)):
            self.assertEqual(archive, task_text.blames_archive(message))

    def test_numbers(self):
        self.assertEqual(5243392, task_text.reported_size(
            'Converted the XenServer image: 2 layers, 5243392 bytes'))
        self.assertIsNone(task_text.reported_size('Copied 5 MiB'))
        self.assertEqual(0.43, task_text.fraction(
            'Converting the XenServer image: 43%, layer 2 (1.vhd)'))
        self.assertIsNone(task_text.fraction('Copied 5 MiB'))


class TestPatience(unittest.TestCase):
    """Pauses grow, and are not the same for all."""

    def test_back_off(self):
        one, other = (list(patience.back_off(8)) for _ in range(2))
        self.assertNotEqual(one, other)
        for number, pause in enumerate(one):
            longest = min(0.5 * 2 ** number, 30)
            self.assertTrue(longest / 2 <= pause <= longest)

    def test_end(self):
        clock = patience.Clock()
        clock.pause(0)
        clock.end()
        with self.assertRaises(patience.Interrupted):
            clock.pause(60)


class TestRecord(unittest.TestCase):
    """Properties are copied, unless they are Glance's own."""

    def test_what_is_not_copied(self):
        image = dict.fromkeys((
            'id', 'status', 'checksum', 'os_hash_value', 'direct_url',
            'locations', 'stores', 'os_glance_import_task', 'img_signature',
            'img_signature_key_type', 'xs_convert_replaced_by', 'self'), 'x')
        self.assertEqual({'hw_disk_bus': 'scsi', 'os_hashed': 'y'},
                         record.properties(image | {
                             'hw_disk_bus': 'scsi', 'os_hashed': 'y'}))

    def test_names_are_escaped(self):
        changes = record.changes({'a/b': '1'}, {'a/b': '2', 'c~d': '3'})
        self.assertEqual([('replace', '/a~1b'), ('add', '/c~0d')],
                         [(change['op'], change['path'])
                          for change in changes])


class TestMethods(unittest.TestCase):
    """The method is chosen among those that are enabled."""

    def choose(self, wanted, enabled, region='R'):
        return methods.choose(types.SimpleNamespace(
            import_methods=lambda: enabled, region=lambda: region,
            interface='public'), wanted).name

    def test_choice(self):
        both = ['glance-direct', 'glance-download']
        self.assertEqual('glance-download', self.choose('auto', both))
        self.assertEqual('glance-direct', self.choose('auto', both, None))
        self.assertEqual('glance-direct', self.choose('auto', both[:1]))
        self.assertEqual('glance-direct',
                         self.choose('glance-direct', both))

    def test_no_choice(self):
        for wanted, enabled, region, reason in (
                ('auto', ['web-download'], 'R', 'web-download'),
                ('glance-download', ['glance-direct'], 'R', 'glance-direct'),
                ('glance-download', ['glance-download'], None, 'region')):
            with self.assertRaisesRegex(errors.CannotMigrate, reason):
                self.choose(wanted, enabled, region)


class TestPreflight(unittest.TestCase):
    """What is found out beforehand."""

    def test_quotas(self):
        rows = [candidates.Row('a', 'a', 'p', 700 * 1024 ** 2, 'waiting'),
                candidates.Row('b', 'b', 'p', 1, 'done')]
        cloud = types.SimpleNamespace(
            import_methods=lambda: ['glance-direct'], region=lambda: None,
            usage=lambda: {
                'image_count_total': {'limit': 10, 'usage': 9},
                'image_size_total': {'limit': 1000, 'usage': 400},
                'image_stage_total': {'limit': -1, 'usage': 0}})
        findings = preflight.look(cloud, rows, 'auto')
        self.assertEqual(
            {'quota image_size_total: 600 of 1000 are left, and at least 700 '
             'are needed'},
            {finding.sentence for finding in findings if not finding.ok})
        self.assertTrue(any('700 MiB' in finding.sentence
                            for finding in findings))

    def test_stores(self):
        cloud = types.SimpleNamespace(stores=lambda: ['fast', 'slow'])
        preflight.check_stores(cloud, ('slow',))
        with self.assertRaisesRegex(errors.WrongArguments, 'fast, slow'):
            preflight.check_stores(cloud, ('slow', 'other'))


class TestReferences(unittest.TestCase):
    """Nova and Cinder are asked, if they are there."""

    def cloud(self, services, servers=lambda **query: ()):
        def volumes(**query):
            self.assertEqual({'all_projects': True}, query)
            return [types.SimpleNamespace(
                id='v', volume_image_metadata={'image_id': 'a'}),
                types.SimpleNamespace(id='w', volume_image_metadata=None)]

        return types.SimpleNamespace(
            is_admin=True, connection=types.SimpleNamespace(
                has_service=services.__contains__,
                compute=types.SimpleNamespace(servers=servers),
                block_storage=types.SimpleNamespace(volumes=volumes)))

    def test_servers_and_volumes(self):
        def servers(**query):
            return [types.SimpleNamespace(id='s', image={'id': 'a'}),
                    types.SimpleNamespace(id='t', image=None)]

        users = references.Users(self.cloud(
            ('compute', 'block-storage'), servers), ['a', 'b'])
        self.assertEqual(['server s', 'volume v'], users.of('a'))
        self.assertEqual([], users.of('b'))
        self.assertEqual([], users.unseen)

    def test_neither_is_needed(self):
        self.assertEqual([], references.Users(
            self.cloud(()), ['a']).of('a'))

    def test_one_that_cannot_be_asked(self):
        def servers(**query):
            raise RuntimeError('not\nallowed')

        users = references.Users(self.cloud(
            ('compute', 'block-storage'), servers), ['a'])
        self.assertEqual(['servers: not allowed'], users.unseen)
        self.assertEqual(['volume v'], users.of('a'))


class _Page(html.parser.HTMLParser):
    """Collects the texts and addresses of a page."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.links, self.widths = [], [], []
        self.feed(page)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ('src', 'href'):
                self.links.append(value)
            if name == 'style':
                self.widths.append(value)


class TestReport(unittest.TestCase):
    """Managers can read it."""

    def lines(self):
        facts = candidates.NewImage(
            4096, 'sha512', 'ab' * 64, 'sha512:' + 'ab' * 64,
            '2026-01-01T00:00:00Z', '75')
        return report.lines([
            candidates.Row('a', '<b>&', 'p', 1024, 'done', 'n', new=facts,
                           retired='hidden'),
            candidates.Row('b', 'gone', 'p', None, 'done', 'm', new=facts,
                           old_is_gone=True, reason='deleted'),
            candidates.Row('c', 'c', 'p', 1, 'waiting')])

    def test_lines(self):
        one, other = self.lines()
        self.assertEqual(('a', 'n', 1024, 4096, 75, 'hidden'),
                         (one.old_id, one.new_id, one.archive, one.disk,
                          one.seconds, one.old_image))
        self.assertEqual('deleted', other.old_image)

    def test_page(self):
        target = io.StringIO()
        report.write_html(target, self.lines(), 7, 'today')
        page = _Page(target.getvalue())
        self.assertIn('<b>&', page.texts)
        self.assertIn('7', page.texts)
        self.assertIn('1 min 15 s', page.texts)
        self.assertEqual([], page.links)
        self.assertIn('width:25.0%', page.widths)

    def test_empty_page(self):
        target = io.StringIO()
        report.write_html(target, [], 0, 'today')
        self.assertIn('Not yet converted', target.getvalue())

    def test_mapping(self):
        target = io.StringIO()
        users = types.SimpleNamespace(
            of=lambda image_id: ['server 1', 'volume 2'])
        report.write_mapping(target, [('a', 'n')], users)
        self.assertEqual('old_id,new_id,used_by\r\na,n,server:1 volume:2\r\n',
                         target.getvalue())

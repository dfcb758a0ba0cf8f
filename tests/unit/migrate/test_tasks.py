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

"""What tasks say is understood."""

import ast
import unittest

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import tasks
from glance_xs_convert import text
from tests.unit import cases

#: Where an import raises errors.
IN_AN_IMPORT = ('converter', 'worker', 'plugin', 'recovery')


def task(task_id='t', status='processing', message='', created_at='1',
         updated_at='1'):
    return tasks.Task.of({
        'id': task_id, 'status': status, 'message': message,
        'created_at': created_at, 'updated_at': updated_at})


def kinds_of_imports():
    """The kinds of errors that are raised somewhere in an import."""
    for room in IN_AN_IMPORT:
        for path in (cases.ROOT / 'glance_xs_convert' / room).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if (isinstance(node, ast.Attribute)
                        and isinstance(node.value, ast.Name)
                        and node.value.id == 'exceptions'
                        and exceptions.by_kind(node.attr)):
                    yield node.attr


class TestMessages(unittest.TestCase):
    """Kinds are read, and no prose."""

    def test_kinds(self):
        message = text.tagged('memory.vhd: no space left.', 'EncryptedVhd')
        found = task(message=message)
        self.assertEqual(('EncryptedVhd', message),
                         (found.kind, found.message))
        self.assertIsNone(task(message='Task failed: [NoVhd] x').kind)
        self.assertIsNone(tasks.Task.of({'message': None}).kind)

    def test_long_messages_keep_their_kind(self):
        found = task(message=text.tagged('x' * 60000, 'NoVhd'))
        self.assertEqual('NoVhd', found.kind)
        self.assertLess(len(found.message), 1100)

    def test_messages_are_safe_to_show(self):
        self.assertTrue(task(message='\x1b[2J\u202e').message.isprintable())

    def test_who_is_to_blame(self):
        for kind, archive in (
                ('MissingLayer', True), ('EncryptedVhd', True),
                ('LimitExceeded', True), ('OutOfSpace', False),
                ('ConverterStopped', False), ('UnheardOf', False),
                ('NotStored', False), ('ImportAborted', False),
                ('QuotaExceeded', False), ('NotPermitted', False),
                ('DiskTooLarge', True), ('ContentRefused', True),
                ('ServiceFailed', False),
                ('by_kind', False), (None, False)):
            self.assertEqual(archive, tasks.blames_archive(kind), kind)

    def test_what_operators_have_to_change(self):
        for kind, concerns in (('QuotaExceeded', True), ('NotPermitted', True),
                               ('NotStored', False), ('NoVhd', False),
                               (None, False), ('UnheardOf', False)):
            self.assertEqual(concerns, tasks.concerns_operators(kind), kind)

    def test_hosts_that_are_stopped_or_busy_are_not_the_archives_fault(self):
        found = set(kinds_of_imports())
        self.assertIn('OutOfSpace', found)
        for kind in ('TooManyWaiting', 'ImportInterrupted'):
            self.assertFalse(tasks.blames_archive(kind))
        self.assertTrue(tasks.asks_for_patience('TooManyWaiting'))
        self.assertFalse(tasks.asks_for_patience('OutOfSpace'))

    def test_numbers(self):
        self.assertEqual(5243392, task(
            message='Converted the XenServer image: 2 layers, 5.0 MiB '
                    '(5243392 bytes). Warning: the guest was paravirtualized'
        ).size)
        # An older plugin's message.
        self.assertEqual(5243392, task(
            message='Converted the XenServer image: 2 layers, 5243392 bytes'
        ).size)
        self.assertIsNone(task(message='Copied 5 MiB').size)
        self.assertIsNone(task(message='Converted ²² bytes').size)
        self.assertEqual(0.43, task(
            message='Converting the XenServer image: 43%, layer 2').fraction)
        self.assertIsNone(task(message='Copied 5 MiB').fraction)


class TestCurrent(unittest.TestCase):
    """Tasks with the same second are told apart."""

    def test_lock_tells(self):
        both = [task('a', created_at='1'), task('b', created_at='1')]
        for lock in 'ab':
            for found in (both, both[::-1]):
                self.assertEqual(lock, tasks.current(found, lock, ()).id)

    def test_what_had_ended_before_does_not_count(self):
        ended = task('a', 'failure', created_at='1')
        now = task('b', 'failure', created_at='1')
        for found in ([ended, now], [now, ended]):
            self.assertEqual('b', tasks.current(found, None, {'a'}).id)
        self.assertIsNone(tasks.current([ended], None, {'a'}))
        self.assertIsNone(tasks.current([], 'a', ()))

    def test_what_runs_comes_first(self):
        found = [task('a', 'failure', created_at='1', updated_at='9'),
                 task('b', 'processing', created_at='1')]
        self.assertEqual('b', tasks.current(found, None, ()).id)

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

"""``glance-xs-convert convert``, and what all commands have in common."""

import contextlib
import io
import os
import pathlib
import re
import signal
import tarfile
import threading
import time

import ddt

from testbed.clouds import services
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import shapes
from testbed.images import vhd
from tests.unit import cases
from tests.unit.cli import base

MIB = vhd.MIB


class Convert(base.CommandCase):

    def setUp(self):
        super().setUp()
        self.story = chains.story_chain()
        self.archive = self.source(self.story.archive)

    def assert_story(self, ended):
        self.assertEqual(0, ended.status, ended.stderr)
        self.assertIsNone(model.difference(self.target, self.story.layers))
        self.assertEqual([self.target.name], os.listdir(self.output))

    def test_says_what_was_made(self):
        ended = self.run_here('convert', self.archive, self.target)
        self.assert_story(ended)
        self.assertRegex(
            ended.stdout,
            rf'\A{self.target}: 64 MiB \({self.story.size} bytes\), '
            r'2\.\d MiB of it allocated\n'
            r'made from 3 layers in \d+\.\d seconds\n\Z')
        self.assertEqual('', ended.stderr)

    def test_one_layer(self):
        source = self.source(archive.tgz(
            archive.chain_members([vhd.Layer(MIB)])))
        ended = self.run_here('convert', source, self.target)
        self.assertIn('made from 1 layer in', ended.stdout)

    def test_quiet(self):
        for arguments in (('convert', '--quiet'), ('-q', 'convert')):
            ended = self.run_here(*arguments, self.archive, self.target)
            self.assert_story(ended)
            self.assertEqual(('', ''), (ended.stdout, ended.stderr))
            self.target.unlink()

    def test_notes(self):
        """They go to standard error, in the words of check and inspect."""
        shape = shapes.accepted()['full and delta, not linked']
        source = self.source(archive.tgz(shape.members))
        note = self.run_here('inspect', source).stdout.splitlines()[-1]
        self.assertRegex(note, r'\ANote: delta\.vhd: .* only this order\.\Z')
        for progress in ((), ('--progress',)):
            ended = self.run_here('convert', *progress, source, self.target)
            self.assertEqual(0, ended.status, ended.stderr)
            self.assertEqual(note, ended.stderr.splitlines()[-1])
            self.assertNotIn('Note', ended.stdout)
            self.target.unlink()
        ended = self.run_here('convert', '--quiet', source, self.target)
        self.assertEqual(('', ''), (ended.stdout, ended.stderr))

    def test_notes_beside_standard_output(self):
        shape = shapes.accepted()['full and delta, not linked']
        ended = self.run_apart(
            'convert', self.source(archive.tgz(shape.members)), '-',
            stdout=open(self.target, 'wb'))
        self.assertEqual(0, ended.status)
        self.assertRegex(ended.stderr, r'\ANote: delta\.vhd: [^\n]*\n\Z')
        self.assertIsNone(model.difference(self.target, shape.layers))

    def test_existing_target(self):
        self.target.write_text('old')
        ended = self.run_here('convert', self.archive, self.target)
        self.assert_fails(ended, f'{self.target} exists')
        self.assertEqual('old', self.target.read_text())
        self.assert_story(
            self.run_here('convert', '--force', self.archive, self.target))

    def test_standard_input_is_a_pipe(self):
        self.assert_story(self.run_apart(
            'convert', '-', self.target, stdin=self.story.archive))

    def test_standard_input_is_a_file(self):
        with open(self.archive, 'rb') as file:
            self.assert_story(self.run_apart(
                'convert', '-', self.target, stdin=file))

    def test_standard_input_is_closed(self):
        ended = self.run_apart('convert', '-', self.target, stdin=None,
                               preexec_fn=lambda: os.close(0))
        self.assert_fails(ended, 'standard input cannot be read')

    def test_standard_input_is_a_terminal(self):
        ended = self.run_on_terminal('convert', '-', self.target)
        self.assertEqual(1, ended.status)
        self.assertIn('standard input is a terminal', ended.stdout)

    def output_of(self, *arguments, **options):
        """What a conversion writes to standard output, as a raw disk."""
        with self.start('convert', *arguments, '-', **options) as process:
            data, stderr = process.communicate(timeout=cases.PATIENCE)
        self.assertEqual((0, b''), (process.returncode, stderr))
        return data

    def test_standard_output_is_a_pipe(self):
        self.target.write_bytes(self.output_of(self.archive))
        self.assertEqual(self.story.size, self.target.stat().st_size)
        self.assert_story(base.Ended(0, '', ''))

    def test_standard_output_is_a_file(self):
        for flags in ('wb', 'ab'):
            with open(self.target, flags) as file:
                self.output_of(self.archive, stdout=file)
                self.assertIsNone(model.difference(
                    self.target, self.story.layers))
            self.target.unlink()

    def test_no_disk_on_a_terminal(self):
        ended = self.run_on_terminal('convert', self.archive, '-')
        self.assertEqual(1, ended.status)
        self.assertEqual(
            'standard output is a terminal, which cannot show a disk: send '
            'it to a pipe or a file', ended.stdout.strip())

    def test_standard_output_is_full(self):
        with open('/dev/full', 'wb') as file:
            ended = self.run_apart('convert', self.archive, '-', stdout=file)
        self.assert_fails(ended, 'No space left on device')

    def test_standard_output_is_the_archive(self):
        before = pathlib.Path(self.archive).read_bytes()
        with open(self.archive, 'ab') as file:
            ended = self.run_apart('convert', self.archive, '-', stdout=file)
        self.assert_fails(ended, 'standard output is the archive itself')
        self.assertEqual(before, pathlib.Path(self.archive).read_bytes())

    def test_nothing_of_a_damaged_archive_on_standard_output(self):
        path = self.source(self.story.archive[:-1000])
        self.assert_fails(self.run_apart('convert', path, '-'), 'cut short')

    def test_nobody_reads_the_disk(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, 'wb') as file:
            ended = self.run_apart('convert', self.archive, '-', stdout=file)
        self.assertEqual((141, ''), (ended.status, ended.stderr))

    def test_no_adapting_on_standard_output(self):
        ended = self.run_apart('convert', '--adapt', self.archive, '-')
        self.assert_fails(ended, '--adapt changes the guest on a disk in a '
                                 'file')

    def test_second_pass(self):
        """A pipe can not be read twice, a file can."""
        layer = vhd.Layer(MIB, [(7, chains.pattern(1))],
                          layout=('blocks', 'header', 'bat'))
        data = archive.tgz(archive.chain_members([layer]))
        ended = self.run_apart('convert', '-', self.target, stdin=data)
        self.assert_fails(ended, 'give it as a file')
        with open(self.source(data), 'rb') as file:
            ended = self.run_apart('convert', '-', self.target, stdin=file)
        self.assertEqual(0, ended.status)
        self.assertIsNone(model.difference(self.target, [layer]))

    def test_limits(self):
        ended = self.run_here('convert', '--max-chain-length', 2,
                              self.archive, self.target)
        self.assert_fails(ended, 'longer than the limit of 2 layers')
        self.assertEqual([], os.listdir(self.output))

    def test_progress_on_a_terminal(self):
        """A bar, for what takes its time."""
        shown = threading.Event()

        def heard(said):
            if re.search(rb'B/s, \./1\.vhd', said):
                shown.set()

        reader, writer = os.pipe()
        with os.fdopen(reader, 'rb') as source, self.writing(writer, shown):
            ended = self.run_on_terminal('convert', '-', self.target,
                                         stdin=source, heard=heard)
        self.assert_story(ended)
        self.assertTrue(shown.is_set(), ended.stdout)

    @contextlib.contextmanager
    def writing(self, descriptor, event):
        """Write the archive, the most of it after an event."""
        data = self.story.archive

        def write():
            with os.fdopen(descriptor, 'wb') as file:
                file.write(data[:len(data) // 6])
                file.flush()
                event.wait(cases.PATIENCE)
                file.write(data[len(data) // 6:])

        thread = threading.Thread(target=write)
        thread.start()
        yield
        thread.join()

    def test_no_progress_elsewhere(self):
        with self.start('convert', '-', self.target) as process:
            process.stdin.write(self.story.archive[:MIB])
            time.sleep(1)
            _, stderr = process.communicate(self.story.archive[MIB:])
        self.assertEqual(b'', stderr)


@ddt.ddt
class Failures(base.CommandCase):
    """One line on standard error, no traceback, and nothing left behind."""

    def setUp(self):
        super().setUp()
        self.archive = chains.story_chain().archive

    def tearDown(self):
        self.assertEqual([], os.listdir(self.output))
        super().tearDown()

    @ddt.named_data(
        ('convert', 'convert'), ('check', 'check'), ('inspect', 'inspect'),
        ('map', 'inspect', '--map'))
    def test_damaged_archive(self, *arguments):
        path = self.source(self.archive[:-1000])
        target = [self.target] if 'convert' in arguments else []
        ended = self.run_apart(*arguments, path, *target)
        self.assert_fails(ended, 'cut short')

    @ddt.data('convert', 'check', 'inspect')
    def test_no_archive(self, command):
        target = [self.target] if command == 'convert' else []
        ended = self.run_here(command, self.scratch / 'missing', *target)
        self.assert_fails(ended, 'No such file or directory')
        ended = self.run_here(command, self.scratch, *target)
        self.assert_fails(ended, 'Is a directory')
        ended = self.run_here(command, self.source(b'text'), *target)
        self.assert_fails(ended, 'neither a VHD, nor a tar archive')

    def test_unwritable_target(self):
        ended = self.run_here('convert', self.source(self.archive),
                              self.scratch / 'nowhere' / 'disk.raw')
        self.assert_fails(ended, 'cannot be created')

    def test_empty_target(self):
        for arguments, kind in (
                (['convert', self.source(self.archive), ''], 'file'),
                (['convert', self.source(self.archive), '--all-disks', ''],
                 'directory')):
            ended = self.run_here(*arguments)
            self.assert_fails(ended, 'the target has an empty name: give the '
                                     f'name of a {kind}')

    def test_debug(self):
        ended = self.run_here('--debug', 'check', self.source(b'text'))
        self.assertEqual(1, ended.status)
        self.assertIn('Traceback', ended.stderr)

    def test_odd_names(self):
        for environment in ({'PYTHONIOENCODING': 'ascii'},
                            {'PYTHONIOENCODING': 'utf-8'}):
            ended = self.run_apart('check', b'sp\xc3\xa4\xff\nt',
                                   environment=environment)
            self.assert_fails(ended, '\\udcff\\nt')

    def test_odd_names_of_layers(self):
        member = tarfile.TarInfo('schnapp\u00fcsch \udcff\n.vhd')
        content = vhd.Layer(MIB).tobytes()
        member.size = len(content)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode='w:gz',
                          format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(member, io.BytesIO(content))
        data = file.getvalue()
        for environment in ({'PYTHONIOENCODING': 'ascii'},
                            {'PYTHONIOENCODING': 'utf-8'}):
            ended = self.run_apart('inspect', '--map', '-', stdin=data,
                                   environment=environment)
            self.assertEqual((0, ''), (ended.status, ended.stderr))
            self.assertIn('\\x0a', ended.stdout)

    @ddt.data(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    def test_signal(self, number):
        """Also while it waits for more of the archive."""
        with self.start('convert', '-', self.target) as process:
            process.stdin.write(self.archive[:MIB])
            process.stdin.flush()
            part = pathlib.Path(f'{self.target}.part')
            end = time.monotonic() + cases.PATIENCE
            while not part.exists() and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.2)
            process.send_signal(number)
            process.wait(cases.PATIENCE)
            self.assertEqual(b'', process.stderr.read())
        self.assertEqual(128 + number, process.returncode)

    def test_nobody_reads_the_output(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, 'wb') as file:
            ended = self.run_apart('check', self.source(self.archive),
                                   stdout=file)
        self.assertEqual((141, ''), (ended.status, ended.stderr))

    def test_output_cannot_be_written(self):
        for options in ([], ['-f', 'value']):
            with open('/dev/full', 'wb') as file:
                ended = self.run_apart('check', *options,
                                       self.source(self.archive), stdout=file)
            self.assert_fails(ended, 'No space left on device')

    def test_wrong_arguments(self):
        for arguments in (['check'], ['check', '--max-chain-length', '0', '-'],
                          ['unknown']):
            ended = self.run_apart(*arguments)
            self.assertEqual(2, ended.status)
            self.assertNotIn('Traceback', ended.stderr)

    def test_wrong_numbers(self):
        for number in ('0', '-1', '1.5', 'many', '9' * 5000):
            ended = self.run_apart('check', '--max-virtual-size', number, '-')
            self.assertEqual(2, ended.status)
            self.assertIn(f'argument --max-virtual-size: {number!r} is not a '
                          'positive whole number', ended.stderr)


class Sandbox(base.CommandCase):

    def test_required(self):
        """It works, or the command says what is missing and does nothing."""
        path = self.source(chains.story_chain().archive)
        for arguments in (['check', path], ['inspect', path],
                          ['convert', path, self.target]):
            ended = self.run_here(*arguments, '--sandbox', 'required')
            if ended.status:
                self.assert_fails(ended, 'cannot be fully confined')
                self.assertEqual([], os.listdir(self.output))

    def test_inspection_ends_with_its_command(self):
        with self.start('inspect', '-') as process:
            [reader] = self.wait_for(lambda: services.children(process.pid))
            process.kill()
            process.wait()
            self.wait_for(lambda: not os.path.exists(f'/proc/{reader}')
                          or not services.command_line(reader))

    def wait_for(self, condition):
        deadline = time.monotonic() + cases.PATIENCE
        while not (found := condition()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return found

    def test_inspection_on_a_full_disk(self):
        path = self.source(chains.story_chain().archive)
        with open('/dev/full', 'wb') as full:
            ended = self.run_apart('inspect', path, stdout=full)
        self.assertEqual(1, ended.status)
        self.assertRegex(ended.stderr, r'\A.*No space left on device\n\Z')

    def test_off(self):
        ended = self.run_here('check', '--sandbox', 'off', self.source(
            chains.story_chain().archive))
        self.assertEqual(0, ended.status)

    def test_archive_is_not_replaced(self):
        path = self.source(chains.story_chain().archive)
        before = pathlib.Path(path).read_bytes()
        ended = self.run_here('convert', '--force', path, path)
        self.assert_fails(ended, 'is the archive itself')
        self.assertEqual(before, pathlib.Path(path).read_bytes())

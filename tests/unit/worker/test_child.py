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

"""The converter's process: what is said to it, and what ends it."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import limits
from glance_xs_convert.worker import child

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd

GIB = vhd.GIB
MIB = vhd.MIB

#: So long may it take until something has come to its end, in seconds.
SOON = 20

#: Runs a conversion as Glance does; its arguments are source and target.
PARENT = '''
import sys

from glance_xs_convert import limits
from glance_xs_convert.worker import child

child.run(child.Request(*sys.argv[1:], False, limits.Limits(), 1 << 30, 0),
          sys.executable, print, 60)
'''


def small():
    """A chain of two on a disk of 4 MiB."""
    return chains.linked([
        vhd.Layer(4 * MIB, written=[(0, chains.pattern('leaf', 100))]),
        vhd.Layer(4 * MIB, written=[(50, chains.pattern('base', 5000)),
                                    (8190, chains.pattern('end', 2))])])


def slow():
    """An archive that takes long to read: its base is fixed, all zeros."""
    size = 32 * GIB
    layers = chains.linked([
        vhd.Layer(size, written=[(0, chains.pattern('leaf', 100))]),
        vhd.Layer(size, disk_type=vhd.FIXED)])
    return archive.tgz(archive.chain_members(layers))


def ignore(progress):
    """Take no notice of the progress."""


def _hang(signal_number, frame):
    raise TimeoutError('the child does not end')


class ChildCase(unittest.TestCase):
    """Runs child processes, and looks at what they leave."""

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.output = self.scratch / 'output'
        self.output.mkdir()
        self.target = self.output / 'disk.raw'
        self.source = self.scratch / 'source'
        self.patience = 60

    def request(self, data, **changes):
        """Ask for the conversion of some data."""
        self.source.write_bytes(data)
        return dataclasses.replace(
            child.Request(str(self.source), str(self.target), False,
                          limits.Limits(), 1024 * MIB, 0), **changes)

    def run_child(self, request, python=sys.executable, on_progress=ignore):
        """Run the converter; no process is left when it is over."""
        before = signal.signal(signal.SIGALRM, _hang)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.alarm(2 * SOON)
        try:
            return child.run(request, str(python), on_progress,
                             self.patience)
        finally:
            signal.alarm(0)
            self.assertEqual([], self.children())

    def children(self):
        """The processes that this one has started, zombies among them."""
        found = []
        for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
            with contextlib.suppress(OSError):
                parent = stat.read_text().rpartition(')')[2].split()[1]
                if int(parent) == os.getpid():
                    found.append(int(stat.parent.name))
        return found

    def program(self, text):
        """Make a shell script that can be run in the interpreter's place."""
        path = self.scratch / 'python'
        path.write_text('#!/bin/sh\n' + textwrap.dedent(text))
        path.chmod(0o700)
        return path

    def assert_ends(self, error, reason, request, **arguments):
        """The converter ends soon, for this reason, and leaves nothing."""
        start = time.monotonic()
        with self.assertRaisesRegex(error, reason) as caught:
            self.run_child(request, **arguments)
        self.assertLess(time.monotonic() - start, SOON)
        self.assertEqual([], os.listdir(self.output))
        return caught.exception

    def wait_until(self, condition):
        """Wait for something to become true."""
        deadline = time.monotonic() + SOON
        while not condition():
            self.assertLess(time.monotonic(), deadline, 'in vain')
            time.sleep(0.05)


class Conversions(ChildCase):
    """What the child says, its parent understands."""

    def test_converted(self):
        layers = small()
        data = archive.tgz(archive.chain_members(layers))
        reports = []
        outcome = self.run_child(self.request(data),
                                 on_progress=reports.append)
        self.assertEqual(
            (4 * MIB, 2, len(data), hashlib.sha256(data).hexdigest()),
            (outcome.virtual_size, outcome.layers, outcome.source_size,
             outcome.source_sha256))
        self.assertIsNone(model.difference(self.target, layers))
        self.assertEqual([self.target.name], os.listdir(self.output))
        self.assertTrue(reports)

    def test_nobody_else_can_read_the_disk(self):
        self.run_child(self.request(
            archive.tgz(archive.chain_members(small()))))
        self.assertEqual(0o600, self.target.stat().st_mode & 0o777)

    def test_bare(self):
        base = small()[1]
        self.run_child(self.request(base.tobytes(), bare=True))
        self.assertIsNone(model.difference(self.target, [base]))

    def test_refused(self):
        data = archive.tgz(archive.chain_members(small()[:1]))
        error = self.assert_ends(exceptions.MissingBase, '0.vhd',
                                 self.request(data))
        self.assertTrue(error.reason)

    def test_refused_by_a_limit(self):
        data = archive.tgz(archive.chain_members(small()))
        self.assert_ends(
            exceptions.LimitExceeded, '0.vhd',
            self.request(data, limits=limits.Limits(max_virtual_size=MIB)))

    def test_no_source(self):
        request = self.request(b'')
        self.source.unlink()
        self.assert_ends(exceptions.UnreadableSource, 'No such file', request)

    def test_no_directory_for_the_target(self):
        request = self.request(b'', target=str(self.scratch / 'no' / 'disk'))
        self.assert_ends(exceptions.UnwritableTarget, 'No such file', request)

    def test_names_are_only_names(self):
        self.source = self.scratch / '--help\n"$(exit)\u00e4\udc80'
        self.test_converted()


class Limits(ChildCase):
    """What a conversion may use is bounded, and it says when it is over."""

    def test_least_memory_that_can_be_configured(self):
        self.run_child(self.request(
            archive.tgz(archive.chain_members(small())),
            max_memory=256 * MIB))

    def test_memory(self):
        # A table of 8 Mi entries, each in use, and each twice: it is read
        # before anything is found wrong with it.
        layer = vhd.Layer(
            2040 * GIB, block_size=256 * 1024, bat_entries={0: 100})
        data = archive.tgz(archive.chain_members([layer]))
        for max_memory in (16 * MIB, 64 * MIB, 96 * MIB):
            self.assert_ends(
                exceptions.XsConvertError, '.',
                self.request(data, max_memory=max_memory))

    def test_processor_time(self):
        self.assert_ends(exceptions.LimitExceeded, 'processor time',
                         self.request(slow(), max_cpu_time=1))

    def test_size_of_a_file(self):
        python = self.program(f'''
            ulimit -f 100
            exec {sys.executable} "$@"
        ''')
        self.assert_ends(
            exceptions.LimitExceeded, 'file system or a limit',
            self.request(archive.tgz(archive.chain_members(small()))),
            python=python)

    def test_no_network(self):
        allowed = subprocess.run(['unshare', '--net', 'true'],
                                 stderr=subprocess.DEVNULL)
        if allowed.returncode:
            self.skipTest('network namespaces are not allowed')
        seen = set()

        def look(progress):
            seen.update(os.readlink(f'/proc/{pid}/ns/net')
                        for pid in self.children())
        self.run_child(self.request(
            archive.tgz(archive.chain_members(small()))), on_progress=look)
        self.assertEqual(1, len(seen))
        self.assertNotIn(os.readlink('/proc/self/ns/net'), seen)

    def test_environment(self):
        python = self.program(f'env > {self.scratch}/environment; pwd >&2')
        os.environ['OS_PASSWORD'] = 'secret'
        self.addCleanup(os.environ.pop, 'OS_PASSWORD')
        with self.assertLogs(child.LOG) as logged:
            self.assert_ends(exceptions.ConverterStopped, 'status 0',
                             self.request(b''), python=python)
        text = self.scratch.joinpath('environment').read_text()
        names = {line.partition('=')[0] for line in text.splitlines()}
        given = {'LC_ALL', 'MALLOC_ARENA_MAX', 'PATH', 'PYTHONPATH'}
        self.assertLessEqual(given, names)
        # The shell sets the others.
        self.assertLessEqual(names - given, {'OLDPWD', 'PWD', 'SHLVL', '_'})
        self.assertIn(': /\n', logged.output[0])

    def test_open_files_stay_with_the_parent(self):
        python = self.program('ls /proc/$$/fd | tr "\\n" " " >&2')
        with (open('/dev/null') as file,
              self.assertLogs(child.LOG) as logged):
            os.set_inheritable(file.fileno(), True)
            self.assert_ends(exceptions.ConverterStopped, 'status 0',
                             self.request(b''), python=python)
        # The shell reads its script from file 10.
        self.assertRegex(logged.output[0], ': 0 1 (10 )?2 $')


class Ends(ChildCase):
    """The child ends when it is to end, and cleans up."""

    def is_writing(self):
        return os.listdir(self.output) == [self.target.name + '.part']

    def test_progress_raises(self):
        def stop(progress):
            if self.is_writing():
                raise KeyboardInterrupt
        self.assert_ends(KeyboardInterrupt, '', self.request(slow()),
                         on_progress=stop)

    def test_signals_that_the_parent_blocks(self):
        """As the threads of uWSGI do."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {
            signal.SIGTERM, signal.SIGXCPU, signal.SIGHUP})
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        start = time.monotonic()
        self.test_progress_raises()
        self.assertLess(time.monotonic() - start, child._GRACE)

    def begin_parent(self):
        self.request(slow())
        parent = subprocess.Popen(
            [sys.executable, '-c', PARENT, self.source, self.target],
            stdout=subprocess.DEVNULL, env={'PYTHONPATH': ':'.join(sys.path)})
        self.addCleanup(parent.wait)
        self.addCleanup(parent.kill)
        self.wait_until(self.is_writing)
        return parent

    def test_parent_dies(self):
        for signal_number in (signal.SIGKILL, signal.SIGTERM):
            self.begin_parent().send_signal(signal_number)
            self.wait_until(lambda: not os.listdir(self.output))

    def test_child_is_killed(self):
        def kill(progress):
            if self.is_writing():
                os.kill(self.children()[0], signal.SIGKILL)
        with (self.assertLogs(child.LOG, 'ERROR'),
              self.assertRaisesRegex(exceptions.ConverterStopped,
                                     'with status -9')):
            self.run_child(self.request(slow()), on_progress=kill)

    def test_child_is_terminated(self):
        def terminate(progress):
            if self.is_writing():
                os.kill(self.children()[0], signal.SIGTERM)
        with self.assertLogs(child.LOG, 'ERROR'):
            self.assert_ends(exceptions.ConverterStopped, 'unexpectedly',
                             self.request(slow()), on_progress=terminate)

    def test_child_hangs(self):
        def stop(progress):
            if self.is_writing():
                os.kill(self.children()[0], signal.SIGSTOP)
        self.patience = 2
        with self.assertRaisesRegex(exceptions.ConverterStopped,
                                    'no progress for 2 seconds'):
            self.run_child(self.request(slow()), on_progress=stop)

    def test_source_hangs(self):
        request = self.request(b'')
        self.source.unlink()
        os.mkfifo(self.source)
        self.patience = 2
        self.assert_ends(exceptions.ConverterStopped, 'no progress', request)

    def test_target_that_exists(self):
        self.target.write_bytes(b'precious')
        with self.assertRaisesRegex(exceptions.TargetExists, 'exists'):
            self.run_child(self.request(
                archive.tgz(archive.chain_members(small()))))
        self.assertEqual(b'precious', self.target.read_bytes())


@ddt.ddt
class Strangers(ChildCase):
    """Programs that are no converter, and say what they like."""

    def setUp(self):
        super().setUp()
        self.patience = 3

    @ddt.data('/no/such/python', '/', '/dev/null')
    def test_no_interpreter(self, python):
        self.assert_ends(exceptions.ConverterStopped, python,
                         self.request(b''), python=python)

    def test_interpreter_without_the_package(self):
        python = self.program(f'exec {sys.executable} -S -E "$@"')
        with self.assertLogs(child.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'status 1',
                             self.request(b''), python=python)
        self.assertIn('No module named', logged.output[0])

    def test_last_words_are_logged(self):
        python = self.program('''
            seq 1 10000 >&2
            printf 'alas \\377\\n' >&2
            exit 7
        ''')
        with self.assertLogs(child.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'with status 7',
                             self.request(b''), python=python)
        self.assertRegex(logged.output[0], 'status 7: [0-9\n]+alas .\n$')
        self.assertLess(len(logged.output[0]), 5000)

    @ddt.data('nonsense', '5', '[]', 'null', '"outcome"', '{', '\\377\\200',
              '{"outcome": 1}', '{"outcome": {"virtual_size": 1}}',
              '{"error": {}}', '{"error": []}', '{"progress": {"a": 1}}',
              '{"progress": null}')
    def test_nonsense(self, line):
        python = self.program(f"printf '{line}\\n'")
        with self.assertLogs(child.LOG, 'ERROR'):
            self.assert_ends(exceptions.ConverterStopped, 'unexpectedly',
                             self.request(b''), python=python)

    def test_nonsense_before_the_error(self):
        python = self.program('''
            echo A warning of some library
            echo '{"error": {"name": "NoVhd", "reason": "there is none",'\\
                 '"member": null, "offset": null}}'
        ''')
        self.assert_ends(exceptions.NoVhd, 'there is none', self.request(b''),
                         python=python)

    @ddt.data('Later', 'SystemExit', '__doc__')
    def test_unknown_error(self, name):
        python = self.program(f'''
            echo '{{"error": {{"name": "{name}", "reason": "a new one",'\\
                 '"member": "0.vhd", "offset": 3}}}}'
        ''')
        self.assert_ends(exceptions.XsConvertError, '0.vhd: a new one',
                         self.request(b''), python=python)

    @ddt.data('exec sleep 60', 'exec 1>&-; exec sleep 60',
              'exec yes', 'exec tr -d "\\n" < /dev/zero',
              'trap "" TERM; exec 0<&-; exec sleep 60')
    def test_no_end(self, command):
        self.assert_ends(exceptions.ConverterStopped, '.', self.request(b''),
                         python=self.program(command))

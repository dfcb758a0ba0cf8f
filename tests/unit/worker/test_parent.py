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

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import results
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import process
from glance_xs_convert.worker import protocol

from testbed.images import archive
from testbed.images import model
from testbed.images import xva
from tests.unit.converter import exports
from tests.unit.worker import base

MIB = base.MIB

#: Runs a conversion as Glance does; its arguments are the interpreter, source
#: and target.
PARENT = '''
import sys
import tempfile

from glance_xs_convert import image_limits
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

parent.convert_file(*sys.argv[2:], protocol.Request(image_limits.DEFAULT),
                    python=sys.argv[1], on_progress=print)
'''


class Conversions(base.WorkerCase):
    """What the child says, its parent understands."""

    def test_converted(self):
        layers = base.small()
        data = archive.tgz(archive.chain_members(layers))
        outcome = self.run_child(data)
        self.assertEqual(
            (4 * MIB, 2, len(data), hashlib.sha256(data).hexdigest()),
            (outcome.virtual_size, outcome.layer_count, outcome.source_size,
             outcome.source_sha256))
        self.assertIsNone(model.difference(self.target, layers))
        self.assertEqual([self.target.name], os.listdir(self.output))

    def test_described(self):
        """Of a pipe, no more is read than the description."""
        data = xva.Export([xva.random_disk('d', 64 * MIB)]).tar()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        sender = threading.Thread(target=self._send, args=(writer, data))
        sender.start()
        found = parent.describe(
            reader, protocol.Request(image_limits.DEFAULT),
            python=sys.executable, on_progress=base.ignore)
        self.assertEqual(
            ([('xvda', 64 * MIB)], ['web-1']),
            ([(disk.device, disk.size) for disk in found.disks],
             [guest.name for guest in found.guests]))
        self.assertTrue(sender.is_alive())
        while os.read(reader, MIB):
            pass
        sender.join()

    def _send(self, writer, data):
        with open(writer, 'wb', buffering=0) as file:
            for start in range(0, len(data), MIB):
                file.write(data[start:start + MIB])

    def test_description_of_nothing(self):
        found = self.scratch / 'empty'
        found.write_bytes(base.small_archive())
        with found.open('rb') as file:
            self.assertEqual(
                results.Description([], []), parent.describe(
                    file.fileno(), protocol.Request(image_limits.DEFAULT),
                    python=sys.executable, on_progress=base.ignore))

    def test_progress(self):
        reports = []

        def stop(progress):
            reports.append(progress)
            if progress.layers == 2:
                raise KeyboardInterrupt
        data = base.slow_archive()
        self.assert_ends(KeyboardInterrupt, '', data, on_progress=stop)
        self.assertEqual(len(data), reports[-1].source_size)
        self.assertLess(0, reports[-1].source_read)
        self.assertIn('1.vhd', reports[-1].layer)

    def test_without_digest(self):
        outcome = self.run_child(base.small_archive(), digest=False)
        self.assertEqual('', outcome.source_sha256)

    def test_export(self):
        first, second = exports.two_disks()
        data = xva.Export([first, second], vm={
            **xva.PARAVIRTUALIZED, 'name_label': 'web \U0001f600'}).tar()
        outcome = self.run_child(data, disk='1')
        self.assertIsNone(
            model.difference_from(self.target, second.content))
        self.assertEqual(
            ('web \\x1f600', 'XenServer 8.2.1', None, True),
            (outcome.guest.name, outcome.guest.exporter,
             outcome.guest.firmware, outcome.guest.is_paravirtualized))
        self.assertEqual('xvdb', outcome.disk.label)
        self.assertEqual(1, outcome.layer_count)

    def test_export_without_a_choice(self):
        data = xva.Export(exports.two_disks()).tar()
        self.assert_ends(exceptions.DiskNotChosen, 'xvdb', data)

    def test_chain_tells_nothing_of_a_guest(self):
        self.assertIsNone(self.run_child(base.small_archive()).guest)

    def test_checked_with_a_map(self):
        self.source.write_bytes(base.small_archive())
        with open(self.source, 'rb') as file:
            for with_map in (True, False):
                found = parent.check(
                    file.fileno(), self.request, python=sys.executable,
                    on_progress=base.ignore, with_map=with_map)
                self.assertEqual(2, found.layer_count)
                self.assertEqual(with_map, found.disk_map is not None)
                file.seek(0)
                if with_map:
                    self.assertEqual(model.amounts(
                        base.small(), 4 * MIB)[0], found.disk_map.sizes())

    def test_inspected(self):
        self.source.write_bytes(xva.Export(exports.two_disks()).tar())
        with open(self.source, 'rb') as file:
            found = parent.inspect(
                file.fileno(), self.request, python=sys.executable,
                on_progress=base.ignore)
        self.assertEqual(['xvda', 'xvdb'],
                         [disk.disk.label for disk in found.disks])

    def test_name_of_a_limit(self):
        self.assert_ends(
            exceptions.LimitExceeded,
            r'image_size_cap, which is 1 MiB \(1048576 bytes\)',
            base.small_archive(), limits=image_limits.Limits(
                max_virtual_size=MIB, size_limit='image_size_cap'))

    def test_refused(self):
        data = archive.tgz(archive.chain_members(base.small()[:1]))
        error = self.assert_ends(exceptions.MissingBase, '0.vhd', data)
        self.assertTrue(error.reason)

    def test_refused_by_a_limit(self):
        self.assert_ends(
            exceptions.LimitExceeded, '0.vhd', base.small_archive(),
            limits=image_limits.Limits(max_virtual_size=MIB))

    def test_no_source(self):
        self.assert_ends(exceptions.UnreadableSource, 'No such file', None)

    def test_no_directory_for_the_target(self):
        self.target = self.scratch / 'no' / 'disk'
        self.assert_ends(exceptions.UnwritableTarget, 'No such file', b'')

    def test_names_are_only_names(self):
        self.source = self.scratch / '--help\n"$(exit)\u00e4\udc80'
        self.test_converted()

    def test_descriptors_of_standard_streams(self):
        """Parents may have closed theirs and opened others in their place."""
        code = ('import os; os.close(0); os.open(sys.argv[1], os.O_RDONLY); '
                'os.close(1); os.open(sys.argv[2], os.O_RDWR | os.O_CREAT); '
                'parent.convert(0, 1, protocol.Request(image_limits.DEFAULT), '
                'python=sys.executable, on_progress=lambda progress: None)')
        self.source.write_bytes(base.small_archive())
        imports = PARENT.partition('\n\nparent')[0]
        subprocess.run(
            [sys.executable, '-c', f'{imports}\n{code}', self.source,
             self.target], check=True)
        self.assertIsNone(model.difference(self.target, base.small()))


class Ends(base.WorkerCase):
    """The child ends when it is to end, and nothing is left."""

    def test_progress_raises(self):
        self.check_interruption(sys.executable)

    def check_interruption(self, python):
        def stop(progress):
            if self.is_writing() and progress.source_read:
                raise KeyboardInterrupt
        self.assert_ends(KeyboardInterrupt, '', base.slow_archive(),
                         python=python, on_progress=stop)

    def patient(self):
        """The converter, which takes its time to end when it is to end."""
        return self.program(f'''
            exec {sys.executable} -Sc 'if 1:
                import sys
                from glance_xs_convert.worker import child, protocol
                protocol.GRACE = {2 * base.PATIENCE}
                sys.exit(child.main())'
        ''')

    def test_signals_that_the_parent_blocks(self):
        """As the threads of uWSGI do."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {
            signal.SIGTERM, signal.SIGXCPU, signal.SIGHUP})
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        end = process.Child.end
        statuses = []
        with mock.patch.object(process.Child, 'end', lambda child: (
                statuses.append(end(child)))):
            self.check_interruption(self.patient())
        self.assertEqual({128 + signal.SIGTERM}, set(statuses))

    def begin_parent(self):
        """Start a process that starts a child.

        :returns: it, and the child's process id
        """
        self.source.write_bytes(base.slow_archive())
        starter = subprocess.Popen(
            [sys.executable, '-c', PARENT, self.patient(), self.source,
             self.target],
            stdout=subprocess.PIPE, env={'PYTHONPATH': ':'.join(sys.path)})
        self.addCleanup(starter.wait)
        self.addCleanup(starter.stdout.close)
        self.addCleanup(starter.kill)
        self.wait_until(lambda: self.is_writing() and self.written())
        [child] = subprocess.check_output(
            ['ps', '-o', 'pid=', '--ppid', str(starter.pid)]).split()
        return starter, int(child)

    def written(self):
        """How much has been written, in bytes."""
        return sum(entry.stat().st_blocks for entry in os.scandir(self.output)
                   ) * 512

    def test_parent_is_killed(self):
        """A name is left, but no data and no process."""
        starter, child = self.begin_parent()
        starter.kill()
        self.wait_until(lambda: not os.path.exists(f'/proc/{child}'))
        self.assertEqual(0, self.written())

    def test_child_is_killed(self):
        for processes in (base.children, base.readers):
            def kill(progress, processes=processes):
                if self.is_reading():
                    os.kill(processes()[0], signal.SIGKILL)
            with self.assertLogs(parent.LOG, 'ERROR'):
                self.assert_ends(
                    exceptions.ConverterStopped, 'with status -9',
                    base.slow_archive(), on_progress=kill)

    def test_child_is_terminated(self):
        def terminate(progress):
            if self.is_reading():
                os.kill(base.children()[0], signal.SIGTERM)
        with self.assertLogs(parent.LOG, 'ERROR'):
            self.assert_ends(exceptions.ConverterStopped, 'unexpectedly',
                             base.slow_archive(), on_progress=terminate)

    def test_child_hangs(self):
        def stop(progress):
            if self.is_reading():
                os.kill(base.readers()[0], signal.SIGSTOP)
        self.patience = 2
        self.assert_ends(exceptions.ConverterStopped,
                         'no progress for 2 seconds', base.slow_archive(),
                         on_progress=stop)

    def test_too_long(self):
        """However much progress there is."""
        self.assert_ends(exceptions.ConverterStopped, 'more than 2 seconds',
                         base.slow_archive(), max_time=2)

    def test_source_hangs(self):
        os.mkfifo(self.source)
        # Opened for both, a pipe does not wait for the other end.
        descriptor = os.open(self.source, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        self.patience = 2
        self.assert_ends(exceptions.ConverterStopped, 'no progress', None)

    def test_target_that_exists(self):
        self.target.write_bytes(b'precious')
        with self.assertRaisesRegex(exceptions.TargetExists, 'exists'):
            self.run_child(base.small_archive())
        self.assertEqual(b'precious', self.target.read_bytes())


@ddt.ddt
class Strangers(base.WorkerCase):
    """Programs that are not the converter, and say what they like."""

    def outcome(self, size=0, after='', allocated=4096):
        """A program that writes ``size`` bytes and says it wrote 1024."""
        return self.program(f'''
            exec {sys.executable} -c 'if 1:
                import json, os, sys
                job = json.loads(sys.stdin.readline())
                os.pwrite(job["targets"][0], bytes({size}), 0)
                print(json.dumps({{"result": {{
                    "virtual_size": 1024, "layers": [],
                    "allocated": {allocated}, "source_size": 0,
                    "source_sha256": "{"0" * 64}",
                    "guest": None, "disk": None, "notes": [],
                    "ignored": []}}}}), flush=True)
                {after}'
        ''')

    @ddt.data('/no/such/python', '/', '/dev/null')
    def test_no_interpreter(self, python):
        self.assert_ends(exceptions.ConverterStopped, python, b'',
                         python=python)

    def test_interpreter_without_the_package(self):
        python = self.program(f'exec {sys.executable} -S -E "$@"')
        with self.assertLogs(parent.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'status 1', b'',
                             python=python)
        self.assertIn('No module named', logged.output[0])

    def test_last_words_are_logged(self):
        python = self.program('''
            seq 1 10000 >&2
            printf 'alas \\377\\n' >&2
            exit 7
        ''')
        with self.assertLogs(parent.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'with status 7',
                             b'', python=python)
        self.assertRegex(logged.output[0],
                         r'status 7: [0-9| ]+ \| alas \\xff$')
        self.assertLess(len(logged.output[0]), 8000)

    def test_last_words_cannot_make_up_lines_of_a_log(self):
        python = self.program(r'''
            printf '\nERROR all is lost\r\033[2J\n' >&2
        ''')
        with self.assertLogs(parent.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'with status 0',
                             b'', python=python)
        self.assertTrue(logged.output[0].isprintable())
        self.assertIn('ERROR all is lost', logged.output[0])

    def test_child_that_does_not_end(self):
        """No result is taken of one that may still write to the disk."""
        self.lose_patience()
        self.assert_ends(
            exceptions.ConverterStopped, 'does not end', b'',
            python=self.outcome(
                size=1024, after='import time; time.sleep(999)'))

    def test_child_that_fails_after_its_result(self):
        with self.assertLogs(parent.LOG, 'ERROR'):
            self.assert_ends(
                exceptions.ConverterStopped, 'unexpectedly, with status 3',
                b'', python=self.outcome(size=1024, after='sys.exit(3)'))

    @ddt.data('nonsense', '5', '[]', 'null', '"result"', '{', '\\377\\200',
              '{"result": 1}', '{"result": {"virtual_size": 1}}',
              '{"error": {}}', '{"error": []}', '{"progress": {"a": 1}}',
              '{"progress": null}', '{"later": {}}', '',
              '{"progress": {"source_size": null, "source_read": 0, "layers":'
              ' 0, "layer": null, "disk_size": null, "bytes_written": 0}}\\n'
              '{"confined": {"means": [], "missing": []}}')
    def test_nonsense(self, line):
        self.lose_patience()
        python = self.program(f"printf '{line}\\n'; exec sleep 60")
        with self.assertLogs(parent.LOG, 'ERROR'):
            self.assert_ends(exceptions.ConverterStopped,
                             '^the converter sent an invalid message$', b'',
                             python=python)

    def test_nonsense_before_the_error(self):
        python = self.program('''
            echo A warning of some library >&2
            echo '{"error": {"kind": "NoVhd", "reason": "there is none",'\\
                 '"member": null, "offset": null}}'
        ''')
        self.assert_ends(exceptions.NoVhd, 'there is none', b'',
                         python=python)

    @ddt.data('Later', 'SystemExit')
    def test_unknown_error(self, name):
        python = self.program(f'''
            echo '{{"error": {{"kind": "{name}", "reason": "a new one",'\\
                 '"member": "0.vhd", "offset": 3}}}}'
        ''')
        self.assert_ends(exceptions.XsConvertError, '0.vhd: a new one', b'',
                         python=python)

    def test_disk_as_large_as_announced(self):
        outcome = self.run_child(b'', python=self.outcome(size=1024))
        self.assertEqual(1024, outcome.virtual_size)

    @ddt.data((0, '0 bytes'), (1023, '1023 bytes'),
              (1025, '1.0 KiB (1025 bytes)'))
    @ddt.unpack
    def test_disk_of_another_size(self, size, shown):
        with self.assertLogs(parent.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'invalid message',
                             b'', python=self.outcome(size=size))
        self.assertIn(f'wrote one of {shown}', logged.output[0])

    def convert_all(self, *announced):
        """Run a program that writes 1024 bytes each, in all three files.

        :param announced: targets and sizes of the disks that it reports
        """
        disks = [{'target': target, 'virtual_size': size, 'allocated': 0,
                  'disk': None} for target, size in announced]
        reply = json.dumps({'result': {
            'disks': disks, 'source_size': 0, 'guests': [], 'notes': [],
            'ignored': []}})
        python = self.program(f'''
            exec {sys.executable} -c 'if 1:
                import json, sys
                job = json.loads(sys.stdin.readline())
                for target in job["targets"]:
                    open(target, "wb").write(bytes(1024))
                print({json.dumps(reply)})'
        ''')
        with (open('/dev/null', 'rb') as source,
              tempfile.TemporaryFile() as one,
              tempfile.TemporaryFile() as two):
            return parent.convert_all(
                source.fileno(), [one.fileno(), two.fileno()], self.request,
                python=str(python), on_progress=base.ignore)

    def test_all_disks(self):
        for sizes in ([(0, 1024)], [(1, 1024), (0, 1024)]):
            self.assertEqual([target for target, _ in sizes], [
                disk.target for disk in self.convert_all(*sizes).disks])

    @ddt.data([], [(1, 1024)], [(2, 1024)], [(0, 1024), (0, 1024)],
              [(0, 512)], [(0, 1024), (1, 1025)],
              [(0, 1024), (1, 1024), (2, 1024)])
    def test_disks_that_are_not_as_announced(self, disks):
        with (self.assertLogs(parent.LOG, 'ERROR'),
              self.assertRaisesRegex(exceptions.ConverterStopped, 'invalid')):
            self.convert_all(*disks)

    def check_map(self, data):
        """Check an archive with a program that writes this map."""
        python = self.program(f'''
            exec {sys.executable} -c 'if 1:
                import json, sys
                job = json.loads(sys.stdin.readline())
                open(job["targets"][0], "wb").write({data!a})
                print(json.dumps({{"result": {{
                    "virtual_size": 4096, "layers": [], "source_size": 0,
                    "allocated": 0, "room": 0, "first_sectors": {{
                        "partition_table": None, "has_boot_code": False,
                        "has_efi_system_partition": False}},
                    "disk_map": None, "guest": None, "disk": None,
                    "notes": [], "ignored": []}}}}))'
        '''.replace("b'", 'b"').replace("')", '")'))
        with open('/dev/null', 'rb') as source:
            return parent.check(
                source.fileno(), self.request, python=str(python),
                on_progress=base.ignore, with_map=True).disk_map

    def test_map(self):
        found = self.check_map(struct.pack('<QQH', 0, 4096, 0))
        self.assertEqual([(0, 4096, 0)], list(found))

    @ddt.data(struct.pack('<QQH', 0, 4097, 0), b'x',
              struct.pack('<QQH', 0, 4096, 1))
    def test_map_that_contradicts_itself(self, data):
        with (self.assertLogs(parent.LOG, 'ERROR') as logged,
              self.assertRaisesRegex(exceptions.ConverterStopped,
                                     'invalid message')):
            self.check_map(data)
        self.assertIn('the map contradicts itself', logged.output[0])

    def test_map_that_is_too_long(self):
        self.addCleanup(setattr, protocol, 'MAX_MAP', protocol.MAX_MAP)
        protocol.MAX_MAP = 17
        with (self.assertLogs(parent.LOG, 'ERROR'),
              self.assertRaises(exceptions.ConverterStopped)):
            self.check_map(struct.pack('<QQH', 0, 4096, 0))

    @ddt.data((4096, True), (1 << 40, True), (0, False))
    @ddt.unpack
    def test_disk_that_occupies_more_than_announced(self, allocated, beyond):
        """Space that no byte of the disk needs may lie beyond its end."""
        blocks = 8 * MIB if beyond else 4096
        python = self.outcome(1024, allocated=allocated, after=(
            'import ctypes; fallocate = ctypes.CDLL(None).fallocate; '
            f'fallocate(job["targets"][0], 1, ctypes.c_long(0), '
            f'ctypes.c_long({blocks}))'))
        if not beyond:
            self.run_child(b'', python=python)
            return
        with self.assertLogs(parent.LOG, 'ERROR') as logged:
            self.assert_ends(exceptions.ConverterStopped, 'invalid message',
                             b'', python=python)
        self.assertIn('this one occupies', logged.output[0])

    @ddt.data('exec sleep 60', 'exec 1>&-; exec sleep 60',
              'trap "" TERM; exec 0<&-; exec sleep 60')
    def test_no_end(self, command):
        self.lose_patience()
        self.patience = 3
        self.assert_ends(exceptions.ConverterStopped, '.', b'',
                         python=self.program(command))

    @ddt.data(
        'exec tr "\\0" y < /dev/zero',
        f"exec {sys.executable} -c 'import os\nwhile 1: os.write(2, b\"y\")'",
        f'exec {sys.executable} -uc "while 1: print(end=\'{{\')"',
        f'''exec {sys.executable} -uc "while 1: print('{{\\"progress\\":'
            '{{\\"source_size\\": null, \\"source_read\\": 0,'
            '\\"layers\\": 0, \\"layer\\": null, \\"disk_size\\": null,'
            '\\"bytes_written\\": 0}}}}')"''')
    def test_flood(self, command):
        self.lose_patience()
        seen = []
        start = time.monotonic()
        self.assert_ends(
            exceptions.ConverterStopped,
            '^the converter sent too many messages$', b'',
            python=self.program(command), on_progress=seen.append)
        most = (time.monotonic() - start) / parent._INTERVAL
        self.assertLessEqual(len(seen), most + 1)

    def test_silence(self):
        self.lose_patience()
        self.patience = 1e6
        self.addCleanup(setattr, parent, '_MAX_SILENCE', parent._MAX_SILENCE)
        parent._MAX_SILENCE = 2
        self.assert_ends(exceptions.ConverterStopped, 'silent for 2 seconds',
                         b'', python=self.program('exec sleep 60'))

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

"""What a conversion may use is bounded, and it says when it is over."""

import os
import subprocess
import sys

from glance_xs_convert import exceptions
from glance_xs_convert.worker import parent

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from tests.unit.worker import base

MIB = base.MIB


class Resources(base.WorkerCase):

    def test_nobody_else_can_read_the_disk(self):
        self.run_child(base.small_archive())
        self.assertEqual(0o600, self.target.stat().st_mode & 0o777)

    def test_least_memory_that_can_be_configured(self):
        self.run_child(base.small_archive(), max_memory=256 * MIB)

    def test_memory(self):
        # A table of 8 Mi entries, each in use, and each twice: it is read
        # before anything is found wrong with it.
        layer = vhd.Layer(
            2040 * base.GIB, block_size=256 * 1024, bat_entries={0: 100})
        data = archive.tgz(archive.chain_members([layer]))
        for max_memory in (16 * MIB, 64 * MIB, 96 * MIB):
            self.assert_ends(exceptions.XsConvertError, '.', data,
                             max_memory=max_memory)

    def test_processor_time(self):
        self.assert_ends(exceptions.LimitExceeded, 'processor time',
                         base.slow_archive(), max_cpu_time=1)

    def test_processor_time_is_up_while_an_image_is_surveyed(self):
        """It is not taken for a damage of the image."""
        size = 32 * base.GIB
        layers = chains.linked([
            vhd.Layer(size, [(7, chains.pattern(1))],
                      layout=('blocks', 'header', 'bat')),
            vhd.Layer(size, disk_type=vhd.FIXED)])
        data = archive.tgz(archive.chain_members(layers))
        error = self.assert_ends(
            exceptions.LimitExceeded, 'processor time', data, max_cpu_time=1)
        self.assertIsNone(error.member)

    def test_size_of_a_file(self):
        python = self.program(f'''
            ulimit -f 100
            exec {sys.executable} "$@"
        ''')
        self.assert_ends(exceptions.LimitExceeded, 'file system or a limit',
                         base.small_archive(), python=python)

    def test_no_network(self):
        allowed = subprocess.run(['unshare', '--net', 'true'],
                                 stderr=subprocess.DEVNULL)
        if allowed.returncode:
            self.skipTest('network namespaces are not allowed')
        seen = set()

        def look(progress):
            seen.update(os.readlink(f'/proc/{pid}/ns/net')
                        for pid in base.readers())
            if progress.layers:
                raise KeyboardInterrupt
        self.assert_ends(KeyboardInterrupt, '', base.slow_archive(),
                         on_progress=look)
        self.assertEqual(1, len(seen))
        self.assertNotIn(os.readlink('/proc/self/ns/net'), seen)

    def test_environment(self):
        python = self.program(f'env > {self.scratch}/environment; pwd >&2')
        os.environ['OS_PASSWORD'] = 'secret'
        self.addCleanup(os.environ.pop, 'OS_PASSWORD')
        with self.assertLogs(parent.LOG) as logged:
            self.assert_ends(exceptions.ConverterStopped, 'status 0', b'',
                             python=python)
        text = self.scratch.joinpath('environment').read_text()
        names = {line.partition('=')[0] for line in text.splitlines()}
        given = {'LC_ALL', 'MALLOC_ARENA_MAX', 'PATH', 'PYTHONPATH'}
        self.assertLessEqual(given, names)
        # The shell sets the others.
        self.assertLessEqual(names - given, {'OLDPWD', 'PWD', 'SHLVL', '_'})
        self.assertTrue(logged.output[0].endswith(': /'))

    def test_open_files_stay_with_the_parent(self):
        # Two are handed over, beside the standard streams.
        python = self.program(f"""
            exec {sys.executable} -c 'if 1:
                import os, sys
                left = 0
                for number in range(256):
                    try:
                        os.fstat(number)
                        left += 1
                    except OSError:
                        pass
                sys.exit(left)'
        """)
        with (open('/dev/null') as file, self.assertLogs(parent.LOG)):
            os.set_inheritable(file.fileno(), True)
            self.assert_ends(exceptions.ConverterStopped, 'status 5$', b'',
                             python=python)

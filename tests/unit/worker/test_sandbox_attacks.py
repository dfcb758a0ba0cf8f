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

"""What code in the converter's process could do, and cannot.

The threats and what stops them are documented in the security page: the
table there is checked against what is expected here.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import sysconfig

import ddt

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert.worker import landlock
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol
from glance_xs_convert.worker import sandbox
from glance_xs_convert.worker import seccomp

from tests.unit import cases
from tests.unit.worker import attacks
from tests.unit.worker import base

MIB = base.MIB

L, F, S = LANDLOCK, LIMITS, SECCOMP = 'landlock', 'limits', 'seccomp'

#: Which means stop an attack, each by itself.
STOPPED_BY = {
    'read_configuration': {L, F, S},
    'list_directory': {L, F, S},
    'read_environment_of_init': {L, F, S},
    'read_memory_of_parent': {L, F, S},
    'write_beside_the_disk': {L, F, S},
    'execute_program': {L, S},
    'connect_tcp': {L, F, S},
    'connect_udp': {F, S},
    'connect_unix_socket': {F, S},
    'connect_abstract_socket': {L, F, S},
    'signal_parent': {L, S},
    'trace_parent': {L, S},
    'fork': {S},
    'load_library': {L, F, S},
    'make_code': {S},
    'make_anonymous_file': {F, S},
    'enter_user_namespace': {S},
    'use_io_uring': {F, S},
    'raise_limits': {F, S},
    'allocate_space': {S},
}

#: These may fail for other reasons: the process has lost its privileges, and
#: hosts may allow them to nobody.
OFTEN_FORBIDDEN = {'read_environment_of_init', 'read_memory_of_parent',
                   'trace_parent', 'enter_user_namespace', 'use_io_uring'}

#: The first version of Landlock that stops them; the others, from 1 on.
VERSIONS = {'connect_tcp': 4, 'connect_abstract_socket': 6,
            'signal_parent': 6}

SUBSETS = [means for size in range(4)
           for means in itertools.combinations((L, F, S), size)]


def landlock_version():
    """Which version the kernel has; 0 for none."""
    try:
        return landlock._version()
    except landlock.Unavailable:
        return 0


def _found(logged):
    """What came of the attacks, from the last words of the process."""
    return json.loads(
        re.search(r'{"attacks".*', logged.output[-1])[0])['attacks']


def library():
    """A shared library that the converter has not loaded."""
    directory = sysconfig.get_config_var('DESTSHARED')
    return str(next(path for path in pathlib.Path(directory).glob('*.so')
                    if '_test' in path.name or 'sqlite' in path.name))


class AttackCase(base.WorkerCase):
    """Runs hostile code in the place of the decompressor."""

    def setUp(self):
        super().setUp()
        self.request = dataclasses.replace(
            self.request, max_memory=512 * MIB, max_cpu_time=60)
        self.settings = {
            'configuration': str(self.scratch / 'glance-api.conf'),
            'beside': str(self.scratch / 'beside'),
            'library': library(),
            'size': self.request.limits.max_virtual_size,
            'unix': str(self.scratch / 'socket'),
            'abstract': f'attacked {os.getpid()}',
        }
        self.scratch.joinpath('glance-api.conf').write_text('password')
        self.listen(socket.AF_UNIX, self.settings['unix'])
        self.listen(socket.AF_UNIX, '\0' + self.settings['abstract'])
        self.settings['tcp'] = self.listen(
            socket.AF_INET, ('127.0.0.1', 0)).getsockname()[1]
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(('127.0.0.1', 0))
        self.settings['udp'] = receiver.getsockname()[1]

    def listen(self, family, address):
        listener = socket.socket(family)
        self.addCleanup(listener.close)
        listener.bind(address)
        listener.listen()
        return listener

    def python(self, names, off):
        settings = self.settings | {'attacks': names, 'off': off}
        return self.program(f'''
            PYTHONPATH={cases.ROOT}:$PYTHONPATH
            exec {sys.executable} -m tests.unit.worker.attacks \\
                {shlex.quote(json.dumps(settings))}
        ''')

    def attack(self, names, off=()):
        """Attack with some means switched off.

        :returns: why each attack failed; None if it did not
        """
        with self.assertLogs(parent.LOG) as logged:
            self.assert_ends(exceptions.ConverterStopped, 'status 7',
                             base.small_archive(),
                             python=self.python(list(names), list(off)))
        self.logged = '\n'.join(logged.output)
        return _found(logged)


@ddt.ddt
class Attacks(AttackCase):

    def setUp(self):
        super().setUp()
        try:
            seccomp.Filter()
        except seccomp.Unavailable as error:
            self.skipTest(f'no seccomp filter: {error}')
        if not landlock_version():
            self.skipTest('the kernel has no Landlock')

    def stopped(self, name, means):
        """Whether any of the means stops an attack."""
        return any(one in STOPPED_BY[name] and (
            one != L or landlock_version() >= VERSIONS.get(name, 1))
            for one in means)

    @ddt.data('check', 'inspect')
    def test_other_work(self, work):
        """Whatever an image is read for, it is read in such a process."""
        self.source.write_bytes(base.small_archive())
        python = self.python(list(STOPPED_BY), [])
        with (open(self.source, 'rb') as file,
              self.assertLogs(parent.LOG) as logged,
              self.assertRaisesRegex(exceptions.ConverterStopped, 'status 7')):
            getattr(parent, work)(
                file.fileno(), self.request, python=str(python),
                on_progress=base.ignore)
        found = _found(logged)
        self.assertEqual(set(STOPPED_BY), set(found))
        self.assertNotIn(None, found.values())

    @ddt.data(*SUBSETS)
    def test_with(self, means):
        """What one of the means stops fails, everything else succeeds."""
        off = {L, F, S, 'network'} - set(means)
        found = self.attack(STOPPED_BY, off)
        self.assertEqual(set(STOPPED_BY), set(found))
        wrong = {name: reason for name, reason in found.items()
                 if self.stopped(name, means) == (reason is None)
                 and not (name in OFTEN_FORBIDDEN and reason is not None)}
        self.assertEqual({}, wrong)

    def test_with_all(self):
        found = self.attack(STOPPED_BY)
        self.assertEqual([], [name for name, reason in found.items()
                              if reason is None])
        self.assertFalse(os.path.exists(self.settings['beside']))

    def test_table_in_the_security_page(self):
        page = cases.ROOT / 'doc' / 'source' / 'admin' / 'security.rst'
        rows = re.findall(r'   \* - (.*)\n' + 3 * r'     - (.*)\n',
                          page.read_text())
        documented = {
            row[0]: {means for means, cell in zip((L, F, S), row[1:])
                     if cell.startswith('denied')}
            for row in rows if row[0] != 'Attempt'}
        self.assertEqual(
            {getattr(attacks, name).__doc__.rstrip('.'): means
             for name, means in STOPPED_BY.items()}, documented)


class Descendants(AttackCase):

    def test_nobody_writes_after_the_end(self):
        """A process that has moved away ends, too, without any means."""
        python = self.python(['leave_writer', 'claim_success'],
                             [L, F, S, 'network'])
        self.run_child(base.small_archive(), python=python)
        pid = int(pathlib.Path(self.settings['beside']).read_text())
        self.assertFalse(os.path.exists(f'/proc/{pid}'))
        self.target.write_bytes(b'mine')
        self.assertEqual(b'mine', self.target.read_bytes())


class Resources(AttackCase):
    """What is limited by other means than the sandbox's."""

    def test_no_network(self):
        """An empty network holds what the others would."""
        allowed = subprocess.run(['unshare', '--net', 'true'],
                                 stderr=subprocess.DEVNULL)
        if allowed.returncode:
            self.skipTest('network namespaces are not allowed')
        names = ['connect_tcp', 'connect_udp', 'connect_abstract_socket']
        self.assertNotIn(None, self.attack(names, (L, F, S)).values())

    def test_fill_memory(self):
        [reason] = self.attack(['fill_memory'], (L, F, S)).values()
        self.assertIn('MemoryError', reason)

    def test_fill_disk(self):
        self.request = dataclasses.replace(
            self.request, limits=image_limits.Limits(max_virtual_size=MIB))
        self.settings['size'] = MIB
        [reason] = self.attack(['fill_disk'], (L, F, S)).values()
        self.assertIn('File too large', reason)

    def test_fill_standard_error(self):
        self.assert_ends(
            exceptions.ConverterStopped, 'too many messages',
            base.small_archive(),
            python=self.python(['fill_standard_error'], []))

    def test_run_for_ever(self):
        """Whoever ignores the warning is killed soon after."""
        self.patience = base.PATIENCE
        with self.assertLogs(parent.LOG):
            self.assert_ends(
                exceptions.ConverterStopped, 'status -9',
                base.small_archive(), max_cpu_time=1,
                python=self.python(['run_for_ever'], []))

    def test_sleep_for_ever(self):
        self.patience = 2
        self.assert_ends(
            exceptions.ConverterStopped, 'no progress', base.small_archive(),
            python=self.python(['sleep_for_ever'], []))


class Required(AttackCase):
    """Nothing is read where a means is missing that is required."""

    def test_missing(self):
        for off in (L, F, S):
            error = self.assert_ends(
                exceptions.SandboxIncomplete, 'cannot be fully confined',
                base.small_archive(), sandbox=protocol.REQUIRED,
                python=self.python([], [off]))
            self.assertIn('it is switched off', error.reason)

    def test_missing_is_logged_once(self):
        self.addCleanup(parent._logged.update, set(parent._logged))
        parent._logged.clear()
        logged = []
        for _ in range(2):
            self.attack([], [S])
            logged.append(
                f'not fully confined: {sandbox.SECCOMP}' in self.logged)
        self.assertEqual([True, False], logged)

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

"""What the tests of the converter's process have in common."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import sys
import textwrap
import time
from unittest import mock

from glance_xs_convert import image_limits
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import process
from glance_xs_convert.worker import protocol

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd

from tests.unit import cases

GIB = vhd.GIB
MIB = vhd.MIB

#: What takes so long has no end, in seconds. A child has a low priority: on a
#: busy machine, a second of its processor time takes a minute.
PATIENCE = 300


def small():
    """A chain of two on a disk of 4 MiB."""
    return chains.linked([
        vhd.Layer(4 * MIB, written=[(0, chains.pattern('leaf', 100))]),
        vhd.Layer(4 * MIB, written=[(50, chains.pattern('base', 5000)),
                                    (8190, chains.pattern('end', 2))])])


@functools.cache
def small_archive():
    return archive.tgz(archive.chain_members(small()))


@functools.cache
def slow_archive():
    """It takes long to read: its base is fixed, all zeros."""
    size = 32 * GIB
    layers = chains.linked([
        vhd.Layer(size, written=[(0, chains.pattern('leaf', 100))]),
        vhd.Layer(size, disk_type=vhd.FIXED)])
    return archive.tgz(archive.chain_members(layers))


def ignore(progress):
    """Take no notice of the progress."""


def children(*parents):
    """The processes that this one has started, zombies among them.

    :param parents: processes instead of this one
    """
    found = []
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            starter = stat.read_text().rpartition(')')[2].split()[1]
            if int(starter) in (parents or (os.getpid(),)):
                found.append(int(stat.parent.name))
    return found


def readers():
    """The processes that read images; each is the child of a supervisor."""
    return children(*found) if (found := children()) else []


def _hang(signal_number, frame):
    raise TimeoutError('the child does not end')


class WorkerCase(cases.DiskCase):
    """Runs child processes, and looks at what they leave.

    :ivar source: the path of the archive
    :ivar patience: seconds without progress
    """

    def setUp(self):
        super().setUp()
        self.source = self.scratch / 'source'
        self.patience = PATIENCE
        # How long one that ends by itself may take.
        patched = mock.patch.object(protocol, 'GRACE', PATIENCE)
        patched.start()
        self.addCleanup(patched.stop)
        self.request = protocol.Request(
            image_limits.DEFAULT, digest=True, max_memory=1024 * MIB)

    def lose_patience(self):
        """Wait only a moment for what does not end by itself."""
        for module, name in ((protocol, 'GRACE'), (process, '_ENDING')):
            patched = mock.patch.object(module, name, 0.3)
            patched.start()
            self.addCleanup(patched.stop)

    def run_child(self, data, python=sys.executable, on_progress=ignore,
                  **changes):
        """Convert some data; no process is left when it is over.

        :param data: None if the source is there, or is to be missing
        :param changes: of the request
        """
        if data is not None:
            self.source.write_bytes(data)
        before = signal.signal(signal.SIGALRM, _hang)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.alarm(PATIENCE)
        try:
            return parent.convert_file(
                str(self.source), str(self.target),
                dataclasses.replace(self.request, **changes),
                python=str(python), on_progress=on_progress,
                progress_timeout=self.patience)
        finally:
            signal.alarm(0)
            self.assertEqual([], children())

    def program(self, text):
        """Make a shell script that can be run in the interpreter's place."""
        path = self.scratch / 'python'
        path.write_text('#!/bin/sh\n' + textwrap.dedent(text))
        path.chmod(0o700)
        return path

    def assert_ends(self, error, reason, data, **arguments):
        """The converter ends, for this reason, and leaves nothing."""
        with self.assertRaisesRegex(error, reason) as caught:
            self.run_child(data, **arguments)
        self.assertEqual([], os.listdir(self.output))
        return caught.exception

    def wait_until(self, condition):
        """Wait for something to become true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, 'in vain')
            time.sleep(0.05)

    def is_writing(self):
        return os.listdir(self.output) == [self.target.name + '.part']

    def is_reading(self):
        """Whether the process that reads the image is there, too."""
        return self.is_writing() and bool(readers())

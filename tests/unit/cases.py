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

"""What the tests of the converter have in common."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

from glance_xs_convert import api
from glance_xs_convert import exceptions
from glance_xs_convert import results

from testbed.images import archive
from testbed.images import model

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT.parent / 'shared' / 'fixtures'

# How long to wait, in seconds, for what takes one or two: the machine may be
# busy with other things. Nothing is judged by how long it takes.
PATIENCE = 300

# File systems round the space of a file up by a few pages and keep the map
# of its extents in further ones.
SLACK = 64 * 1024


def layer(number=0, **fields):
    """A layer of a chain, as a result describes it."""
    return results.Vhd(**{
        'name': f'./{number}.vhd', 'disk_type': 'dynamic',
        'current_size': 1 << 30, 'allocated_size': 0, 'file_size': 4096,
        'creator': 'tap 1.3', 'unique_id': str(uuid.UUID(int=number + 1)),
        'parent_unique_id': None, 'is_hidden': False} | fields)


def guest(**fields):
    """A virtual machine of an export, as a result describes it."""
    return results.Guest(**{
        'name': 'web-1', 'product': 'XenServer', 'version': '8.2.1',
        'memory': None, 'cpus': None, 'firmware': None, 'boot_mode': 'HVM',
        'bootloader': None} | fields)


def converted(**fields):
    """The result of a conversion of three layers."""
    return results.ConversionResult(**{
        'virtual_size': 1 << 30, 'layers': [*map(layer, range(3))],
        'allocated': 0, 'source_size': 4711,
        'source_sha256': 'c0ffee'} | fields)


class Hang(BaseException):
    """The converter did not come to an end."""


def _hang(signum, frame):
    raise Hang(f'no end after {PATIENCE} seconds')


def open_files():
    """How many files the process has open."""
    return len(os.listdir('/proc/self/fd'))


def fixtures(test):
    """Return the directory of the fixtures, or skip ``test``."""
    if not (FIXTURES / 'manifest.json').exists():
        test.skipTest('the fixtures are not beside the checkout')
    return FIXTURES


def heed_signals(test):
    """Let the signals that end a program end this one and its children.

    Whoever runs the tests may have them ignored: shells start what they put
    in the background with SIGINT ignored, and ``nohup`` ignores SIGHUP.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler),
                            (signal.SIGTERM, signal.SIG_DFL),
                            (signal.SIGHUP, signal.SIG_DFL)):
        test.addCleanup(signal.signal, number,
                        signal.signal(number, handler))


class ScratchCase(unittest.TestCase):
    """Has a directory that is removed at the end.

    :ivar scratch: its path
    """

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def begin_program(self, text):
        """Run a Python program until it is killed or the test ends.

        It has written a line when this returns; its argument is the directory.
        """
        process = subprocess.Popen(
            [sys.executable, '-c', text, self.scratch],
            stdout=subprocess.PIPE, env={'PYTHONPATH': ':'.join(sys.path)})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdout.readline()
        return process


class DiskCase(ScratchCase):
    """Has a place for a raw disk.

    :ivar output: an empty directory
    :ivar target: where the raw disk goes in there
    """

    def setUp(self):
        super().setUp()
        self.output = self.scratch / 'output'
        self.output.mkdir()
        self.target = self.output / 'disk.raw'


class ConvertCase(DiskCase):
    """Converts archives into an empty directory and looks at what is left."""

    def setUp(self):
        super().setUp()
        before = signal.signal(signal.SIGALRM, _hang)
        self.addCleanup(signal.signal, signal.SIGALRM, before)

    def source(self, data):
        """Return what ``convert`` is given: bytes go through a file."""
        if not isinstance(data, bytes):
            return data
        path = self.scratch / 'source'
        path.write_bytes(data)
        return str(path)

    def convert(self, data, **options):
        """Convert ``data``: bytes, a path or a file object.

        Whatever comes of it, no file stays open and no thread runs on.
        """
        source = self.source(data)
        before = open_files()
        threads = {*threading.enumerate()}
        signal.alarm(PATIENCE)
        try:
            return api.convert(source, str(self.target), **options)
        finally:
            signal.alarm(0)
            self.assertEqual((before, set()),
                             (open_files(), self.new_threads(threads)))

    @contextlib.contextmanager
    def memory(self, size):
        """Let the process take no more than ``size`` further bytes."""
        limits_before = resource.getrlimit(resource.RLIMIT_AS)
        with open('/proc/self/statm') as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS,
                           (used + size, limits_before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits_before)

    def new_threads(self, before):
        """The threads that have begun, once those had time to end that will.

        :param before: the threads that there were before
        """
        end = time.monotonic() + PATIENCE
        while found := {*threading.enumerate()} - before:
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        return found

    def assert_converts(self, layers, data=None, **options):
        """Check the disk that comes out against the model.

        ``data`` is the chain in a plain .tgz unless it is given.
        """
        if data is None:
            data = archive.tgz(archive.chain_members(layers))
        result = self.convert(data, **options)
        self.assert_disk(layers, result)
        return result

    def assert_disk(self, layers, result):
        """Check bytes, size and space of the raw disk, and the result."""
        self.assertIsNone(model.difference(self.target, layers))
        self.assertEqual(model.size(layers), result.virtual_size)
        self.assertEqual([layer.current_size for layer in layers],
                         [layer.current_size for layer in result.layers])
        self.assertLessEqual(self.target.stat().st_blocks * 512,
                             model.allocation(layers) + SLACK)
        self.assertEqual([self.target.name], os.listdir(self.output))

    def assert_refused(self, data, error=exceptions.XsConvertError,
                       member=None, **options):
        """Check that ``data`` is refused and leaves nothing behind.

        ``member`` is the name that has to be in the message.
        """
        with self.assertRaises(error) as caught:
            self.convert(data, **options)
        self.assertEqual([], os.listdir(self.output))
        message = str(caught.exception)
        self.assertRegex(message, r'^\S[^\n]*[^\s.]\.?$')
        if member is not None:
            self.assertIn(member, message)
        return caught.exception

    def assert_right_or_refused(self, layers, data, **options):
        """Check that ``data`` gives the chain's disk or a typed error."""
        try:
            result = self.convert(data, **options)
        except exceptions.XsConvertError:
            self.assertEqual([], os.listdir(self.output))
            return False
        self.assert_disk(layers, result)
        self.target.unlink()
        return True

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

"""What the tests that break things have in common."""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from glance_xs_convert.plugin import turns

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd
from tests.functional import archives
from tests.functional import base

#: How much a conversion reads that is no part of the disk, to take its time.
SWAP_SIZE = 2 * vhd.GIB
#: How much one reads that is to be ended before it has read all of it, however
#: long the test takes to do so.
ENDLESS_SIZE = 128 * vhd.GIB
#: So long may a conversion take to end when it is not wanted any more.
SOON = 120


def slow():
    """A chain of two, with a large swap.vhd between its members."""
    return _with_swap('slow.tgz', SWAP_SIZE)


@functools.cache
def endless():
    """The same with so much between them that nobody waits for the end."""
    return _with_swap('endless.tgz', ENDLESS_SIZE)


def _with_swap(name, size):
    layers = chains.linked([
        vhd.Layer(6 * vhd.MIB, written=[
            (0, chains.partition_table(63, 12000)),
            (400, chains.pattern('new file', 1000))]),
        vhd.Layer(4 * vhd.MIB, written=[
            (300, chains.pattern('old file', 3000))])])
    members = archive.chain_members(layers)
    members.insert(1, swap(size))
    return archives.Image(name, archive.tgz(members),
                          model.size(layers), model.sha256(layers))


def fixed():
    """A fixed disk of 24 MiB, the archive of which is small."""
    layer = vhd.Layer(24 * vhd.MIB, disk_type=vhd.FIXED, written=[
        (0, chains.partition_table(63, 40000)),
        (2048, chains.pattern('sector') * 40000)])
    return archives.Image(
        'fixed.tgz', archive.tgz(archive.chain_members([layer])),
        model.size([layer]), model.sha256([layer]))


def swap(size):
    """A member of an archive that is no part of the disk, but large."""
    zeros = sparse.Sparse()
    zeros.truncate(size)
    return archive.Member('./swap.vhd', zeros)


@contextlib.contextmanager
def small_file_system(mebibytes):
    """A file system of some size, the path of which is given.

    :raises SkipTest: the user is not allowed to mount one
    """
    directory = tempfile.mkdtemp(prefix='glance-xs-convert-')
    try:
        with mounted(directory, 'size=%dm' % mebibytes):
            yield pathlib.Path(directory)
    finally:
        os.rmdir(directory)


@contextlib.contextmanager
def mounted(directory, options):
    """Let a directory be a file system in memory until this is left.

    :raises SkipTest: the user is not allowed to mount one
    """
    mount(directory, options)
    try:
        yield
    finally:
        subprocess.run(['umount', '--lazy', directory], check=True)


def mount(directory, options):
    """Mount a file system in memory, or change one that is mounted."""
    if not shutil.which('mount'):
        raise unittest.SkipTest('there is no mount command')
    done = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', directory],
        capture_output=True, text=True)
    if done.returncode:
        raise unittest.SkipTest('no tmpfs: ' + done.stderr.strip())


class FaultCase(base.ImportCase):
    """Imports images while something breaks."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.turns = cls.cloud.turns

    def begin(self, image_id, data):
        """Begin an import, and wait until it is converted.

        :returns: the process ids of the converters
        """
        self.begin_web_download(image_id, data)
        found = []

        def is_converted():
            found[:] = self.cloud.converters()
            return found and len(self.cloud.staged()) > 1

        self.wait_until(is_converted)
        return found

    def own_turns(self):
        """The directory that Glance has made for its tickets."""
        directory, = self.turns.iterdir()
        return directory

    @contextlib.contextmanager
    def turns_taken(self, count):
        """Take turns of the host's, so that its conversions wait."""
        with self.new_image('first') as image_id:
            # Glance makes the directory of the tickets.
            self.assert_imports(image_id, archives.small())
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(turns.turn(
                    turns.Bounds(0, 0, 0), None, self.fail,
                    str(self.own_turns())))
            yield

    def status(self, image_id):
        """The image's status; None if there is no such image."""
        return next((status for status, in self.cloud.rows(
            'SELECT status FROM images WHERE id = %s AND deleted = 0',
            image_id)), None)

    def assert_imports(self, image_id, image):
        """The image can be imported now."""
        task = self.web_download(image_id, image.data)
        self.assert_converted(image_id, task, image)

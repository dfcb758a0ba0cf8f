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

"""Images in and out of order, and a file that counts how often it is read."""

import tempfile
import unittest

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter.streams import intake
from glance_xs_convert import image_limits

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import ova
from testbed.images import vhd
from tests.unit.converter import sources

KIB = 1 << 10


def layer(name, **options):
    return vhd.Layer(96 * KIB, [(3, chains.pattern(name, 3))], **options)


def out_of_order(name):
    """A disk whose blocks come before the table of their places."""
    return layer(name, layout=('header', 'blocks', 'bat'))


def bare(data):
    """A VHD in an archive, which hides where it ends."""
    return archive.tgz([archive.Member('disk', data.image())])


def package(first, second, late=False):
    made = ova.Package([ova.Machine([
        ova.Disk(first, 'first'), ova.Disk(second, 'second', '1')])])
    members = made.members()
    return archive.tar([*members[1:], members[0]] if late else members)


class ReaderCase(unittest.TestCase):
    """Reads images from a file that counts the passes.

    :cvar reader: what is made of an opened source
    """

    reader = None

    def open(self, data, can_seek=True):
        self.file = sources.Counting(data)
        if not can_seek:
            self.file.seekable = lambda: False
        source = intake.opened(self.file, conversion_progress.Progress())
        opened = source.__enter__()
        self.addCleanup(source.__exit__, None, None, None)
        return self.reader(opened, image_limits.DEFAULT,
                           conversion_progress.Progress())

    def new_file(self):
        """A raw disk, whose file is kept."""
        file = tempfile.NamedTemporaryFile()
        self.addCleanup(file.close)
        self.files.append(file)
        raw = sparse_file.SparseFile(file.fileno())
        self.names[raw] = file.name
        return raw

    def setUp(self):
        super().setUp()
        self.files = []
        self.names = {}

    def assert_written(self, wanted):
        """The model judges the disks, in the order of the files."""
        self.assertEqual([None] * len(wanted), [
            model.difference(file.name, layers)
            for file, layers in zip(self.files, wanted, strict=True)])

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


"""The pass, with layers that no VHD has ever been near."""

import os
import tempfile
import unittest

from glance_xs_convert import conversion_progress
from glance_xs_convert.converter.disk import extents
from glance_xs_convert.converter.disk import sparse_file
from glance_xs_convert.converter import layers
from glance_xs_convert.converter import one_pass
from glance_xs_convert.converter.streams import forward
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits

SECTOR = 512


class Written:
    """A layer of some sectors.

    :param sectors: the first sector and the letter of each
    """

    def __init__(self, name, size, sectors, has_parent=False):
        self.name = name
        self.size = size
        self.has_parent = has_parent
        self.data = forward.ForwardReader(
            letter * SECTOR for _, letter in sectors)
        self._sectors = sectors

    def blocks(self):
        return ((sector * SECTOR, SECTOR) for sector, _ in self._sectors)

    def extents(self):
        return (extents.Extent(sector * SECTOR, SECTOR, 1)
                for sector, _ in self._sectors)


class Image:
    """Layers in the order given, and what happens between them."""

    def __init__(self, size, *ranked, error=None):
        self.size = size
        self.finished = []
        self._ranked = ranked
        self._error = error

    def layers(self):
        for rank, layer in self._ranked:
            yield rank, layer
            self.finished.append(layer.data.position)
        if self._error is not None:
            raise self._error


class PassCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)
        self.progress = conversion_progress.Progress()
        self.limits = image_limits.Limits()

    def run_pass(self, image):
        one_pass.run(image, sparse_file.SparseFile(self.file.fileno()),
                     self.progress, self.limits)
        self.file.seek(0)
        return self.file.read()


class OnePass(PassCase):

    def test_one_layer(self):
        layer = Written('disk', 5 * SECTOR, [(3, b'c'), (1, b'a')])
        disk = self.run_pass(Image(5 * SECTOR, (0, layer)))
        self.assertEqual(bytes(SECTOR) + b'a' * SECTOR + bytes(SECTOR)
                         + b'c' * SECTOR + bytes(SECTOR), disk)
        self.assertEqual(1, self.progress.layers)
        self.assertIsNone(self.progress.layer)
        self.assertEqual(2 * SECTOR, self.progress.bytes_written)

    def test_newer_sectors_hide_older_ones(self):
        def ranked():
            return [
                (0, Written('leaf', 4 * SECTOR, [(0, b'n')], True)),
                (1, Written('base', 4 * SECTOR, [(0, b'o'), (2, b'o')]))]

        expected = b'n' * SECTOR + bytes(SECTOR) + b'o' * SECTOR + bytes(
            SECTOR)
        for order in (1, -1):
            with self.subTest(order=order):
                image = Image(4 * SECTOR, *ranked()[::order])
                self.assertEqual(expected, self.run_pass(image))

    def test_layers_are_read_to_the_end_one_by_one(self):
        image = Image(SECTOR, *[
            (rank, Written(str(rank), SECTOR, [(0, b'x')], rank < 2))
            for rank in range(3)])
        self.run_pass(image)
        self.assertEqual([SECTOR] * 3, image.finished)

    def test_more_has_to_be_known(self):
        image = Image(SECTOR, (0, Written('disk', SECTOR, [(0, b'x')])),
                      error=layers.NotInOrder('disk'))
        with self.assertRaises(layers.NotInOrder) as caught:
            self.run_pass(image)
        self.assertEqual('disk', caught.exception.member)

    def test_no_room(self):
        layer = Written('disk', SECTOR, [])
        layer.blocks = lambda: iter([(0, SECTOR)] * (1 << 20))
        file = sparse_file.SparseFile(self.file.fileno())
        file.check_room = self.refuse
        with self.assertRaises(exceptions.OutOfSpace):
            one_pass.run(Image(SECTOR, (0, layer)), file, self.progress,
                         self.limits)

    def refuse(self, size):
        self.assertEqual(SECTOR << 20, size)
        raise exceptions.OutOfSpace('no')


class DiskLimit(PassCase):
    """The disk may be limited more than its layers."""

    def setUp(self):
        super().setUp()
        self.limits = image_limits.Limits(
            max_disk_size=2 * SECTOR, disk_limit='image_size_cap')

    def layer(self, name, sectors, has_parent=False):
        return Written(name, sectors * SECTOR, [(0, b'x')], has_parent)

    def test_disk_that_is_small_enough(self):
        self.run_pass(Image(2 * SECTOR, (0, self.layer('0.vhd', 2))))

    def test_disk_that_is_too_large(self):
        """Nothing of it is written."""
        image = Image(3 * SECTOR, (0, self.layer('0.vhd', 3)))
        with self.assertRaisesRegex(
                exceptions.DiskTooLarge,
                r'^0.vhd: the disk has 1.5 KiB \(1536 bytes\), '
                r'more than image_size_cap, which is 1 KiB \(1024 bytes\)$'):
            self.run_pass(image)
        self.assertEqual(0, os.fstat(self.file.fileno()).st_size)

    def test_older_layer_may_be_larger(self):
        self.run_pass(Image(
            2 * SECTOR, (0, self.layer('0.vhd', 2, has_parent=True)),
            (1, self.layer('1.vhd', 3))))

    def test_large_layer_that_comes_before_the_leaf(self):
        """A survey has to find the leaf before anything is written."""
        image = Image(2 * SECTOR, (1, self.layer('1.vhd', 3)),
                      (0, self.layer('0.vhd', 2, has_parent=True)))
        with self.assertRaises(layers.NotInOrder):
            self.run_pass(image)
        self.assertEqual(0, os.fstat(self.file.fileno()).st_size)

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

"""The disk of an archive is made once more, and its sum."""

import hashlib
import io
import os
import tempfile
import threading
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import verify

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd

from tests.unit import cases


class _Response:
    def __init__(self, data):
        self._source = io.BytesIO(data)

    def iter_content(self, size):
        while chunk := self._source.read(size):
            yield chunk

    def close(self):
        """Nothing is open."""


class _Cloud:
    clock = patience.Clock(0)

    def __init__(self, data):
        self.data = data
        self.downloads = 0
        self.images = self

    def open_data(self, image_id, offset):
        self.downloads += 1
        return _Response(self.data[offset:])


class TestSum(cases.ScratchCase):
    """The oracle is the model of the testbed."""

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(tempfile, 'tempdir', str(self.scratch))
        patched.start()
        self.addCleanup(patched.stop)

    def sum_of(self, data, most=None):
        """The sum of a disk.

        :param most: how much of the archive can be downloaded
        """
        told = []
        cloud = _Cloud(data[:most])
        old = {'id': 'a', 'size': len(data)}
        try:
            return verify.sum_of_disk(
                cloud, old, 'sha256', told.append)
        finally:
            self.fractions, self.downloads = told, cloud.downloads
            self.assertEqual([], os.listdir(self.scratch))

    def test_chains_in_any_order(self):
        layers = chains.story_layers()
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            data = archive.tgz(archive.chain_members(layers, order=order))
            self.assertEqual(model.sha256(layers), self.sum_of(data))
            self.assertEqual(1.0, self.fractions[-1])
            self.assertEqual(1, self.downloads)
            self.assertEqual(sorted(self.fractions), self.fractions)

    def test_bare_vhds(self):
        for layer in (chains.story_layers()[2], vhd.Layer(
                1 << 20, disk_type=vhd.FIXED,
                written=[(9, chains.pattern('fixed', 3))])):
            self.assertEqual(model.sha256([layer]),
                             self.sum_of(layer.tobytes()))

    def test_broken_archive(self):
        # There is more of it than a pipe holds.
        for data in (b'no archive', bytes(1 << 20)):
            with self.assertRaises(exceptions.XsConvertError) as caught:
                self.sum_of(data)
            self.assertNotIsInstance(caught.exception, errors.MigrationError)

    def test_only_what_a_file_cures_is_downloaded_again(self):
        layers = chains.story_layers()
        broken = archive.tgz(archive.chain_members(layers[:2]))
        with self.assertRaises(exceptions.BrokenChain):
            self.sum_of(broken)
        self.assertEqual(1, self.downloads)

    def test_converter_that_ends_without_reading(self):
        """Nobody waits for a pipe that nobody reads, even if it is open."""
        data = bytes(10 << 20)
        held = []

        def hold(source, *arguments, **options):
            held.append(os.dup(source))
            raise exceptions.ConverterStopped('killed')

        with (mock.patch.object(verify.parent, 'convert', hold),
              self.assertRaisesRegex(exceptions.ConverterStopped, 'killed')):
            self.sum_of(data)
        os.close(*held)
        self.assertEqual([], [thread for thread in threading.enumerate()
                              if isinstance(thread, verify._Pump)])

    def test_download_that_fails(self):
        data = archive.tgz(archive.chain_members(chains.story_layers()))
        for most in (0, 100, len(data) - 1):
            with self.assertRaises(errors.Unreachable):
                self.sum_of(data, most)

    def test_no_directory_for_scratch_files(self):
        """The reason is one for the operator, not a fault of ours."""
        with (mock.patch.object(tempfile, 'tempdir', '/nowhere'),
              self.assertRaisesRegex(exceptions.UnwritableTarget,
                                     'created in /nowhere: No such file')):
            self.sum_of(b'')

    def test_operator_who_interrupts(self):
        data = archive.tgz(archive.chain_members(chains.story_layers()))
        with self.assertRaises(patience.Interrupted):
            verify.sum_of_disk(
                _Cloud(data), {'id': 'a', 'size': len(data)}, 'sha256',
                mock.Mock(side_effect=patience.Interrupted))

    def test_sum_of_holes(self):
        path = os.path.join(self.scratch, 'disk')
        with open(path, 'w+b') as disk:
            disk.truncate(3 << 20)
            found = verify._sum(disk.fileno(), hashlib.sha256(),
                                lambda: None)
        self.assertEqual(hashlib.sha256(bytes(3 << 20)).hexdigest(), found)
        os.unlink(path)

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
from unittest import mock

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import verify
from glance_xs_convert import progress

from testbed.images import archive
from testbed.images import chains
from testbed.images import model

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

    def open_data(self, image_id, offset):
        return _Response(self.data[offset:])


class TestSum(cases.ScratchCase):
    """The oracle is the model of the testbed."""

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(tempfile, 'tempdir', str(self.scratch))
        patched.start()
        self.addCleanup(patched.stop)

    def sum_of(self, data, container='ovf'):
        self.how_far = progress.Progress()
        old = {'id': 'a', 'size': len(data), 'container_format': container}
        try:
            return verify.sum_of_disk(
                _Cloud(data), old, 'sha256', self.how_far, lambda: None)
        finally:
            self.assertEqual([], os.listdir(self.scratch))

    def test_chains_in_any_order(self):
        layers = chains.story_layers()
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            data = archive.tgz(archive.chain_members(layers, order=order))
            self.assertEqual(model.sha256(layers), self.sum_of(data))
            self.assertEqual(1.0, self.how_far.fraction)

    def test_bare_vhd(self):
        layer = chains.story_layers()[2]
        self.assertEqual(model.sha256([layer]),
                         self.sum_of(layer.tobytes(), 'bare'))

    def test_broken_archive(self):
        with self.assertRaises(exceptions.XsConvertError):
            self.sum_of(b'no archive')

    def test_sum_of_holes(self):
        path = os.path.join(self.scratch, 'disk')
        with open(path, 'w+b') as disk:
            disk.truncate(3 << 20)
            found = verify._sum(disk.fileno(), hashlib.sha256(),
                                lambda: None)
        self.assertEqual(hashlib.sha256(bytes(3 << 20)).hexdigest(), found)
        os.unlink(path)

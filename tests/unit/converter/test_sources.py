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


"""How the archive is handed over, and the disk with it."""

import io
import os
import pathlib
import signal
import subprocess
import threading
import time

import ddt

from glance_xs_convert import api
from glance_xs_convert import conversion_progress
from glance_xs_convert import exceptions

from testbed.images import archive
from tests.unit import cases
from tests.unit.converter import shapes

chain = shapes.chain
with_layer = shapes.with_layer


@ddt.ddt
class Sources(cases.ConvertCase):
    """How the archive is handed over."""

    class Trickle(io.RawIOBase):
        """Gives at most ``step`` bytes a time, and can't be rewound."""

        def __init__(self, data, step):
            super().__init__()
            self._data = io.BytesIO(data)
            self._step = step

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._data.readinto(memoryview(buffer)[:self._step])

    def data(self):
        layers = chain()
        return layers, archive.tgz(archive.chain_members(
            layers, order=(1, 0, 2)))

    @ddt.data(str, pathlib.Path)
    def test_path(self, kind):
        layers, data = self.data()
        self.assert_disk(layers, api.convert(
            kind(self.source(data)), kind(self.target)))

    def test_file_object(self):
        layers, data = self.data()
        self.assert_converts(layers, io.BytesIO(data))

    @ddt.data(1, 17, 512, 65_536, 1 << 20)
    def test_pieces_of(self, step):
        layers, data = self.data()
        self.assert_converts(layers, self.Trickle(data, step))

    def test_pipe(self):
        layers, data = self.data()
        with subprocess.Popen(['cat', self.source(data)],
                              stdout=subprocess.PIPE) as feeder:
            self.assert_converts(layers, feeder.stdout)

    @ddt.data(archive.header(archive.Member('0.vhd', b'x')) * 2,
              archive.gzipped([b'x'])[:10])
    def test_refusal_does_not_wait_for_the_end_of_a_pipe(self, start):
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.write(writing, start + b'\xff' * 1024)
        with open(reading, 'rb', buffering=0) as source:
            self.assert_refused(source)

    @ddt.data((0, 1, 2), (2, 1, 0), (1, 2, 0))
    def test_pipe_with_members_in_any_order(self, order):
        layers = chain()
        data = archive.tgz(archive.chain_members(layers, order=order))
        self.assert_converts(layers, self.Trickle(data, 1000))

    def test_result_names_the_layers(self):
        layers, data = self.data()
        result = self.assert_converts(layers, data)
        self.assertEqual(
            ['0.vhd', '1.vhd', '2.vhd'],
            [layer.name.removeprefix('./') for layer in result.layers])

    def test_file_object_is_read_from_where_it_is(self):
        layers, data = self.data()
        source = io.BytesIO(b'before' + data)
        source.seek(6)
        self.assert_converts(layers, source)

    def test_file_object_that_is_read_twice_from_where_it_is(self):
        layers = with_layer(chain(), 1, layout=(
            'header', 'blocks', 'bat', 'locators'))
        data = archive.tgz(archive.chain_members(layers))
        source = io.BytesIO(b'before' + data)
        source.seek(6)
        self.assert_converts(layers, source)

    def test_pipe_with_a_layer_that_has_to_be_read_twice(self):
        layers = with_layer(chain(), 1, layout=(
            'header', 'blocks', 'bat', 'locators'))
        data = archive.tgz(archive.chain_members(layers))
        self.assert_right_or_refused(layers, self.Trickle(data, 5000))

    def test_progress(self):
        layers, data = self.data()
        seen = conversion_progress.Progress()
        self.assert_converts(layers, data, progress=seen)
        self.assertEqual(1.0, seen.fraction)
        self.assertGreater(seen.bytes_written, 0)

    def test_overwrite(self):
        layers, data = self.data()
        self.target.write_bytes(b'mine' * 999_999)
        self.assert_converts(layers, data, overwrite=True)

    def test_overwrite_with_nothing(self):
        _, data = self.data()
        self.target.write_bytes(b'mine')
        with self.assertRaises(exceptions.DamagedArchive):
            self.convert(data[:-9], overwrite=True)
        self.assertEqual([self.target.name], os.listdir(self.output))
        self.assertEqual(b'mine', self.target.read_bytes())

    def test_target_that_is_a_link(self):
        _, data = self.data()
        elsewhere = self.scratch / 'elsewhere'
        self.target.symlink_to(elsewhere)
        with self.assertRaises(exceptions.TargetExists):
            self.convert(data)
        self.assertFalse(elsewhere.exists())

    def interrupted(self, interrupt):
        """Convert from a source that calls ``interrupt`` half-way."""
        class Interrupted(self.Trickle):
            def readinto(self, buffer):
                if self._data.tell() > 20_000:
                    interrupt()
                return super().readinto(buffer)

        _, data = self.data()
        with self.assertRaises(KeyboardInterrupt):
            self.convert(Interrupted(data, 4096))
        self.assertEqual([], os.listdir(self.output))

    def test_interruption_leaves_nothing(self):
        cases.heed_signals(self)
        main = threading.main_thread().ident
        signals = iter([signal.SIGINT])

        def interrupt():
            for number in signals:
                signal.pthread_kill(main, number)
                time.sleep(0.5)

        self.interrupted(interrupt)

    def test_interruption_while_reading_leaves_nothing(self):
        def interrupt():
            raise KeyboardInterrupt

        self.interrupted(interrupt)

    def test_existing_target_is_kept(self):
        _, data = self.data()
        self.target.write_bytes(b'mine')
        with self.assertRaises(exceptions.TargetExists):
            self.convert(data)
        self.assertEqual(b'mine', self.target.read_bytes())
        self.assertEqual([self.target.name], os.listdir(self.output))

    def test_target_in_no_directory(self):
        _, data = self.data()
        with self.assertRaises(exceptions.XsConvertError):
            api.convert(self.source(data), self.output / 'no' / 'disk')

    def test_source_that_is_not_there(self):
        with self.assertRaises(exceptions.XsConvertError):
            self.convert(self.scratch / 'nothing')
        self.assertEqual([], os.listdir(self.output))

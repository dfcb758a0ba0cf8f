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

"""What the child does before it reads, and that it needs nothing later."""

import gzip
import json
import os
import random
import subprocess
import sys
import unittest

from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd
from testbed.images import xva
from tests.unit import cases
from tests.unit.worker import base

MIB = base.MIB

#: Reads images as the child does, whose paths are its arguments, and tells
#: what would have been loaded once it is locked in.
READER = '''
import json, sys
from glance_xs_convert.converter import convert
from glance_xs_convert import exceptions
from glance_xs_convert.worker import child
from glance_xs_convert.worker import protocol

files = [open(path, 'rb', buffering=0) for path in sys.argv[1:]]
child._work(protocol.CONVERT)
late = []
sys.addaudithook(lambda event, arguments: late.append([event, *map(
    str, arguments[:1])]) if event in ('import', 'open') else None)
outcomes = set()
for file in files:
    for work in (lambda: convert.check(file),
                 lambda: convert.convert(file, 0, digest=True)):
        file.seek(0)
        try:
            work()
        except exceptions.XsConvertError as error:
            outcomes.add(type(error).__name__)
        else:
            outcomes.add('converted')
print(json.dumps({'late': late, 'outcomes': sorted(outcomes)}))
'''


def damaged(data, rng):
    """Some bytes are changed, or the end is missing."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)):]
    return bytes(data)


class Loading(base.WorkerCase):
    """Nothing is loaded or opened after the process is locked in."""

    def images(self):
        rng = random.Random(1)
        story = chains.story_layers()
        for tar_format in (archive.GNU, archive.PAX, archive.USTAR):
            yield archive.tar(archive.chain_members(story[-1:]), tar_format)
        yield chains.story_chain().archive
        yield base.small()[1].tobytes()
        yield archive.tgz(archive.chain_members([vhd.Layer(
            MIB, [(7, chains.pattern(1))],
            layout=('blocks', 'header', 'bat'))]))
        yield archive.tar([archive.Member('p\u00e4x.vhd', vhd.Layer(
            MIB).tobytes())], archive.PAX).replace(b'\xc3\xa4', b'\xff\xff')
        for checksum in (xva.XXH64, xva.SHA1):
            export = xva.Export([xva.random_disk(
                checksum, 2 * MIB, checksum=checksum)]).tar()
            for wrap in (bytes, lambda data: archive.zstandard([data]),
                         gzip.compress):
                yield wrap(export)
                yield damaged(wrap(export), rng)
        # Much of these are structures, so that many of them are hit.
        members = archive.chain_members(chains.linked([
            vhd.Layer(MIB, [(number, chains.pattern(number))],
                      block_size=8192) for number in range(2)]))
        for _ in range(60):
            yield damaged(archive.tar(members), rng)
            yield damaged(archive.tgz(members), rng)

    def test_nothing_is_loaded_late(self):
        paths = []
        for number, data in enumerate(self.images()):
            paths.append(self.scratch / str(number))
            paths[-1].write_bytes(data)
        self.target.touch()
        with open(self.target, 'r+b') as target:
            ended = subprocess.run(
                [sys.executable, '-c', READER, *paths], stdin=target,
                cwd=cases.ROOT, check=True, stdout=subprocess.PIPE,
                env={'PYTHONPATH': os.pathsep.join(sys.path)})
        found = json.loads(ended.stdout)
        self.assertEqual([], found['late'])
        self.assertLessEqual({'converted', 'DamagedArchive', 'WrongChecksum'},
                             set(found['outcomes']))


class Privileges(base.WorkerCase):
    """What the kernel says of a child that reads."""

    def status(self):
        found = {}

        def look(progress):
            for pid in base.readers():
                with open(f'/proc/{pid}/status') as status:
                    found.update(line.strip().split(':\t', 1)
                                 for line in status if ':\t' in line.strip())
            if progress.layers:
                raise KeyboardInterrupt
        self.assert_ends(KeyboardInterrupt, '', base.slow_archive(),
                         on_progress=look)
        return found

    @unittest.skipIf(os.geteuid(), 'others have no privileges')
    def test_dropped(self):
        status = self.status()
        for kind in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb'):
            self.assertEqual(0, int(status[f'Cap{kind}'], 16), kind)
        self.assertEqual('1', status['NoNewPrivs'])

    def test_no_descriptors(self):
        limits = []

        def look(progress):
            for pid in base.readers():
                with open(f'/proc/{pid}/limits') as file:
                    limits.extend(line.split()[3:5] for line in file
                                  if line.startswith('Max open files'))
            if progress.layers:
                raise KeyboardInterrupt
        self.assert_ends(KeyboardInterrupt, '', base.slow_archive(),
                         on_progress=look)
        self.assertEqual(['0', '0'], limits[-1])

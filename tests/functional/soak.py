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

"""Many imports of all kinds into one Glance, while everything breaks.

Uploaders import good, broken and hostile images by all methods into several
stores, one of which is full and one of which is on RBD; some downloads stall.
Meanwhile Glance and its converters are killed. In the end nothing is to be
left behind, and no image may be in a state in which it cannot be imported
again.

With ``--compare``, nothing is broken or killed. Archives are imported as fast
as they can be, then their raw disks, by a Glance without the plugin and so
many a minute as there were archives. The figure is how long the API takes.
"""

import argparse
import collections
import contextlib
import dataclasses
import faulthandler
import hashlib
import math
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback

from glanceclient import exc
from keystoneauth1 import exceptions as ksa_exc
import requests

from testbed.clouds import ceph
from testbed.clouds import cloud
from testbed.clouds import file_server
from testbed.clouds import services
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from tests.functional import archives

STORES = ('fast', 'slow', 'full')
#: The store on RBD.
VAULT = 'vault'
#: The size of the store that is full, in MiB.
FULL = 4
#: How long an image may take until it is settled, in seconds.
PATIENCE = 600
#: How long Glance may take to see to what was left behind, in seconds.
SOON = 60
#: How long Glance is slow after its start, in seconds.
WARM = 5
#: How many lines of Glance's log are shown of what is left.
LINES = 60
#: What is counted of an image that was imported and is right.
IMPORTED = 'imported, byte-exact'
#: What Glance says if a task raises what it does not expect.
INTERNAL_ERROR = 'Task failed due to Internal Error'
UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
#: How often one image is imported until it is given up.
ATTEMPTS = 12

#: What a client meets while Glance is killed.
GONE = (exc.CommunicationError, exc.HTTPServiceUnavailable,
        exc.HTTPInternalServerError, ksa_exc.ConnectionError,
        ksa_exc.ServiceUnavailable, ksa_exc.InternalServerError,
        ksa_exc.ConnectFailure, requests.exceptions.RequestException,
        OSError)

#: How messages begin that tell of a mishap, and not of the image.
REFUSED = 'The XenServer image cannot be converted: '
MISHAP = (f'{REFUSED}the converter ended unexpectedly, with status -9. '
          '[ConverterStopped]')


@dataclasses.dataclass(frozen=True)
class Sample:
    """An archive, and what is to become of it.

    :ivar sha256: of its disk; None if it is refused
    :ivar reason: a pattern of why it is refused
    """

    name: str
    data: bytes
    size: int = 0
    sha256: str | None = None
    reason: str = ''
    disk_format: str = 'vhd'
    container_format: str = 'ovf'


def chain(name, size, written):
    """A chain of two layers on a disk of some MiB."""
    return chains.linked([
        vhd.Layer(size * vhd.MIB, written=[
            (0, chains.partition_table(63, 2000)),
            (4096, chains.pattern(name, written))]),
        vhd.Layer(size * vhd.MIB, written=[
            (4000, chains.pattern('old' + name, 500))])])


CHAINS = {name: chain(name, size, written) for name, size, written in (
    ('small', 6, 200), ('middle', 64, 3000), ('large', 256, 2000))}


def good(name, layers):
    """An archive, which the plugin converts."""
    return Sample(name, archive.tgz(archive.chain_members(layers)),
                  model.size(layers), model.sha256(layers))


def raw(name, layers):
    """The same disk without an archive, which any Glance imports."""
    disk = model.expected(layers)
    return Sample(name, disk, len(disk), hashlib.sha256(disk).hexdigest(),
                  disk_format='raw', container_format='bare')


def samples():
    """Archives of all kinds."""
    found = [good(*item) for item in CHAINS.items()]
    found += [Sample(refused.name, refused.data, reason=refused.reason)
              for refused in archives.refused()]
    sound = found[0].data
    rng = random.Random('hostile')
    bomb = vhd.Layer(2040 * vhd.GIB + vhd.MIB * 4, written=[])
    found.append(Sample('flipped', archive.flipped(
        sound, rng.randrange(len(sound) * 4, len(sound) * 8)), reason='.'))
    found.append(Sample('zeros', archive.tgz(
        [archive.Member('0.vhd', bytes(64 * vhd.MIB))]), reason='.'))
    with contextlib.suppress(ValueError, OverflowError):
        found.append(Sample('bomb', archive.tgz(
            archive.chain_members([bomb])), reason='.'))
    return found


class Watch:
    """Asks for the list of images, and keeps how long that took.

    It is a process of its own, so that it waits for Glance and not for the
    uploaders of this one.

    :param glance: the cloud
    """

    def __init__(self, glance):
        session = glance.keystone.session('other')
        self._answers, answers = multiprocessing.Pipe(duplex=False)
        self._end = multiprocessing.Event()
        self._process = multiprocessing.Process(
            target=watch, args=(glance.url, session.get_token(), answers,
                                self._end))
        self._process.start()

    def end(self, down=()):
        """End it.

        :param down: intervals in which Glance was not to be expected to
                     answer
        :returns: how long each other answer took, in seconds
        """
        self._end.set()
        found = self._answers.recv()
        self._process.join()
        return [ended - begun for begun, ended in found if not any(
            begun < later and ended > former for former, later in down)]


def watch(url, token, answers, end):
    """Ask until the end, and then tell when each question was answered."""
    os.setsid()
    session = requests.Session()
    found = []
    while not end.wait(0.25):
        begun = time.monotonic()
        with contextlib.suppress(requests.exceptions.RequestException):
            if session.get(f'{url}/v2/images?limit=20', headers={
                    'X-Auth-Token': token}).ok:
                found.append((begun, time.monotonic()))
    answers.send(found)


def yield_to_glance():
    """Let the uploaders run after Glance: a cloud has them elsewhere.

    Linux schedules by session, and the services have their own here.
    """
    with (contextlib.suppress(OSError),
          open('/proc/self/autogroup', 'w') as autogroup):
        autogroup.write('10')


def percentile(seconds):
    """The 95th."""
    return statistics.quantiles(seconds, n=20)[-1]


class Soak:
    """One run.

    :ivar down: intervals in which Glance is not to be expected to answer
    :ivar kills: how often Glance was killed
    """

    def __init__(self, options, glance, files):
        self.options = options
        self.cloud = glance
        self.files = files
        self.samples = self.kinds_of_samples()
        self.stores = [['fast'], ['fast'], ['slow'], ['fast', 'slow']]
        if VAULT in glance.stores:
            self.stores += [[VAULT], ['fast', VAULT]]
        if not options.compare:
            self.stores.append(['full'])
        self.deadline = 0.0
        self.down = []
        self.kills = self.converter_kills = 0
        self.counts = collections.Counter()
        self.faults = []
        self._lock = threading.Lock()
        self._begun = 0
        self._pids = set()

    def kinds_of_samples(self):
        if self.options.raw:
            return [raw(*item) for item in CHAINS.items()]
        if self.options.compare:
            return [good(*item) for item in CHAINS.items()]
        return samples()

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def wait_for_turn(self):
        """Wait until the next image is due, if there is a rate."""
        if not self.options.rate:
            return
        with self._lock:
            number = self._begun
            self._begun += 1
        begun = self.deadline - self.options.minutes * 60
        due = begun + number * 60 / self.options.rate
        time.sleep(max(min(due, self.deadline) - time.monotonic(), 0))

    def fault(self, text):
        with self._lock:
            self.faults.append(text)
        print(time.strftime('%X'), 'FAULT', text, flush=True)

    def over(self):
        return time.monotonic() > self.deadline

    def run(self):
        """Import until the time is up, and print what came of it."""
        idle = Watch(self.cloud)
        time.sleep(self.options.idle)
        idle = idle.end()
        self.deadline = time.monotonic() + self.options.minutes * 60
        busy = Watch(self.cloud)
        yield_to_glance()
        threads = [
            threading.Thread(target=self.guarded, args=(Uploader(
                self, number).run,))
            for number in range(self.options.uploaders)]
        for thread in threads:
            thread.start()
        # Glance ends with the thread that has started it, so this is it.
        self.guarded(self.kill)
        busy = busy.end(self.down)
        for thread in threads:
            thread.join()
        self.look_at_what_is_left()
        self.busy = percentile(busy)
        self.report(idle, busy)

    def guarded(self, function):
        try:
            function()
        except Exception:
            self.fault(traceback.format_exc())

    def kill(self):
        """Kill Glance or converters, again and again."""
        rng = random.Random(self.options.seed)
        while True:
            pause = rng.uniform(0.5, 1.5) * self.options.interval or math.inf
            left = self.deadline - time.monotonic()
            time.sleep(max(min(pause, left), 0))
            if self.over():
                return
            converters = self.cloud.converters()
            self._pids.update(converters)
            if rng.random() < 0.6 and converters:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(converters), signal.SIGKILL)
                self.converter_kills += 1
                continue
            self.kills += 1
            begun = time.monotonic()
            self.cloud.kill_glance()
            self.cloud.restart_glance()
            self.down.append((begun, time.monotonic() + WARM))

    def look_at_what_is_left(self):
        """All images are deleted: nothing of them may be there."""
        deadline = time.monotonic() + SOON
        while True:
            left = {
                'staging': self.cloud.staged(),
                'tickets': self.cloud.tickets(),
                'converters': self.cloud.converters() + [
                    pid for pid in self._pids
                    if cloud.CONVERTER in services.command_line(pid)],
                **{f'store {store}': self.cloud.stored(store)
                   for store in self.cloud.stores}}
            if not any(left.values()) or time.monotonic() > deadline:
                break
            time.sleep(1)
        for where, what in left.items():
            if what:
                self.fault(f'{where}: {what}')
                for name in what:
                    print(self.history(str(name)))

    def history(self, name):
        """What Glance's log says of an image."""
        with self.cloud.log.open(errors='replace') as log:
            lines = [line[:300] for line in log if name[:36] in line
                     and 'version_negotiation' not in line]
        return '\n'.join(lines[-LINES:])

    def finished(self):
        """How many images were imported a minute."""
        return self.counts[IMPORTED] / self.options.minutes

    def report(self, idle, busy):
        print(f'{self.options.minutes:g} minutes, '
              f'{self.options.uploaders} uploaders, Glance killed '
              f'{self.kills} times, converters {self.converter_kills} times')
        for what, number in sorted(self.counts.items()):
            print(f'{number:6d} {what}')
        kind = 'raw disks' if self.options.raw else 'archives'
        print(f'{self.finished():.1f} {kind} a minute')
        print(f'list of images, 95th percentile: idle '
              f'{percentile(idle) * 1000:.0f} ms of {len(idle)}, busy '
              f'{self.busy * 1000:.0f} ms of {len(busy)}: '
              f'{self.busy / percentile(idle):.2f} x')
        print(f'{len(self.faults)} faults', flush=True)


class Uploader:
    """Imports one image after the other."""

    def __init__(self, soak, number):
        self.soak = soak
        self.rng = random.Random(f'{soak.options.seed} {number}')
        self.client = soak.cloud.client()
        self.session = soak.cloud.keystone.session('demo')

    def run(self):
        while not self.soak.over():
            self.soak.wait_for_turn()
            if not self.soak.over():
                self.one_image()

    def call(self, function, *arguments, **options):
        """Call the API, again and again while Glance is down."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return function(*arguments, **options)
            except GONE:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def one_image(self):
        sample = self.rng.choice(self.soak.samples)
        if self.rng.random() < 0.4:
            sample = self.soak.samples[self.rng.randrange(3)]
        image_id = self.call(
            self.client.images.create, name=sample.name,
            disk_format=sample.disk_format,
            container_format=sample.container_format).id
        try:
            if not self.soak.options.compare and self.rng.random() < 0.05:
                self.begin(image_id, sample)
                time.sleep(self.rng.uniform(0, 5))
                self.soak.count('deleted while it was imported')
            else:
                self.import_it(image_id, sample)
        finally:
            self.delete(image_id)

    def delete(self, image_id):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.call(self.client.images.delete, image_id)
                return
            except exc.HTTPNotFound:
                return
            except exc.HTTPException:
                if time.monotonic() > deadline:
                    raise
                if self.is_half_deleted(image_id):
                    self.soak.count('deleted by half when Glance was killed')
                    return
                time.sleep(0.5)

    def is_half_deleted(self, image_id):
        """Whether Glance was killed while it deleted the image.

        It has the status then, but is still listed; deleting it again is
        refused. That is Glance's own affair.
        """
        try:
            image = self.call(self.client.images.get, image_id)
        except exc.HTTPNotFound:
            return False
        return image.status == 'deleted'

    def import_it(self, image_id, sample):
        """Import until what comes of it is what is to come of it."""
        for _ in range(ATTEMPTS):
            kills = self.soak.kills
            status, message = self.settled(
                image_id, self.begin(image_id, sample))
            if status == 'active':
                if sample.sha256 is None:
                    self.soak.fault(f'{image_id}: {sample.name} is active')
                self.verify(image_id, sample)
                return
            if status != 'queued':
                self.soak.fault(f'{image_id}: {sample.name} is {status} and '
                                f'cannot be imported again: {message}')
                return
            if sample.sha256 is None and re.search(
                    f'cannot be converted: .*{sample.reason}', message):
                self.soak.count('refused')
                return
            # Data may be cut short where Glance was killed while it came.
            if (message.startswith(REFUSED) and message != MISHAP
                    and kills == self.soak.kills):
                self.soak.fault(f'{image_id}: {sample.name}: {message}')
            self.soak.count(f'failed: {message[:160]}')
        self.soak.fault(f'{image_id}: {sample.name} was not imported in '
                        f'{ATTEMPTS} attempts: {message}')

    def begin(self, image_id, sample):
        """Begin an import.

        :returns: the method
        """
        method = self.rng.choice(('web-download', 'glance-direct', 'upload'))
        stores = self.rng.choice(self.soak.stores)
        try:
            if method == 'web-download':
                self.client.images.image_import(
                    image_id, method, uri=self.url(image_id, sample),
                    stores=stores, allow_failure=self.rng.random() < 0.3)
            elif method == 'glance-direct':
                self.put(f'{image_id}/stage', sample.data)
                self.client.images.image_import(image_id, method,
                                                stores=stores)
            else:
                self.put(f'{image_id}/file', sample.data,
                         {'X-Image-Meta-Store': stores[0]})
        except exc.HTTPOverLimit:
            self.soak.count('uploads for which there was no space')
        except GONE:
            self.soak.count('requests that Glance did not survive')
        except exc.HTTPConflict:
            # It was begun before, by a request whose answer was lost.
            self.soak.count('requests that met another import')
        self.soak.count(f'begun by {method}')
        return method

    def put(self, path, data, headers=None):
        """Send data with its length: uWSGI takes no chunks."""
        response = self.session.put(
            f'{self.soak.cloud.url}/v2/images/{path}', data=data,
            headers={'Content-Type': 'application/octet-stream'}
            | (headers or {}), raise_exc=False)
        if not response.ok:
            raise exc.from_response(response, response.content)

    def url(self, image_id, sample):
        options = {}
        kind = 1 if self.soak.options.compare else self.rng.random()
        if kind < 0.1:
            options = {'drop_after': len(sample.data) // 2,
                       'stall': self.rng.uniform(5, 30)}
        elif kind < 0.3:
            options = {'bytes_per_second': max(
                1000, int(len(sample.data) / self.rng.uniform(2, 10)))}
        name = f'{image_id}-{self.rng.random()}'
        return self.soak.files.add(name, sample.data, **options)

    def settled(self, image_id, method):
        """Wait for an end of an import.

        :returns: the image's status, and why its newest task failed
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            image = self.call(self.client.images.get, image_id)
            locked = 'os_glance_import_task' in image
            if not locked and image.status in ('active', 'queued'):
                break
            if not locked and image.status == 'uploading':
                # Staged, but not imported: its client's next step.
                with contextlib.suppress(*GONE, exc.HTTPException):
                    self.client.images.image_import(image_id,
                                                    'glance-direct')
            time.sleep(0.5)
        return image.status, self.message(image_id)

    def message(self, image_id):
        """Why the newest task of an image failed.

        Glance ends a task and releases its image one after the other.
        """
        deadline = time.monotonic() + SOON
        while True:
            task = self.call(cloud.newest_task, self.client, image_id)
            if task is None:
                return 'Glance was killed before it had a task'
            if task['status'] in cloud.FINAL:
                break
            if time.monotonic() > deadline:
                self.soak.fault(f'{image_id}: its task does not end: {task}')
                break
            time.sleep(0.5)
        if task['status'] == 'failure' and not task['message']:
            self.soak.fault(f'{image_id}: nobody is told why {task} failed')
        if task['message'] == INTERNAL_ERROR:
            return f'{INTERNAL_ERROR}: {self.logged(task["id"])}'
        return task['message']

    def logged(self, task_id):
        """The error that made Glance fail a task, without its IDs."""
        log = self.soak.cloud.log.read_text(errors='replace')
        found = re.findall(f'Failed to execute task {task_id}: (.*)', log)
        return UUID.sub('ID', found[-1]) if found else 'not in the log'

    def verify(self, image_id, sample):
        """The image is its disk, to the byte."""
        size, digest = self.call(self.download, image_id)
        if (size, digest) != (sample.size, sample.sha256):
            self.soak.fault(f'{image_id}: {sample.name} is {size} bytes, '
                            f'{digest}')
        self.soak.count(IMPORTED)

    def download(self, image_id):
        size, digest = 0, hashlib.sha256()
        for chunk in self.client.images.data(image_id):
            size += len(chunk)
            digest.update(chunk)
        return size, digest.hexdigest()


@contextlib.contextmanager
def full_store(path):
    """Let a store be on a file system that is too small."""
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={FULL}m', 'tmpfs', str(path)],
        capture_output=True, text=True)
    if mounted.returncode:
        sys.exit(f'no tmpfs can be mounted: {mounted.stderr.strip()}')
    try:
        yield
    finally:
        subprocess.run(['umount', '--lazy', str(path)], check=True)


def glance_with(files, options):
    """A cloud with the plugin, or without."""
    vault = () if ceph.missing() else (VAULT,)
    if options.raw:
        return cloud.Cloud(
            stores=STORES, rbd_stores=vault, sources=[files.url],
            server=options.server, image_import_plugins=())
    return cloud.Cloud(
        stores=STORES, rbd_stores=vault, sources=[files.url],
        server=options.server, edit_paste=cloud.with_upload_filter)


def soak(options):
    """Start a cloud, import into it, and return the run that is over."""
    with (file_server.FileServer() as files,
          glance_with(files, options) as glance,
          full_store(glance.store_path('full'))):
        run = Soak(options, glance, files)
        run.run()
        return run


def compare(options):
    """Import archives, then as many raw disks a minute.

    :returns: both runs
    """
    options.interval = 0
    archives_ = soak(options)
    options.raw, options.rate = True, archives_.finished()
    raws = soak(options)
    print(f'95th percentile: archives {archives_.busy * 1000:.0f} ms, as many '
          f'raw disks {raws.busy * 1000:.0f} ms: '
          f'{archives_.busy / raws.busy:.2f} x')
    return archives_, raws


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--uploaders', type=int, default=8)
    parser.add_argument('--interval', type=float, default=20,
                        help='seconds between kills, on average; 0 for no '
                             'kills')
    parser.add_argument('--idle', type=float, default=30,
                        help='seconds to measure without load at first')
    parser.add_argument('--server', choices=('uwsgi', 'gunicorn'),
                        default='uwsgi', help='what runs Glance')
    parser.add_argument('--rate', type=float, default=0,
                        help='images to begin a minute; 0 for as many as '
                             'possible')
    parser.add_argument('--raw', action='store_true',
                        help='import the raw disks of the good images, and '
                             'without the plugin: what the API takes then is '
                             "Glance's own")
    parser.add_argument('--compare', action='store_true',
                        help='import archives, then as many raw disks')
    parser.add_argument('--seed', default='soak')
    return parser.parse_args()


def main():
    options = parse()
    services.Daemon.own_session = True
    # Where all threads are, when somebody wants to know.
    faulthandler.register(signal.SIGUSR1)
    if reason := ceph.missing():
        print(f'without a store on RBD: {reason}')
    runs = compare(options) if options.compare else [soak(options)]
    return 1 if any(run.faults for run in runs) else 0


if __name__ == '__main__':
    sys.exit(main())

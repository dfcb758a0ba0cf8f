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

"""Measure migrations of many images.

    python -m tools.bench_migrate --images 1000 --listed 10000

By default the images are as small as they can be, so what is measured is the
command and Glance's imports, and not conversions. The command reaches Glance
through a proxy that counts its requests.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import time
from typing import Any
import uuid

from testbed.clouds import cloud as cloud_
from testbed.clouds import haproxy
from testbed.clouds import troubled
from testbed.images import archive
from testbed.images import chains
from testbed.images import vhd

COMMAND = (sys.executable, '-m', 'glance_xs_convert.cli.main', 'migrate')
POLL = 'GET /v2/images/ID/tasks'
LIST = 'GET /v2/images'
_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of the command.

    :ivar seconds: from its start to its end
    :ivar work: processor time of the command alone, in seconds
    :ivar busy: share of the machine's processors that was in use, by whomever
    :ivar memory: the most that it had resident, in KiB
    :ivar requests: how many there were of each kind
    """

    seconds: float
    work: float
    busy: float
    memory: int
    requests: dict[str, int]


def write_archive(path: pathlib.Path, data: int) -> None:
    """Write an archive of one layer.

    :param data: bytes of random data on the disk; for none, the disk is as
                 small as possible
    """
    if data:
        rng = random.Random('bench-migrate')
        layer = vhd.Layer(data, written=[
            (offset // vhd.SECTOR, rng.randbytes(vhd.MIB))
            for offset in range(0, data, vhd.MIB)])
    else:
        layer = vhd.Layer(64 * _KIB, block_size=4096,
                          written=[(8, chains.pattern('tiny', 4))])
    archive.write_tgz(path, archive.chain_members(chains.linked([layer])))


def ticks() -> tuple[int, int]:
    """The busy and all ticks of the processors since the machine started."""
    with open('/proc/stat', encoding='ascii') as stat:
        user, nice, system, idle, waiting, *others = map(
            int, stat.readline().split()[1:8])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waiting


def call(cloud: cloud_.Cloud, *arguments: str) -> Call:
    """Call the command as an administrator."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith('OS_')}
    with troubled.TroubledProxy(cloud.url) as proxy:
        env |= cloud.env('admin')
        env['OS_IMAGE_ENDPOINT_OVERRIDE'] = proxy.url
        start, (busy, all_) = time.monotonic(), ticks()
        process = subprocess.Popen([*COMMAND, *arguments, '-f', 'json'],
                                   env=env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        busy_then, all_then = ticks()
    if status:
        sys.exit(f'the command ended with status {status}')
    return Call(seconds, usage.ru_utime + usage.ru_stime,
                (busy_then - busy) / (all_then - all_), usage.ru_maxrss,
                dict(proxy.counts))


def store(cloud: cloud_.Cloud, count: int, path: pathlib.Path) -> None:
    """Upload images, which nothing converts."""
    client = cloud.client('admin')
    for number in range(count):
        image = client.images.create(
            name=f'image {number}', disk_format='vhd',
            container_format='ovf')
        with path.open('rb') as data:
            client.images.upload(image.id, data, path.stat().st_size)


def import_seconds(cloud: cloud_.Cloud) -> list[float]:
    """How long each import took, as Glance has it."""
    return [(ended - begun).total_seconds() for begun, ended in cloud.rows(
        "SELECT created_at, updated_at FROM tasks WHERE status = 'success'")]


def multiply(cloud: cloud_.Cloud, count: int) -> None:
    """Make images without data, until there are so many more.

    They are copies of an archive that was uploaded, but for the id.
    """
    columns = [name for name, *_ in cloud.rows('SHOW COLUMNS FROM images')]
    values, = cloud.rows("SELECT * FROM images WHERE disk_format = 'vhd' "
                         'LIMIT 1')
    statement = 'INSERT INTO images VALUES (%s)' % ', '.join(
        ['%s'] * len(columns))
    cloud.change_database(*(
        (statement, *(str(uuid.uuid4()) if column == 'id' else value
                      for column, value in zip(columns, values)))
        for _ in range(count)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    hosts = 2 if haproxy.installed() else 1
    with cloud_.Cloud(hosts=hosts) as cloud:
        path = cloud.directory / 'image.tgz'
        # Its memory would count as the command's in a process that is forked.
        maker = multiprocessing.Process(
            target=write_archive, args=(path, options.mib * vhd.MIB))
        maker.start()
        maker.join()
        store(cloud, options.images, path)
        few = call(cloud, 'run', '--jobs', str(options.jobs),
                   '--limit', str(max(options.images // 10, 1)))
        before = sum(import_seconds(cloud))
        many = call(cloud, 'run', '--jobs', str(options.jobs))
        imports = sum(import_seconds(cloud)) - before
        store(cloud, 1, path)
        multiply(cloud, options.listed)
        listed = call(cloud, 'list')
    done = options.images - max(options.images // 10, 1)
    beside = sum(count for kind, count in many.requests.items()
                 if kind not in (POLL, LIST))
    return {
        'hosts': hosts,
        'processors': os.cpu_count(),
        'images': done,
        'MiB of data in each': options.mib,
        'jobs': options.jobs,
        'seconds': round(many.seconds, 1),
        'seconds of imports': round(imports, 1),
        'seconds / (seconds of imports / jobs)': round(
            many.seconds / (imports / options.jobs), 2),
        'processors in use, percent': round(100 * many.busy),
        'processor time of the command, percent of one': round(
            100 * many.work / many.seconds),
        'requests an image beside polling': round(beside / done, 2),
        'polls an image': round(many.requests.get(POLL, 0) / done, 2),
        'memory for a tenth of the images, MiB': round(few.memory / _KIB),
        'memory, MiB': round(many.memory / _KIB),
        'listed': options.listed,
        'seconds to list': round(listed.seconds, 1),
        'memory to list, MiB': round(listed.memory / _KIB),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='bench_migrate', description=__doc__.partition('\n')[0])
    parser.add_argument('--images', type=int, default=1000,
                        help='how many are migrated (default: %(default)s)')
    parser.add_argument('--mib', type=int, default=0,
                        help='MiB of data in each (default: next to none)')
    parser.add_argument('--listed', type=int, default=10000,
                        help='how many are listed (default: %(default)s)')
    parser.add_argument('--jobs', type=int, default=4,
                        help='how many at a time (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE',
                        help='write the figures to a file, too')
    return parser.parse_args()


def main() -> None:
    options = parse()
    figures = measure(options)
    for name, value in figures.items():
        print(f'{name:46} {value}')
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as target:
            json.dump(figures, target, indent=2)


if __name__ == '__main__':
    main()

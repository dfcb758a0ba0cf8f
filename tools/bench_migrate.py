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

"""Measure migrations of many small images.

    python -m tools.bench_migrate --images 1000 --listed 10000

The images are as small as they can be, so what is measured is the command and
Glance's imports, and not conversions. The command reaches Glance through a
proxy that counts its requests.
"""

import argparse
import contextlib
import dataclasses
import datetime
import io
import json
import os
import sqlite3
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
    :ivar memory: the most that it had resident, in KiB
    :ivar requests: how many there were of each kind
    """

    seconds: float
    memory: int
    requests: dict[str, int]


def tiny() -> bytes:
    """An archive of one layer of 64 KiB."""
    layers = chains.linked([vhd.Layer(
        64 * _KIB, block_size=4096,
        written=[(8, chains.pattern('tiny', 4))])])
    return archive.tgz(archive.chain_members(layers))


def call(cloud: cloud_.Cloud, *arguments: str) -> Call:
    """Call the command as an administrator."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith('OS_')}
    with troubled.TroubledProxy(cloud.url) as proxy:
        env |= cloud.env('admin')
        env['OS_IMAGE_ENDPOINT_OVERRIDE'] = proxy.url
        start = time.monotonic()
        process = subprocess.Popen([*COMMAND, *arguments, '-f', 'json'],
                                   env=env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
    if status:
        sys.exit(f'the command ended with status {status}')
    return Call(seconds, usage.ru_maxrss, dict(proxy.counts))


def store(cloud: cloud_.Cloud, count: int) -> None:
    """Upload images, which nothing converts."""
    data = tiny()
    client = cloud.client('admin')
    for number in range(count):
        image = client.images.create(
            name=f'image {number}', disk_format='vhd',
            container_format='ovf')
        client.images.upload(image.id, io.BytesIO(data), len(data))


def database(cloud: cloud_.Cloud) -> Any:
    return contextlib.closing(sqlite3.connect(
        cloud.directory / 'glance.db', timeout=60))


def import_seconds(cloud: cloud_.Cloud) -> list[float]:
    """How long each import took, as Glance has it."""
    with database(cloud) as opened:
        rows = opened.execute(
            "SELECT created_at, updated_at FROM tasks "
            "WHERE status = 'success'").fetchall()
    return [(datetime.datetime.fromisoformat(ended)
             - datetime.datetime.fromisoformat(begun)).total_seconds()
            for begun, ended in rows]


def multiply(cloud: cloud_.Cloud, count: int) -> None:
    """Make images without data, until there are so many more.

    They are copies of an archive that was uploaded, but for the id.
    """
    with database(cloud) as opened, opened:
        columns = [row[1] for row in opened.execute(
            'PRAGMA table_info(images)')]
        values = opened.execute(
            f"SELECT {', '.join(columns)} FROM images "
            "WHERE disk_format = 'vhd' LIMIT 1").fetchone()
        copies = [
            [str(uuid.uuid4()) if column == 'id' else value
             for column, value in zip(columns, values)]
            for _ in range(count)]
        opened.executemany(
            f"INSERT INTO images ({', '.join(columns)}) "
            f"VALUES ({', '.join('?' * len(columns))})", copies)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    hosts = 2 if haproxy.installed() else 1
    with cloud_.Cloud(hosts=hosts, options={
            'DEFAULT': {'debug': False}}) as cloud:
        store(cloud, options.images)
        few = call(cloud, 'run', '--jobs', str(options.jobs),
                   '--limit', str(max(options.images // 10, 1)))
        before = sum(import_seconds(cloud))
        many = call(cloud, 'run', '--jobs', str(options.jobs))
        imports = sum(import_seconds(cloud)) - before
        store(cloud, 1)
        multiply(cloud, options.listed)
        listed = call(cloud, 'list')
    done = options.images - max(options.images // 10, 1)
    beside = sum(count for kind, count in many.requests.items()
                 if kind not in (POLL, LIST))
    return {
        'hosts': hosts,
        'processors': os.cpu_count(),
        'images': done,
        'jobs': options.jobs,
        'seconds': round(many.seconds, 1),
        'seconds of imports': round(imports, 1),
        'seconds / (seconds of imports / jobs)': round(
            many.seconds / (imports / options.jobs), 2),
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
        print(f'{name:40} {value}')
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as target:
            json.dump(figures, target, indent=2)


if __name__ == '__main__':
    main()

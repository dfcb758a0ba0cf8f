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

"""The benchmark of whole imports into a real Glance.

    python -m tools.bench_import --size medium

A XenServer image and the finished raw disk are imported in turns, with
web-download from the same server into the same Glance. All the while a client
lists images, with and without a running conversion.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from typing import Any

import requests

from testbed.clouds import cloud as cloud_
from testbed.clouds import file_server
from tools import bench
from tools import bench_images as images

_IMPORT_SECONDS = 3600
_IDLE_SECONDS = 10
#: The pause between two requests, in seconds.
_PAUSE = 0.02


class Caller:
    """A client that keeps listing images; a context manager.

    :ivar idle: seconds that requests took without an import
    :ivar converting: the same during a conversion
    """

    def __init__(self, cloud: cloud_.Cloud) -> None:
        self.idle: list[float] = []
        self.converting: list[float] = []
        self.imports = False
        self._cloud = cloud
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._session = requests.Session()
        self._session.headers['X-Auth-Token'] = (
            cloud.keystone.session('demo').get_token())

    def __enter__(self) -> 'Caller':
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            converts = self._converts()
            idles = not self.imports
            start = time.perf_counter()
            self._session.get(
                f'{self._cloud.url}/v2/images').raise_for_status()
            seconds = time.perf_counter() - start
            if converts and self._converts():
                self.converting.append(seconds)
            elif idles and not self.imports:
                self.idle.append(seconds)

    def _converts(self) -> bool:
        return any(name.endswith('.part') for name in self._cloud.staged())


def import_image(cloud: cloud_.Cloud, client: Any, url: str,
                 disk_format: str, container_format: str) -> float:
    """Import an image, delete it, and return how long the import took."""
    image = client.images.create(disk_format=disk_format,
                                 container_format=container_format)
    start = time.perf_counter()
    client.images.image_import(image.id, method='web-download', uri=url)
    task = cloud.wait_for_import(client, image.id, _IMPORT_SECONDS)
    seconds = time.perf_counter() - start
    if task['status'] != 'success':
        sys.exit(f'the import failed: {task["message"]}')
    client.images.delete(image.id)
    return seconds


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def make(options: argparse.Namespace) -> tuple[str, str]:
    """Returns the paths of the archive and the raw disk."""
    image = images.chain_of_3(options.size)
    return (image.make(options.cache, options.seed),
            image.make_raw(options.cache, options.seed))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    archive, raw = make(options)
    seconds: dict[str, list[float]] = {'archive': [], 'raw': []}
    with (file_server.FileServer() as files,
          cloud_.Cloud(sources=[files.url]) as cloud,
          Caller(cloud) as caller):
        client = cloud.client()
        archive_url = files.add('archive', archive)
        raw_url = files.add('raw', raw)
        for _ in range(options.runs):
            time.sleep(_IDLE_SECONDS)
            caller.imports = True
            seconds['archive'].append(import_image(
                cloud, client, archive_url, 'vhd', 'ovf'))
            seconds['raw'].append(import_image(
                cloud, client, raw_url, 'raw', 'bare'))
            caller.imports = False
    return {'seconds': seconds, 'idle': caller.idle,
            'converting': caller.converting}


def measures(result: dict[str, Any]) -> list[bench.Measure]:
    idle, converting = result['idle'], result['converting']
    return [
        bench.Measure(
            'import of the archive ÷ of the raw disk', statistics.median(
                archive / raw for archive, raw in zip(
                    result['seconds']['archive'], result['seconds']['raw'])),
            '', 1.0),
        bench.Measure(
            'GET /v2/images, median: converting ÷ idle',
            statistics.median(converting) / statistics.median(idle), '', 1.5),
        bench.Measure(
            'GET /v2/images, p95: converting ÷ idle',
            percentile(converting, 95) / percentile(idle, 95), '', 1.5)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Measure imports into a real Glance.')
    bench.add_arguments(parser)
    options = parser.parse_args()
    result = measure(options)
    for name, seconds in result['seconds'].items():
        print(f'import of the {name}: {statistics.median(seconds):.2f} s')
    for name in ('idle', 'converting'):
        print(f'{len(result[name])} requests, {name}: median '
              f'{statistics.median(result[name]) * 1000:.1f} ms, p95 '
              f'{percentile(result[name], 95) * 1000:.1f} ms')
    for measure_ in measures(result):
        print(measure_)
    with open(options.output + '-import.json', 'w') as file:
        json.dump(result, file, indent=1)


if __name__ == '__main__':
    main()

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

"""The benchmark of the cost of containing a conversion.

    python -m tools.bench_guards --size full

A process without limits and one as the plugin starts it, with limits, in a
session of its own and with progress reports, convert the same archive in
turns. Both decompress, check and convert it and compute its SHA-256.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from glance_xs_convert import limits
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol
from tools import bench
from tools import bench_images as images

_BARE = """
import sys
from glance_xs_convert import api
api.convert(sys.argv[1], sys.argv[2], digest=True)
"""
_MEMORY = 1 << 30
_CPU_SECONDS = 4 * 3600
_PATIENCE = 300
_TARGET = 1.03


def bare(archive: str, raw: str) -> None:
    subprocess.run([sys.executable, '-c', _BARE, archive, raw], check=True)


def contained(archive: str, raw: str) -> None:
    request = protocol.Request(
        limits.Limits(), digest=True, max_memory=_MEMORY,
        max_cpu_time=_CPU_SECONDS)
    parent.convert_file(
        archive, raw, request, python=sys.executable,
        on_progress=lambda progress: None, progress_timeout=_PATIENCE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Measure the cost of containing a conversion.')
    bench.add_arguments(parser)
    options = parser.parse_args()
    os.makedirs(options.cache, exist_ok=True)
    archive = images.chain_of_3(options.size).make(options.cache,
                                                   options.seed)
    raw = os.path.join(options.cache, 'guards.raw')
    seconds: dict[str, list[float]] = {'bare': [], 'contained': []}
    ways = [bare, contained]
    for number in range(options.runs + 1):
        for way in ways:
            start = time.perf_counter()
            way(archive, raw)
            taken = time.perf_counter() - start
            os.unlink(raw)
            if number:
                seconds[way.__name__].append(taken)
        ways.reverse()
    for name, values in seconds.items():
        print(f'{name}: {statistics.median(values):.2f} s')
    print(bench.Measure('contained ÷ bare', statistics.median(
        one / other for one, other in zip(
            seconds['contained'], seconds['bare'])), '', _TARGET))
    with open(options.output + '-guards.json', 'w') as file:
        json.dump(seconds, file, indent=1)


if __name__ == '__main__':
    main()

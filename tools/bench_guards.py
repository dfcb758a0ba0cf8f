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

The same archive is converted in turn by a process without limits, by one as
the plugin starts it but with the sandbox off, and by one that is confined.
All of them decompress, check, convert and take the archive's SHA-256. Beside
the time by the clock, the processor time is compared: on a machine that has
other work to do, it is what can be trusted.

Then it is measured how long it takes to start such a process.
"""

import argparse
from collections.abc import Callable
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from glance_xs_convert import image_limits
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol
from tools import bench
from tools import bench_images as images

_BARE = """
import sys
from glance_xs_convert.converter import convert
from glance_xs_convert import publish
with (publish.open_source(sys.argv[1]) as source,
      publish.new_file(sys.argv[2], durable=False) as target):
    convert.convert(source, target, digest=True)
"""
_MEMORY = 1 << 30
_CPU_SECONDS = 4 * 3600
_PATIENCE = 300
_TARGETS = {('contained', 'bare'): 1.03, ('sandboxed', 'contained'): 1.02}
#: Seconds to start a process, lock it in, and end it.
_START_TARGET = 0.35
_STARTS = 21


def bare(archive: str, raw: str) -> None:
    subprocess.run([sys.executable, '-c', _BARE, archive, raw], check=True)


def contained(archive: str, raw: str, sandbox: str) -> None:
    request = protocol.Request(
        image_limits.Limits(), digest=True, max_memory=_MEMORY,
        max_cpu_time=_CPU_SECONDS, sandbox=sandbox)
    parent.convert_file(
        archive, raw, request, python=sys.executable,
        on_progress=lambda progress: None, progress_timeout=_PATIENCE)


WAYS: dict[str, Callable[[str, str], None]] = {
    'bare': bare,
    'contained': functools.partial(contained, sandbox=protocol.OFF),
    'sandboxed': functools.partial(contained, sandbox=protocol.REQUIRED),
}


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """How long other processes work, by the clock and in processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, (after.ru_utime + after.ru_stime
                     - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Measure the cost of containing a conversion.')
    bench.add_arguments(parser)
    options = parser.parse_args()
    os.makedirs(options.cache, exist_ok=True)
    archive = images.chain_of_3(options.size).make(options.cache,
                                                   options.seed)
    raw = os.path.join(options.cache, 'guards.raw')
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    names = list(WAYS)
    for number in range(options.runs + 1):
        for name in names:
            result = measured(functools.partial(WAYS[name], archive, raw))
            os.unlink(raw)
            if number:
                found[name].append(result)
        names.reverse()
    for name, results in found.items():
        clock, processor = map(statistics.median, zip(*results))
        print(f'{name}: {clock:.2f} s, {processor:.2f} s of processor time')
    for (one, other), target in _TARGETS.items():
        for index, kind in enumerate(('by the clock', 'processor time')):
            print(bench.Measure(f'{one} ÷ {other}, {kind}', statistics.median(
                a[index] / b[index] for a, b in zip(
                    found[one], found[other])), '', target))
    starts = [measured(_start) for _ in range(_STARTS)]
    for kind, values in zip(('by the clock', 'processor time'),
                            zip(*starts)):
        print(bench.Measure(f'start and end of a process, {kind}',
                            statistics.median(values), 's', _START_TARGET))
    with open(options.output + '-guards.json', 'w') as file:
        json.dump(found, file, indent=1)


def _start() -> None:
    """Start a process, let it lock itself in and try to get out, and end."""
    parent.probe(
        protocol.Request(image_limits.Limits(), max_memory=_MEMORY,
                         sandbox=protocol.REQUIRED), python=sys.executable)


if __name__ == '__main__':
    main()

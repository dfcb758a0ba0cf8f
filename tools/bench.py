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

"""The benchmark: the converter compared with other tools for its work.

    tox -e bench -- --size small

The candidates of a case take turns, round by round, on the same images and the
same file system. A first round is not measured: it compares every raw disk
with the model of the image, and fills the page cache. A ratio is the median of
the rounds' ratios. A candidate that is not installed, fails or makes a wrong
disk is shown as "cannot". The image files stay in the cache directory, because
making them takes longer than measuring.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import json
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

from matplotlib import pyplot

from tools import bench_images as images

SIZES = {'small': 58_000_000, 'medium': 580_000_000, 'full': 2_900_000_000}
#: The growth series, as multiples of the size. With the full size, the
#: archives have about 0.25 to 4 GB.
GROWTH = (0.54, 1.08, 2.16, 4.3, 8.6)
SPARSE_DISK = 2040 * images.GIB
SPARSE_SHARE = 14.5
_PIECE = images.MIB
_STAT_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Sample:
    """One run of a candidate.

    :ivar seconds: the time by the clock
    :ivar processor: the processor time of all processes, in seconds
    :ivar memory: peak resident size of the largest process, in bytes
    :ivar written: bytes that all processes wrote to files
    :ivar allocated: bytes that the raw disk occupies
    :ivar scratch: bytes that other files occupy at the end
    """

    seconds: float
    processor: float
    memory: int
    written: int
    allocated: int
    scratch: int


@dataclasses.dataclass(frozen=True)
class Measure:
    """One value and its target."""

    what: str
    value: float
    unit: str
    target: float
    at_least: bool = False

    def __str__(self) -> str:
        met = (self.value >= self.target if self.at_least
               else self.value <= self.target)
        return (f'{self.what:46}{self.value:10.3f} {self.unit:5}'
                f'{"≥" if self.at_least else "≤"} {self.target:<8.4g}'
                f'{"met" if met else "missed"}')


AnyImage = images.Image | images.Repacked | images.Export


class Candidate:
    """A tool, or a series of tools, to measure.

    :param steps: the commands, one after the other; WORK stands for an empty
                  directory and RAW for the raw disk
    :param image: the image whose disk the raw disk must equal, if any
    :ivar cannot: the reason why it does not take part, if any
    """

    def __init__(self, steps: list[list[str]],
                 image: AnyImage | None = None) -> None:
        self.steps = steps
        self.image = image
        self.samples: list[Sample] = []
        missing = [step[0] for step in steps if not shutil.which(step[0])]
        self.cannot = f'no {missing[0]}' if missing else ''

    def run(self, parent: str, check: Callable[[str], bool] | None) -> None:
        """Run once; a sample is kept unless the raw disk is checked."""
        with tempfile.TemporaryDirectory(dir=parent) as work:
            raw = os.path.join(work, 'raw')
            steps = [[part.replace('WORK', work).replace('RAW', raw)
                      for part in step] for step in self.steps]
            result = json.loads(subprocess.check_output(
                [sys.executable, '-m', 'tools.bench_run', work,
                 json.dumps(steps)]))
            failed = result.pop('failed')
            if failed:
                self.cannot = f'{failed[0]} fails'
            elif check is None:
                allocated = _allocated(raw)
                scratch = sum(
                    _allocated(os.path.join(directory, name))
                    for directory, _, names in os.walk(work)
                    for name in names) - allocated
                self.samples.append(Sample(
                    allocated=allocated, scratch=scratch, **result))
            elif self.image is not None and not check(raw):
                self.cannot = 'other bytes'

    def median(self, field: str) -> float:
        return statistics.median(
            getattr(sample, field) for sample in self.samples)


def _allocated(path: str) -> int:
    if not os.path.exists(path):
        return 0
    return os.stat(path).st_blocks * _STAT_BLOCK


def same_bytes(one: str, other: str) -> bool:
    """Whether two sparse files are equal, without reading common holes."""
    with (open(one, 'rb', buffering=0) as first,
          open(other, 'rb', buffering=0) as second):
        size = os.fstat(first.fileno()).st_size
        if size != os.fstat(second.fileno()).st_size:
            return False
        offset = 0
        while offset < size:
            offset = min(_data(first.fileno(), offset, size),
                         _data(second.fileno(), offset, size))
            if (os.pread(first.fileno(), _PIECE, offset)
                    != os.pread(second.fileno(), _PIECE, offset)):
                return False
            offset += _PIECE
    return True


def _data(descriptor: int, offset: int, size: int) -> int:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:
        return size


class Bench:
    """The cases and their results.

    :ivar cases: the candidates of each case
    :ivar growth: for each candidate, (archive's size, seconds) by size
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.size: int = options.size
        self._options = options
        self.cases: dict[str, dict[str, Candidate]] = {}
        self.measures: list[Measure] = []
        self.growth: dict[str, list[tuple[int, float]]] = {}

    def chain(self) -> None:
        """A realistic chain of 3, its members leaf first and base first."""
        image = images.chain_of_3(self.size)
        base_first = images.chain_of_3(self.size, (2, 1, 0))
        case = self._run('chain of 3', {
            'convert': self._convert(image),
            'convert, base first': self._convert(base_first),
            **self._peers(image)})
        self._ratio('chain: convert ÷ gzip -dc', case, 'convert', 'gzip',
                    0.22)
        self._ratio('chain: convert ÷ (igzip -dc + cp)', case, 'convert',
                    'igzip + cp', 1.25)
        self._ratio('chain: base first ÷ leaf first', case,
                    'convert, base first', 'convert', 1.5)
        convert = case['convert']
        self._measure('chain: bytes written ÷ allocated',
                      convert.median('written') / convert.median('allocated'),
                      '', 1.02)
        self._measure('chain: scratch', convert.median('scratch'), 'B', 0)
        self._measure('chain: peak memory',
                      convert.median('memory') / images.MIB, 'MiB', 64)

    def start(self) -> None:
        """An image with next to nothing in it."""
        case = self._run('start', {
            'convert': self._convert(images.empty(images.BLOCK))})
        self._measure('start: an empty disk of 2 MiB',
                      case['convert'].median('seconds'), 's', 0.2)

    def flush(self) -> None:
        """What is left to write when the chain of 3 has been converted."""
        archive = self._archive(images.chain_of_3(self.size))
        seconds = []
        for _ in range(self._options.runs):
            with tempfile.TemporaryDirectory(
                    dir=self._options.cache) as work:
                seconds.append(float(subprocess.check_output(
                    [sys.executable, '-m', 'tools.bench_flush', archive,
                     os.path.join(work, 'raw')])))
        self._measure('chain: flush at the end',
                      statistics.median(seconds), 's', 0.1)

    def single(self) -> None:
        """One VHD, for which there is a manual recipe without vhd-util."""
        image = images.single(self.size)
        recipe = Candidate(
            [['tar', '-xzf', self._archive(image), '-C', 'WORK'],
             ['qemu-img', 'convert', '-f', 'vpc', '-O', 'raw', 'WORK/0.vhd',
              'RAW']], image)
        case = self._run('one VHD', {
            'convert': self._convert(image), **self._peers(image),
            'tar + qemu-img': recipe})
        self._ratio('one VHD: convert ÷ (tar + qemu-img)', case, 'convert',
                    'tar + qemu-img', 1 / 6)

    def sparse(self) -> None:
        """A chain of 30 on the largest disk, and on one of half its size."""
        data = int(self.size / SPARSE_SHARE)
        disks = {disk: images.sparse_chain(disk, data)
                 for disk in (SPARSE_DISK, SPARSE_DISK // 2)}
        case = self._run('chain of 30', {
            f'convert, {disk // images.GIB} GiB': self._convert(image)
            for disk, image in disks.items()})
        large, small = case
        self._measure('chain of 30, 2040 GiB: wall time',
                      case[large].median('seconds'), 's', 4)
        self._measure('chain of 30, 2040 GiB: peak memory',
                      case[large].median('memory') / images.MIB, 'MiB', 160)
        self._ratio('chain of 30: 2040 GiB ÷ 1020 GiB', case, large, small,
                    1.1)

    def scattered(self) -> None:
        """Every block of every layer half full of 4 KiB writes."""
        image = images.half_full(self.size)
        case = self._run('scattered', {'convert': self._convert(image),
                                       **self._peers(image)})
        self._measure('scattered: VHD bytes per second',
                      self.size / case['convert'].median('seconds') / 1e6,
                      'MB/s', 400, at_least=True)

    def exports(self) -> None:
        """An export of the same disk as that of the chain of 3."""
        image = images.chain_of_3(self.size)
        plain = images.Export(image)
        huge = images.Export(images.empty(SPARSE_DISK))
        archive, raw = self._archive(plain), self._made(plain, 'make_raw')
        case = self._run('export', {
            'convert': self._convert(plain),
            'convert, zstandard': self._convert(
                images.Export(image, ('zstd', '-q'))),
            'convert, gzip': self._convert(
                images.Export(image, ('gzip', '-n'))),
            'cat + cp': Candidate(
                [['cat', archive], ['cp', '--sparse=always', raw, 'RAW']],
                plain),
            'tar + xva-img': Candidate(
                [['tar', '-xf', archive, '-C', 'WORK'],
                 ['xva-img', '-s', 'disk-export',
                  f'WORK/{plain.DIRECTORY}', 'RAW']], plain)})
        largest = self._run('export, 2040 GiB', {
            'convert': self._convert(huge)})
        self._ratio('export: convert ÷ (cat + cp)', case, 'convert',
                    'cat + cp', 1.5)
        self._measure('export: peak memory',
                      case['convert'].median('memory') / images.MIB, 'MiB',
                      64)
        self._measure('export of 2040 GiB, two chunks: wall time',
                      largest['convert'].median('seconds'), 's', 4)

    def wrappings(self) -> None:
        """The chain of 3 in each compression, and the usual decompressor."""
        image = images.chain_of_3(self.size)
        packed: dict[str, AnyImage] = {'gzip': image, **{
            command[0]: images.Repacked(image, command)
            for command in (('bzip2',), ('xz', '-T1'), ('zstd', '-q'))}}
        case = self._run('wrappings', {
            label: candidate for name, wrapped in packed.items()
            for label, candidate in (
                (f'convert, {name}', self._convert(wrapped)),
                (name, Candidate([[name, '-dc', self._archive(wrapped)]])))})
        # With the small size, the start of the converter is the larger part.
        for name, target in (('gzip', 2), ('bzip2', 2), ('xz', 3),
                             ('zstd', 15)):
            self._ratio(f'{name}: convert ÷ {name} -dc, processor time', case,
                        f'convert, {name}', name, target, 'processor')

    def series(self) -> None:
        """The realistic chain in five sizes."""
        for factor in GROWTH:
            image = images.chain_of_3(int(self.size * factor))
            size = os.path.getsize(self._archive(image))
            case = self._run(f'growth, {size / 1e6:.0f} MB', {
                'convert': self._convert(image),
                **self._decompressors(image)})
            for name, candidate in case.items():
                if not candidate.cannot:
                    self.growth.setdefault(name, []).append(
                        (size, candidate.median('seconds')))
        self._measure('growth: exponent of time against archive bytes',
                      exponent(self.growth['convert']), '', 1.05)

    def _archive(self, image: AnyImage) -> str:
        """Made in a process of its own: its memory would be counted."""
        return self._made(image, 'make')

    def _made(self, image: AnyImage, method: str) -> str:
        arguments = self._options.cache, self._options.seed
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            path: str = pool.apply(getattr(image, method), arguments)
        return path

    def _convert(self, image: AnyImage) -> Candidate:
        return Candidate([[self._options.command, 'convert',
                           self._archive(image), 'RAW']], image)

    def _decompressors(self, image: images.Image) -> dict[str, Candidate]:
        archive = self._archive(image)
        raw = self._made(image, 'make_raw')
        return {
            'gzip': Candidate([['gzip', '-dc', archive]]),
            'igzip': Candidate([['igzip', '-dc', archive]]),
            'igzip + cp': Candidate(
                [['igzip', '-dc', archive],
                 ['cp', '--sparse=always', raw, 'RAW']], image)}

    def _peers(self, image: images.Image) -> dict[str, Candidate]:
        layers = [f'WORK/{rank}.vhd' for rank in range(len(image.layers))]
        return {**self._decompressors(image), 'tar + libvhdi': Candidate(
            [['tar', '-xzf', self._archive(image), '-C', 'WORK'],
             [sys.executable, '-m', 'tools.bench_libvhdi', *layers, 'RAW']],
            image)}

    def _run(self, name: str, case: dict[str, Candidate],
             ) -> dict[str, Candidate]:
        print(f'\n{name}', flush=True)
        self.cases[name] = case
        for number in range(self._options.runs + 1):
            for candidate in case.values():
                if not candidate.cannot:
                    check = self._checker(candidate) if not number else None
                    candidate.run(self._options.cache, check)
        for line in _table(case):
            print(line, flush=True)
        return case

    def _checker(self, candidate: Candidate) -> Callable[[str], bool]:
        def check(raw: str) -> bool:
            assert candidate.image is not None
            return same_bytes(raw, self._made(candidate.image, 'make_raw'))

        return check

    def _ratio(self, what: str, case: dict[str, Candidate], one: str,
               other: str, target: float, field: str = 'seconds') -> None:
        if case[one].cannot or case[other].cannot:
            return
        self._measure(what, statistics.median(
            getattr(first, field) / getattr(second, field)
            for first, second in zip(
                case[one].samples, case[other].samples)), '', target)

    def _measure(self, what: str, value: float, unit: str, target: float,
                 at_least: bool = False) -> None:
        self.measures.append(Measure(what, value, unit, target, at_least))


def exponent(points: list[tuple[int, float]]) -> float:
    """Return the exponent of the power law that fits (size, seconds)."""
    fit = statistics.linear_regression(
        [math.log(size) for size, _ in points],
        [math.log(seconds) for _, seconds in points])
    return fit.slope


def _table(case: dict[str, Candidate]) -> Iterator[str]:
    yield (f'{"":22}{"median s":>10}{"fastest":>9}{"processor":>11}'
           f'{"memory MiB":>12}'
           f'{"written MB":>12}{"scratch MB":>12}')
    for name, candidate in case.items():
        if candidate.cannot:
            yield f'{name:22}{"cannot":>10}  ({candidate.cannot})'
            continue
        fastest = min(sample.seconds for sample in candidate.samples)
        yield (f'{name:22}{candidate.median("seconds"):10.2f}{fastest:9.2f}'
               f'{candidate.median("processor"):11.2f}'
               f'{candidate.median("memory") / images.MIB:12.1f}'
               f'{candidate.median("written") / 1e6:12.1f}'
               f'{candidate.median("scratch") / 1e6:12.1f}')


def _report(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    return {
        'machine': {'system': platform.platform(),
                    'python': platform.python_version(),
                    'processors': os.cpu_count()},
        'size': options.size, 'seed': options.seed, 'runs': options.runs,
        'cases': {case: {name: candidate.cannot or [
            dataclasses.asdict(sample) for sample in candidate.samples]
            for name, candidate in candidates.items()}
            for case, candidates in bench.cases.items()},
        'measures': [dataclasses.asdict(measure)
                     for measure in bench.measures],
    }


def _plot(growth: dict[str, list[tuple[int, float]]], path: str) -> None:
    """Draw time against size."""
    figure = pyplot.figure(figsize=(7, 4.5))
    axes = figure.add_subplot(
        xscale='log', yscale='log', xlabel='archive, MB', ylabel='seconds')
    for name, points in growth.items():
        axes.plot([size / 1e6 for size, _ in points],
                  [seconds for _, seconds in points], 'o-', label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _size(text: str) -> int:
    return SIZES[text] if text in SIZES else int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks share."""
    parser.add_argument('--size', type=_size, default='medium',
                        help=f'{", ".join(SIZES)}, or bytes of VHDs in an '
                             'image (default: %(default)s)')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--cache', default=os.path.join(
        tempfile.gettempdir(), 'glance-xs-convert-bench'),
        help='directory for images and outputs (default: %(default)s)')
    parser.add_argument('--seed', default='0')
    parser.add_argument('--output', default='bench',
                        help='prefix of the names of the result files '
                             '(default: %(default)s)')


def main() -> None:
    cases = {'chain': Bench.chain, 'start': Bench.start,
             'flush': Bench.flush, 'single': Bench.single,
             'wrappings': Bench.wrappings, 'exports': Bench.exports,
             'sparse': Bench.sparse, 'scattered': Bench.scattered,
             'growth': Bench.series}
    parser = argparse.ArgumentParser(
        description='Measure the converter and its peers.')
    add_arguments(parser)
    parser.add_argument('--case', action='append', choices=cases,
                        help='may be repeated (default: all)')
    options = parser.parse_args()
    options.command = os.path.join(os.path.dirname(sys.executable),
                                   'glance-xs-convert')
    os.makedirs(options.cache, exist_ok=True)
    bench = Bench(options)
    for name in options.case or cases:
        cases[name](bench)
    print()
    for measure in bench.measures:
        print(measure)
    with open(options.output + '.json', 'w') as file:
        json.dump(_report(bench, options), file, indent=1)
    if bench.growth:
        _plot(bench.growth, options.output + '.svg')


if __name__ == '__main__':
    main()

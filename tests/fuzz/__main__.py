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

"""Run all targets, one after the other, for so many seconds in all."""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.fuzz import corpus
from tests.fuzz import seeds

#: For one input: seconds, however busy the machine is, and MiB.
TIMEOUT = 60
MEMORY = 500
MAX_LENGTH = {'structures': 5120, 'headers': 6144, 'compressed': 2048,
              'roads': 12288, 'exports': 32768, 'chains': 512,
              'packages': 512,
              'messages': 20000}

_EXECUTIONS = re.compile(r'number_of_executed_units:\s*(\d+)')
_COVERAGE = re.compile(r'cov: (\d+) ft: (\d+) corp: (\d+)')


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.fuzz')
    parser.add_argument('--seconds', type=int, default=600)
    parser.add_argument('--work', type=pathlib.Path,
                        default=pathlib.Path('fuzz-work'))
    parser.add_argument('--target', choices=corpus.TARGETS, action='append')
    parser.add_argument(
        '--keep', action='store_true',
        help='afterwards, put the smallest set of inputs that reaches as '
             'much into the repository')
    arguments = parser.parse_args()
    targets = arguments.target or list(corpus.TARGETS)
    found = []
    for target in targets:
        work = arguments.work / target
        print(f'{target}:', flush=True)
        found += fuzz(target, work, arguments.seconds // len(targets))
        if arguments.keep:
            keep(target, work)
    for path in found:
        print(f'found: {path}')
    return 1 if found else 0


def fuzz(target: str, work: pathlib.Path, seconds: int,
         ) -> list[pathlib.Path]:
    """Run a target, and return the inputs that break a rule."""
    kept, sown, findings = (
        work / name for name in ('corpus', 'seeds', 'findings'))
    for directory in (kept, sown, findings):
        directory.mkdir(parents=True, exist_ok=True)
    seeds.sow(target, sown)
    corpus.unpack(target, sown)
    before = set(findings.iterdir())
    with open(work / 'log', 'w', encoding='utf-8') as log:
        status = subprocess.run([
            sys.executable, '-m', 'tests.fuzz.engine', target,
            f'-max_total_time={seconds}', f'-timeout={TIMEOUT}',
            f'-rss_limit_mb={MEMORY}', f'-max_len={MAX_LENGTH[target]}',
            f'-artifact_prefix={findings}{os.sep}', '-print_final_stats=1',
            kept, sown], stderr=log, stdout=log).returncode
    text = (work / 'log').read_text(encoding='utf-8', errors='replace')
    executions = _EXECUTIONS.findall(text)
    coverage = _COVERAGE.findall(text)
    if executions and coverage:
        edges, features, inputs = coverage[-1]
        print(f'  {executions[-1]} executions, {edges} edges, {features} '
              f'features, {inputs} inputs kept', flush=True)
    if status:
        print(f'  ended with status {status}, see {work / "log"}')
    return sorted(set(findings.iterdir()) - before) or (
        [work / 'log'] if status else [])


def keep(target: str, work: pathlib.Path) -> None:
    """Choose the inputs that are worth keeping."""
    with tempfile.TemporaryDirectory(dir=work) as directory:
        subprocess.run([
            sys.executable, '-m', 'tests.fuzz.engine', target, '-merge=1',
            f'-max_len={MAX_LENGTH[target]}',
            directory, work / 'corpus', work / 'seeds'],
            check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        corpus.keep(target, pathlib.Path(directory))


if __name__ == '__main__':
    sys.exit(main())

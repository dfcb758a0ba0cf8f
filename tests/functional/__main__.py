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

"""Runs the functional tests with stestr, several at a time.

    python -m tests.functional --concurrency 6 --slowest test_rbd

Arguments other than ``--concurrency`` are stestr's. The processes share a
MariaDB and a Keystone. stestr does not know how long the tests take, so it is
told which classes go to which process: those that take long are spread evenly,
and those that have the same cloud keep together.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import unittest

import testtools
import yaml

from testbed.clouds import databases
from testbed.clouds import foundation
from tests.functional import base

_TESTS = './tests/functional'
#: How long a cloud and a Ceph take to start, and a class without a cloud, in
#: seconds.
_START = 8
_CEPH_START = 25
_WITHOUT_CLOUD = 1


def classes(suite):
    """Return the test classes in a suite, each once."""
    return dict.fromkeys(map(type, testtools.iterate_tests(suite)))


def spread(cases, count):
    """Spread test classes over processes.

    :param count: number of processes
    :returns: for each process, its classes
    """
    shares = [[] for _ in range(count)]
    started = [set() for _ in range(count)]
    loads = [0] * count
    for case in sorted(cases, key=lambda case: -_seconds(case)):
        needs = _needs(case)
        after = [load + _seconds(case) + sum(
            seconds for need, seconds in needs.items() if need not in there)
            for load, there in zip(loads, started)]
        best = after.index(min(after))
        shares[best].append(case)
        started[best].update(needs)
        loads[best] = after[best]
    return shares


def _seconds(case):
    """About how long a class takes."""
    return (case.SECONDS if issubclass(case, base.ImportCase)
            else _WITHOUT_CLOUD)


def _needs(case):
    """What classes of one process share, and how long that takes to start."""
    if not issubclass(case, base.ImportCase):
        return {}
    ceph = {'ceph': _CEPH_START} if case.OPTIONS.get('rbd_stores') else {}
    return {case.cloud_key(): _START} | ceph


def workers(shares):
    """Return the content of stestr's worker file."""
    return [{'worker': [
        r'^%s\.' % re.escape(f'{case.__module__}.{case.__qualname__}')
        for case in share]} for share in shares if share]


@contextlib.contextmanager
def shared_foundation():
    """Give the environment with which processes share a foundation."""
    if databases.missing():
        yield {}
        return
    shared = foundation.OwnFoundation(foundation.temporary_directory())
    try:
        shared.wait()
        yield shared.offer()
    finally:
        shared.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--concurrency', type=int, default=0,
                        help='number of processes; 0 for one a processor')
    options, others = parser.parse_known_args()
    shares = spread(
        classes(unittest.defaultTestLoader.discover(
            _TESTS, top_level_dir='.')),
        options.concurrency or os.cpu_count() or 1)
    with (tempfile.NamedTemporaryFile('w', suffix='.yaml') as file,
          shared_foundation() as environment):
        yaml.safe_dump(workers(shares), file)
        file.flush()
        return subprocess.run(
            ['stestr', '--test-path', _TESTS, 'run', '--worker-file',
             file.name, *others], env=os.environ | environment).returncode


if __name__ == '__main__':
    sys.exit(main())

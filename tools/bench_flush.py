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

"""Converts an archive and prints how long the flush at the end takes.

    python -m tools.bench_flush ARCHIVE RAW
"""

import os
import sys
import time

from glance_xs_convert.cli import main as command

_fsync = os.fsync
_spent = 0.0


def _timed(descriptor: int) -> None:
    global _spent
    start = time.perf_counter()
    _fsync(descriptor)
    _spent += time.perf_counter() - start


def main() -> int:
    os.fsync = _timed
    status = command.main(['convert', '--quiet', *sys.argv[1:]])
    print(_spent)
    return status


if __name__ == '__main__':
    sys.exit(main())

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

"""Runs commands one after the other and measures them.

    python -m tools.bench_run DIRECTORY COMMANDS

COMMANDS are lists of words in JSON, and the program prints its results in
JSON. It is a separate program with little memory, because a process's peak
memory includes that of the process that started it.
"""

import json
import os
import subprocess
import sys
import time


def run(command: list[str], directory: str) -> dict[str, float]:
    """Run a command; return its times, memory, writes and exit status.

    :param directory: directory for temporary files
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, 'TMPDIR': directory})
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.perf_counter() - start
    with open(f'/proc/{process.pid}/io') as counters:
        values = dict(line.split(': ') for line in counters)
    _, process.returncode, usage = os.wait4(process.pid, 0)
    return {'seconds': seconds,
            'processor': usage.ru_utime + usage.ru_stime,
            'memory': usage.ru_maxrss * 1024,
            'written': int(values['write_bytes']),
            'status': process.returncode}


def main() -> None:
    directory, commands = sys.argv[1:]
    results = [run(command, directory) for command in json.loads(commands)]
    print(json.dumps({
        'seconds': sum(result['seconds'] for result in results),
        'processor': sum(result['processor'] for result in results),
        'memory': max(result['memory'] for result in results),
        'written': sum(result['written'] for result in results),
        'failed': [command[0] for command, result in zip(
            json.loads(commands), results) if result['status']]}))


if __name__ == '__main__':
    main()

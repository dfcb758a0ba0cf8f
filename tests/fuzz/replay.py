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

"""Run what is kept of the corpora again: python -m tests.fuzz.replay.

This needs no fuzzer. Under coverage.py it shows what the corpora reach.
"""

import importlib

from tests.fuzz import corpus
from tests.fuzz import rules


def replay(target: str) -> int:
    """Give a target all of its inputs, and return how many there are.

    :raises Broken: an input breaks a rule
    """
    module = importlib.import_module(f'tests.fuzz.{target}')
    count = 0
    with rules.without_threads():
        for name, data in corpus.inputs(target):
            count += 1
            try:
                module.test_one_input(data)
            except Exception as error:
                raise rules.Broken(f'{target}: {name}') from error
    return count


if __name__ == '__main__':
    for name in corpus.TARGETS:
        print(f'{name}: {replay(name)} inputs')

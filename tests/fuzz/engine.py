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

"""Run one target under atheris: python -m tests.fuzz.engine TARGET ...

All further arguments are libFuzzer's.
"""

import gc
import importlib
import shlex
import sys

import atheris


#: What a target looks into besides the converter.
_OTHERS = {'headers': ('tarfile',)}
#: Objects that may pile up before cycles among them are looked for.
_GARBAGE = 5_000


def main() -> None:
    name = sys.argv[1]
    with atheris.instrument_imports(
            include=['glance_xs_convert', *_OTHERS.get(name, ())]):
        rules = importlib.import_module('tests.fuzz.rules')
        target = importlib.import_module(f'tests.fuzz.{name}')
    mutate = getattr(target, 'mutate', None)
    options = {} if mutate is None else {'custom_mutator': mutate}
    gc.set_threshold(_GARBAGE)
    with rules.without_threads():
        # With -merge=1, libFuzzer runs its first argument in a shell.
        again = f'{shlex.quote(sys.executable)} -m tests.fuzz.engine {name}'
        atheris.Setup([again, *sys.argv[2:]], target.test_one_input,
                      **options)
        atheris.Fuzz()


if __name__ == '__main__':
    main()

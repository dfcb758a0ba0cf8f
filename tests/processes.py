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

"""The processes of this machine."""

import itertools
import os
import pathlib

_numbers = itertools.count(1)


def unmistakable():
    """Return a number that no other process has as its argument.

    Whoever sleeps for so many seconds can be found by them.
    """
    return f'9{os.getpid():07d}.{next(_numbers)}'


def running(argument):
    """Return the processes that have an argument."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if argument.encode() in path.read_bytes().split(b'\0'):
                found.append(path)
        except OSError:
            pass
    return found

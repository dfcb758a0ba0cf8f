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

"""Running checks as another user.

Root can write everywhere, so what root finds says nothing about the user that
Glance runs as.
"""

from collections.abc import Callable
import json
import os
import pwd
import sys
from typing import Any


class CannotRun(Exception):
    """The checks did not come to an end; the text says why."""


def name(number: int) -> str:
    """Return the name of a user, or a description if there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f'user {number}'


def run(number: int, checks: Callable[[], Any]) -> Any:
    """Run a function as a user, in a copy of this process.

    :param number: ID of the user
    :param checks: function whose result can be written as JSON
    :returns: the function's result, as it comes back from JSON
    :raises CannotRun: this process cannot become the user, or the
                       function failed
    """
    source, target = os.pipe()
    child = os.fork()
    if not child:
        _answer(source, target, number, checks)
    os.close(target)
    with open(source, encoding='utf-8') as file:
        answer = file.read()
    os.waitpid(child, 0)
    if not answer:
        raise CannotRun(f'the checks that ran as {name(number)} ended '
                        'without a result')
    result, error = json.loads(answer)
    if error:
        raise CannotRun(f'the checks cannot run as {name(number)}: {error}')
    return result


def _answer(source: int, target: int, number: int,
            checks: Callable[[], Any]) -> None:
    """Write the result into a pipe, and end the process."""
    try:
        os.close(source)
        try:
            _become(number)
            answer = [checks(), None]
        except Exception as error:
            answer = [None, f'{type(error).__name__}: {error}']
        with open(target, 'w', encoding='utf-8') as file:
            json.dump(answer, file)
        sys.stderr.flush()
    finally:
        os._exit(0)


def _become(number: int) -> None:
    """Become a user, in all groups of that user."""
    try:
        user = pwd.getpwuid(number)
    except KeyError:
        os.setgroups([])
        os.setgid(number)
    else:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.environ['HOME'] = user.pw_dir
    os.setuid(number)

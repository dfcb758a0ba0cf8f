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

"""Counting the imports of this host by their tickets.

The plugin keeps a locked file for each of its imports; without a lock, the
process of the import is gone. The files are in directories below
``lock_path``, one for each Glance on this host.
"""

import fcntl
import os
import re
from typing import NamedTuple

_NAME = re.compile(r'[0-9]{20}-[0-9a-f-]{36}\.import')


class Count(NamedTuple):
    """The imports of this host.

    :ivar running: number of those whose process is alive
    :ivar interrupted: number of the others
    """

    running: int
    interrupted: int


def count(path: str) -> Count:
    """Count the imports with a ticket.

    :param path: the directory ``lock_path``, which need not exist
    :raises OSError: the tickets cannot be read
    """
    held = [_is_held(os.path.join(directory, name))
            for directory, _, names in os.walk(path, onerror=_refuse)
            for name in names if _NAME.fullmatch(name)]
    return Count(held.count(True), held.count(False))


def _is_held(path: str) -> bool | None:
    """Whether a ticket has a holder; None if it has been removed."""
    try:
        with open(path, 'rb') as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return True
    return False


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

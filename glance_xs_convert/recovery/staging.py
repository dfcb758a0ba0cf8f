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

"""The files of an import in Glance's staging area."""

import contextlib
import glob
import os

_SUFFIX = '.raw'


def raw_path(staged: str, task_id: str) -> str:
    """Return the path of the raw disk until it replaces the archive.

    The name begins with the image's ID, by which Glance recognizes leftovers
    of deleted images.

    :param staged: path of the archive
    """
    return f'{staged}.{task_id}{_SUFFIX}'


def remove_raw(staged: str, task_id: str | None = None) -> None:
    """Remove a leftover raw disk.

    :param task_id: ID of the import that has left it; None for any
    """
    whose = '*' if task_id is None else glob.escape(task_id)
    for path in glob.glob(f'{glob.escape(staged)}.{whose}{_SUFFIX}*'):
        remove(path)


def remove(path: str) -> None:
    """Remove a file if it exists."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

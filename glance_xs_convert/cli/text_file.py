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
"""Files of text that commands write beside their output."""

from collections.abc import Iterator
import contextlib
import io
import os
import sys
from typing import BinaryIO
from typing import TextIO

from glance_xs_convert import exceptions
from glance_xs_convert import publish

_STANDARD_OUTPUT = '-'


@contextlib.contextmanager
def new(path: str | None, overwrite: bool, source: BinaryIO | None = None,
        ) -> Iterator[TextIO | None]:
    """Open a file to write; it gets its name only when it is complete.

    :param path: path of the file, or ``-`` for standard output; None for no
                 file
    :param overwrite: whether to replace an existing file
    :param source: the file that must not be replaced
    :raises TargetExists: the file exists and must not be replaced
    :raises UnwritableTarget: it cannot be written
    """
    if path is None or path == _STANDARD_OUTPUT:
        yield None if path is None else sys.stdout
        return
    written = io.StringIO()
    with _target(path, overwrite, source) as target:
        yield written
        with (publish.writable(path, 'written'),
              open(target, 'w', encoding='utf-8', closefd=False) as file):
            file.write(written.getvalue())


@contextlib.contextmanager
def _target(path: str, overwrite: bool, source: BinaryIO | None,
            ) -> Iterator[int]:
    """Yield the descriptor of what is written."""
    real = os.path.realpath(path)
    if os.path.exists(real) and not os.path.isfile(real):
        # A device or a pipe cannot be replaced.
        with publish.writable(path, 'written'):
            device = os.open(real, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield device
        finally:
            os.close(device)
        return
    if not overwrite and os.path.exists(real):
        raise exceptions.TargetExists(
            f'{path} exists; --force overwrites it')
    with publish.new_file(real, overwrite, source=source) as descriptor:
        yield descriptor

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

"""The inputs that are kept in the repository: one archive for each target."""

from collections import abc
import io
import pathlib
import tarfile
import typing

TARGETS = ('structures', 'headers', 'compressed', 'roads', 'exports',
           'chains', 'packages', 'messages')

_DIRECTORY = pathlib.Path(__file__).parent / 'corpus'


def inputs(target: str) -> abc.Iterator[tuple[str, bytes]]:
    """The names and the bytes of a target's inputs."""
    with tarfile.open(_DIRECTORY / f'{target}.tar.xz') as file:
        for info in file:
            yield info.name, typing.cast(
                typing.IO[bytes], file.extractfile(info)).read()


def unpack(target: str, directory: pathlib.Path) -> None:
    """Write a target's inputs to a directory, if there are any."""
    if (_DIRECTORY / f'{target}.tar.xz').exists():
        for name, data in inputs(target):
            directory.joinpath(name).write_bytes(data)


def keep(target: str, directory: pathlib.Path) -> None:
    """Replace a target's inputs by those in a directory.

    They resemble each other, so they are compressed together.
    """
    _DIRECTORY.mkdir(exist_ok=True)
    with tarfile.open(_DIRECTORY / f'{target}.tar.xz', 'w:xz') as file:
        for path in sorted(directory.iterdir()):
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            file.addfile(info, io.BytesIO(path.read_bytes()))

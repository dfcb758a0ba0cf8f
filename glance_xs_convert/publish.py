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

"""Opening the source of a conversion, and publishing its target.

A target is written under a temporary name beside its own, which it gets once
it is complete.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import io
import os
import tempfile
from typing import BinaryIO
from typing import IO

from glance_xs_convert import exceptions
from glance_xs_convert import unfinished
from glance_xs_convert import writeback

Path = str | os.PathLike[str]


def open_source(source: Path) -> io.FileIO:
    """Open a file for reading, unbuffered.

    :raises UnreadableSource: the operating system refuses
    """
    if not os.fspath(source):
        raise exceptions.UnreadableSource(
            'the archive has an empty name: give the name of a file')
    try:
        return open(source, 'rb', buffering=0)
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'the archive {os.fspath(source)} cannot be opened: '
            f'{error.strerror}') from error


def scratch_file() -> IO[bytes]:
    """Open a file without a name, for data that is not kept.

    :raises UnwritableTarget: the operating system refuses
    """
    try:
        return tempfile.TemporaryFile(prefix='glance-xs-convert-')
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'no file can be created in {tempfile.gettempdir()}: '
            f'{error.strerror}') from error


@contextlib.contextmanager
def new_file(target: Path, overwrite: bool = False, *,
             source: BinaryIO | None = None, mode: int = 0o666,
             durable: bool = True) -> Iterator[int]:
    """Yield the descriptor of a new file, which gets its name on success.

    :param overwrite: whether to replace an existing target, and a file that
                      another process left behind when it was killed
    :param source: the file that must not be replaced
    :param mode: mode of the new file: before the umask or, if it replaces a
                 file, as far as that one has it
    :param durable: whether the file must survive a crash of the host
    :raises TargetExists: the target exists and must not be replaced, or
                          another process is writing it
    :raises UnwritableTarget: the operating system refuses, or the target is
                              not a file that can be replaced
    """
    target = os.fspath(target)
    partial = target + unfinished.SUFFIX
    with writable(target, 'created'):
        identity = _identity(source)
        replaced = _check_target(target, overwrite, identity)
        if overwrite:
            unfinished.remove_abandoned(partial, identity)
        file = unfinished.create(partial, mode)
    try:
        file.keep_mode(replaced, mode)
        with (writeback.written_back(file.descriptor) if durable
              else contextlib.nullcontext()):
            yield file.descriptor
        with writable(target, 'written'):
            file.flush(durable)
            file.check_unchanged(target)
            file.publish(target, overwrite)
            if durable:
                _flush_directory(target)
    finally:
        file.close()


class NewFiles:
    """New files in a directory, which get their names together at the end.

    Use it as a context manager. The files have no names before; where the
    file system cannot make such files, they have temporary ones. The directory
    is made if it does not exist, and removed again if it remains empty.

    :param directory: path of the directory
    :param count: number of files
    :param overwrite: whether to replace existing files
    :param source: the file that must not be replaced
    """

    def __init__(self, directory: Path, count: int, overwrite: bool = False,
                 source: BinaryIO | None = None) -> None:
        self._directory = os.fspath(directory)
        self._count = count
        self._overwrite = overwrite
        self._source = _identity(source)
        self._files: list[unfinished.UnfinishedFile] = []
        self._is_new = False

    @property
    def descriptors(self) -> list[int]:
        """The files, open for reading and writing."""
        return [file.descriptor for file in self._files]

    def __enter__(self) -> 'NewFiles':
        try:
            with writable(self._directory, 'created'):
                self._make_directory()
                for number in range(self._count):
                    self._files.append(self._create(number))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._files:
            self._files.pop().close()
        if self._is_new:
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)

    def publish(self, names: Mapping[int, str]) -> None:
        """Give files their names, or none of them if that fails.

        :param names: the names in the directory, by the files' numbers
        :raises TargetExists: a name is taken
        :raises UnwritableTarget: the operating system refuses
        """
        paths = {self._files[number]: os.path.join(self._directory, name)
                 for number, name in names.items()}
        replaced = {file: _check_target(path, self._overwrite, self._source)
                    for file, path in paths.items()}
        for file, path in paths.items():
            with writable(path, 'written'):
                file.flush(True)
                file.check_unchanged(path)
                if not file.is_named:
                    self._set_name(file, path + unfinished.SUFFIX)
                file.keep_mode(replaced[file])
        with contextlib.ExitStack() as undo:
            for file, path in paths.items():
                with writable(path, 'written'):
                    file.publish(path, self._overwrite)
                undo.callback(unfinished.remove, file.descriptor, path)
                file.remove_name()
            undo.pop_all()
        for path in paths.values():
            with writable(path, 'written'):
                _flush_directory(path)

    def _make_directory(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory)
            self._is_new = True

    def _create(self, number: int) -> unfinished.UnfinishedFile:
        return unfinished.create_unnamed(self._directory) or unfinished.create(
            os.path.join(self._directory, f'.disk-{os.getpid()}-{number}'
                         + unfinished.SUFFIX))

    def _set_name(self, file: unfinished.UnfinishedFile, partial: str) -> None:
        if self._overwrite:
            unfinished.remove_abandoned(partial, self._source)
        file.set_name(partial)


def _check_target(target: str, overwrite: bool,
                  source: os.stat_result | None) -> os.stat_result | None:
    """Return the status of the file that is to be replaced, if there is one.

    :raises TargetExists: there is one, but it must not be replaced
    :raises UnwritableTarget: what is there cannot be replaced
    """
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return None
    if not overwrite:
        raise exceptions.TargetExists(f'{target} exists')
    unfinished.check_replaceable(target, status, source)
    return status


def _flush_directory(target: str) -> None:
    descriptor = os.open(os.path.dirname(target) or os.curdir,
                         os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(source: BinaryIO | None) -> os.stat_result | None:
    """Return the status that identifies a file, or None if it has none."""
    if source is None:
        return None
    try:
        return os.fstat(source.fileno())
    except (AttributeError, io.UnsupportedOperation):
        return None


@contextlib.contextmanager
def writable(target: str, done: str) -> Iterator[None]:
    """Turn the operating system's refusals into this package's errors.

    :param done: past participle of what cannot be done, such as "written"
    """
    try:
        yield
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{target} cannot be {done}: {error.strerror}') from error

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
it is complete. Its writer holds a lock on it, so that others can tell a file
that is being written from one that was left behind.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import ctypes
import errno
import fcntl
import io
import os
import stat
import tempfile
import threading
from typing import BinaryIO
from typing import cast
from typing import IO

from glance_xs_convert import exceptions

#: The suffix of an unfinished target's name.
PARTIAL_SUFFIX = '.part'

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A symbolic link is not followed, and a pipe does not block.
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: How often the kernel is told to begin to write, in seconds.
_WRITEBACK_INTERVAL = 0.2
#: The flag that makes sync_file_range(2) begin and not wait, from linux/fs.h.
_SYNC_FILE_RANGE_WRITE = 2

_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
#: What a file system or a kernel answers that has no files without names.
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)

#: What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

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
    partial = target + PARTIAL_SUFFIX
    with writable(target, 'created'):
        identity = _identity(source)
        replaced = _check_target(target, overwrite, identity)
        if overwrite:
            _remove_abandoned(partial, identity)
        descriptor = _create(partial, mode)
    try:
        _keep_mode(descriptor, replaced, mode)
        created = os.fstat(descriptor)
        try:
            with _written_back(descriptor if durable else None):
                yield descriptor
            with writable(target, 'written'):
                _flush(descriptor, durable)
                _check_written(descriptor, partial, created)
                _publish(descriptor, partial, target, overwrite)
                if durable:
                    _flush_directory(target)
        finally:
            _remove(descriptor, partial)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _written_back(descriptor: int | None) -> Iterator[None]:
    """Let the kernel write a file to the disk while it grows.

    Little is left to write at the end, so a slow disk does not take its time
    only then.

    :param descriptor: None to leave it to the kernel when to write
    """
    begin_writing = _write_starter()
    if descriptor is None or begin_writing is None:
        yield
        return
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_WRITEBACK_INTERVAL):
            begin_writing(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    thread = threading.Thread(target=work, name='writeback', daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write_starter() -> Callable[[int, int, int, int], int] | None:
    """Return Linux's sync_file_range(2), if the C library has it."""
    try:
        function = ctypes.CDLL(None).sync_file_range
    except AttributeError:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64,
                         ctypes.c_uint)
    return cast(Callable[[int, int, int, int], int], function)


class NewFiles:
    """New files in a directory, which get their names together at the end.

    Use it as a context manager. The files have no names before; where the
    file system cannot make such files, they have temporary ones. The directory
    is made if it does not exist, and removed again if it remains empty.

    :param directory: path of the directory
    :param count: number of files
    :param overwrite: whether to replace existing files
    :param source: the file that must not be replaced
    :ivar descriptors: the files, open for reading and writing
    """

    def __init__(self, directory: Path, count: int, overwrite: bool = False,
                 source: BinaryIO | None = None) -> None:
        self.descriptors: list[int] = []
        self._directory = os.fspath(directory)
        self._count = count
        self._overwrite = overwrite
        self._source = _identity(source)
        self._created: list[os.stat_result] = []
        #: The temporary names, by the descriptors.
        self._partial: dict[int, str] = {}
        self._is_new = False

    def __enter__(self) -> 'NewFiles':
        try:
            with writable(self._directory, 'created'):
                self._make_directory()
                for number in range(self._count):
                    self._create(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for descriptor in self.descriptors:
            if descriptor in self._partial:
                _remove(descriptor, self._partial[descriptor])
            os.close(descriptor)
        self.descriptors = []
        if self._is_new:
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)

    def publish(self, names: Mapping[int, str]) -> None:
        """Give files their names, or none of them if that fails.

        :param names: the names in the directory, by the files' numbers
        :raises TargetExists: a name is taken
        :raises UnwritableTarget: the operating system refuses
        """
        paths = {self.descriptors[number]: os.path.join(self._directory, name)
                 for number, name in names.items()}
        replaced = {
            descriptor: _check_target(path, self._overwrite, self._source)
            for descriptor, path in paths.items()}
        for number in names:
            descriptor = self.descriptors[number]
            with writable(paths[descriptor], 'written'):
                _flush(descriptor, True)
                self._prepare(descriptor, paths[descriptor],
                              self._created[number])
                _keep_mode(descriptor, replaced[descriptor])
        published: list[tuple[int, str]] = []
        try:
            for descriptor, path in paths.items():
                with writable(path, 'written'):
                    _publish(descriptor, self._partial[descriptor], path,
                             self._overwrite)
                published.append((descriptor, path))
                _remove(descriptor, self._partial[descriptor])
        except BaseException:
            for descriptor, path in published:
                _remove(descriptor, path)
            raise
        for path in paths.values():
            with writable(path, 'written'):
                _flush_directory(path)

    def _make_directory(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory)
            self._is_new = True

    def _create(self, number: int) -> None:
        try:
            descriptor = os.open(self._directory, _UNNAMED, 0o666)
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            partial = os.path.join(
                self._directory,
                f'.disk-{os.getpid()}-{number}{PARTIAL_SUFFIX}')
            descriptor = _create(partial, 0o666)
            self._partial[descriptor] = partial
        self.descriptors.append(descriptor)
        self._created.append(os.fstat(descriptor))

    def _prepare(self, descriptor: int, path: str, created: os.stat_result,
                 ) -> None:
        """Give a file a temporary name, if it has none."""
        if descriptor in self._partial:
            _check_written(descriptor, self._partial[descriptor], created)
            return
        _check_unchanged(descriptor, path, created)
        partial = path + PARTIAL_SUFFIX
        if self._overwrite:
            _remove_abandoned(partial, self._source)
        try:
            os.link(f'/proc/self/fd/{descriptor}', partial,
                    src_dir_fd=descriptor, follow_symlinks=True)
        except FileExistsError:
            raise _exists(partial) from None
        self._partial[descriptor] = partial


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
    _check_replaceable(target, status, source)
    return status


def _keep_mode(descriptor: int, replaced: os.stat_result | None,
               mode: int = 0o666) -> None:
    """Give a file the permissions of the one that it replaces.

    :param mode: the permissions that it may have
    """
    if replaced is not None:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, replaced.st_mode & mode)


def _check_replaceable(path: str, status: os.stat_result,
                       source: os.stat_result | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise exceptions.UnwritableTarget(
            f'{path} is not a regular file and cannot be replaced')
    if source is not None and os.path.samestat(status, source):
        raise exceptions.UnwritableTarget(
            f'{path} is the archive itself and cannot be replaced')


def _create(partial: str, mode: int) -> int:
    """Create a file and lock it."""
    try:
        descriptor = os.open(partial, _NEW, mode)
    except FileExistsError:
        raise _exists(partial) from None
    try:
        locked = _lock(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            _remove(descriptor, partial)
            os.close(descriptor)
            raise
        locked = True
    try:
        # Before it was locked, another process may have found the file
        # and replaced it.
        if not locked or not _is_at(descriptor, partial):
            raise _being_written(partial)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned(partial: str, source: os.stat_result | None) -> None:
    """Remove the file that a killed process left behind.

    :raises TargetExists: a process is still writing it
    """
    try:
        status = os.lstat(partial)
    except FileNotFoundError:
        return
    _check_replaceable(partial, status, source)
    descriptor = os.open(partial, _OLD)
    try:
        if not _lock(descriptor):
            raise _being_written(partial)
        _remove(descriptor, partial)
    finally:
        os.close(descriptor)


def _exists(partial: str) -> exceptions.TargetExists:
    """Make the error for an unfinished target that exists already."""
    with contextlib.suppress(OSError):
        descriptor = os.open(partial, _OLD)
        try:
            if _lock(descriptor):
                return exceptions.TargetExists(
                    f'{partial} exists: a conversion that was killed left it '
                    'behind')
        finally:
            os.close(descriptor)
    return _being_written(partial)


def _being_written(partial: str) -> exceptions.TargetExists:
    return exceptions.TargetExists(
        f'{partial} exists: another conversion is writing it')


def _lock(descriptor: int) -> bool:
    """Lock a file until all copies of the descriptor are closed.

    :returns: False if another process has locked it
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush(descriptor: int, durable: bool) -> None:
    """Make sure that the operating system has accepted all data."""
    if durable:
        os.fsync(descriptor)
    else:
        # Network file systems report late errors when any copy is closed.
        os.close(os.dup(descriptor))


def _flush_directory(target: str) -> None:
    descriptor = os.open(os.path.dirname(target) or os.curdir,
                         os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_written(descriptor: int, partial: str, created: os.stat_result,
                   ) -> None:
    """Check that a file is still what it was when it was created.

    Whoever has the descriptor can do more than write: change the mode, or
    give the file further names.

    :raises UnwritableTarget: it is not
    """
    if not _is_at(descriptor, partial):
        raise exceptions.UnwritableTarget(
            f'{partial} was replaced or removed while it was written')
    _check_unchanged(descriptor, partial, created)


def _check_unchanged(descriptor: int, partial: str, created: os.stat_result,
                     ) -> None:
    """Check that nobody has changed a file's mode, owner or links.

    :raises UnwritableTarget: somebody has
    """
    found = os.fstat(descriptor)
    if any(getattr(found, name) != getattr(created, name)
           for name in ('st_mode', 'st_uid', 'st_gid', 'st_nlink')):
        raise exceptions.UnwritableTarget(
            f'the mode, the owner or the links of {partial} were changed '
            'while it was written')


def _publish(descriptor: int, partial: str, target: str, overwrite: bool,
             ) -> None:
    """Give a file its name."""
    if overwrite:
        os.rename(partial, target)
        return
    try:
        # With src_dir_fd, os.link() follows the link in /proc.
        os.link(f'/proc/self/fd/{descriptor}', target,
                src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        raise exceptions.TargetExists(f'{target} exists') from None
    except OSError:
        # The file system does not support links.
        _check_target(target, overwrite, None)
        os.rename(partial, target)


def _remove(descriptor: int, path: str) -> None:
    """Remove a path if it still names the open file."""
    with contextlib.suppress(OSError):
        if _is_at(descriptor, path):
            os.unlink(path)


def _is_at(descriptor: int, path: str) -> bool:
    """Whether a path names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


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

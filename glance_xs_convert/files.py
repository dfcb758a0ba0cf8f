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

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import io
import os
import stat
from typing import BinaryIO
from typing import cast

from glance_xs_convert import exceptions

#: The suffix of an unfinished target's name.
PARTIAL_SUFFIX = '.part'

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A symbolic link is not followed, and a pipe does not block.
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

Path = str | os.PathLike[str]


@contextlib.contextmanager
def opened(source: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unbuffered.

    :raises UnreadableSource: the operating system refuses
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(source, 'rb', buffering=0))
        except OSError as error:
            raise exceptions.UnreadableSource(
                f'the archive {os.fspath(source)} cannot be opened: '
                f'{error.strerror}') from error
        yield cast(BinaryIO, file)


@contextlib.contextmanager
def new_file(target: Path, overwrite: bool = False, *,
             source: BinaryIO | None = None, mode: int = 0o666,
             durable: bool = True) -> Iterator[int]:
    """Yield the descriptor of a new file, which gets its name on success.

    :param overwrite: whether to replace an existing target, and a file that
                      another process left behind when it was killed
    :param source: the file that must not be replaced
    :param mode: mode of the new file, before the umask
    :param durable: whether the file must survive a crash of the host
    :raises TargetExists: the target exists and must not be replaced, or
                          another process is writing it
    :raises UnwritableTarget: the operating system refuses, or the target is
                              not a file that can be replaced
    """
    target = os.fspath(target)
    partial = target + PARTIAL_SUFFIX
    with _writable(target, 'created'):
        identity = _identity(source)
        _check_target(target, overwrite, identity)
        if overwrite:
            _remove_abandoned(partial, identity)
        descriptor = _create(partial, mode)
    try:
        created = os.fstat(descriptor)
        try:
            yield descriptor
            with _writable(target, 'written'):
                _flush(descriptor, durable)
                _check_written(descriptor, partial, created)
                _publish(descriptor, partial, target, overwrite)
                if durable:
                    _flush_directory(target)
        finally:
            _remove(descriptor, partial)
    finally:
        os.close(descriptor)


def _check_target(target: str, overwrite: bool,
                  source: os.stat_result | None) -> None:
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return
    if not overwrite:
        raise exceptions.TargetExists(f'{target} exists')
    _check_replaceable(target, status, source)


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
def _writable(target: str, done: str) -> Iterator[None]:
    """Turn the operating system's refusals into this package's errors.

    :param done: past participle of what cannot be done, such as "written"
    """
    try:
        yield
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{target} cannot be {done}: {error.strerror}') from error

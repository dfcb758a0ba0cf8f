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

"""Files that are being written, and get their names once they are complete.

Until then, a file has a temporary name beside its own, or none. Its writer
holds a lock on it, so that others can tell a file that is being written from
one that was left behind.
"""

import contextlib
import errno
import fcntl
import os
import stat

from glance_xs_convert import exceptions

#: The suffix of an unfinished file's name.
SUFFIX = '.part'

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A symbolic link is not followed, and a pipe does not block.
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC

#: What a file system or a kernel answers that has no files without names.
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
#: What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class UnfinishedFile:
    """A file that is being written.

    Its methods raise OSError where the operating system refuses.

    :param descriptor: the file, open for reading and writing
    :param partial: its temporary name; empty if it has no name
    """

    def __init__(self, descriptor: int, partial: str) -> None:
        self.descriptor = descriptor
        self._partial = partial
        self._created = os.fstat(descriptor)

    @property
    def is_named(self) -> bool:
        """Whether it has a temporary name."""
        return bool(self._partial)

    def set_name(self, partial: str) -> None:
        """Give a file without a name a temporary one.

        :raises TargetExists: the name is taken
        """
        try:
            _link(self.descriptor, partial)
        except FileExistsError:
            raise _exists(partial) from None
        self._partial = partial

    def keep_mode(self, replaced: os.stat_result | None, mode: int = 0o666,
                  ) -> None:
        """Take over the permissions of the file that this one replaces.

        :param replaced: that file's status, or None without one
        :param mode: the permissions that may be taken over
        """
        if replaced is not None:
            with contextlib.suppress(OSError):
                os.fchmod(self.descriptor, replaced.st_mode & mode)
            self._created = os.fstat(self.descriptor)

    def flush(self, durable: bool) -> None:
        """Make sure that the operating system has accepted all data.

        :param durable: whether the data must survive a crash of the host
        """
        if durable:
            os.fsync(self.descriptor)
        else:
            # Network file systems report late errors when any copy is closed.
            os.close(os.dup(self.descriptor))

    def check_unchanged(self, path: str) -> None:
        """Check that the file is still what it was when it was created.

        Whoever has the descriptor can do more than write: change the mode, or
        give the file further names.

        :param path: what to call the file if it has no name
        :raises UnwritableTarget: it is not
        """
        path = self._partial or path
        if self._partial and not _is_at(self.descriptor, self._partial):
            raise exceptions.UnwritableTarget(
                f'{path} was replaced or removed while it was written')
        found = os.fstat(self.descriptor)
        if any(getattr(found, name) != getattr(self._created, name)
               for name in ('st_mode', 'st_uid', 'st_gid', 'st_nlink')):
            raise exceptions.UnwritableTarget(
                f'the mode, the owner or the links of {path} were changed '
                'while it was written')

    def publish(self, target: str, overwrite: bool) -> None:
        """Give a file that has a temporary name its own.

        :param overwrite: whether to replace a file that has this name
        :raises TargetExists: the name is taken
        """
        if overwrite:
            os.rename(self._partial, target)
            return
        try:
            _link(self.descriptor, target)
        except FileExistsError:
            raise exceptions.TargetExists(f'{target} exists') from None
        except OSError:
            # The file system does not support links.
            if os.path.lexists(target):
                raise exceptions.TargetExists(f'{target} exists') from None
            os.rename(self._partial, target)

    def remove_name(self) -> None:
        """Remove the temporary name, if the file has one."""
        if self._partial:
            remove(self.descriptor, self._partial)

    def close(self) -> None:
        """Close the file, and remove its temporary name."""
        try:
            self.remove_name()
        finally:
            os.close(self.descriptor)


def create(partial: str, mode: int = 0o666) -> UnfinishedFile:
    """Create a file with a temporary name, and lock it.

    :param mode: its permissions before the umask
    :raises TargetExists: another process is writing it, or has left it behind
    :raises OSError: the operating system refuses
    """
    try:
        descriptor = os.open(partial, _NEW, mode)
    except FileExistsError:
        raise _exists(partial) from None
    try:
        locked = _lock(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            remove(descriptor, partial)
            os.close(descriptor)
            raise
        locked = True
    try:
        # Before it was locked, another process may have found the file
        # and replaced it.
        if not locked or not _is_at(descriptor, partial):
            raise _being_written(partial)
        return UnfinishedFile(descriptor, partial)
    except BaseException:
        os.close(descriptor)
        raise


def create_unnamed(directory: str) -> UnfinishedFile | None:
    """Create a file without a name.

    :returns: None if the file system has no such files
    :raises OSError: the operating system refuses
    """
    try:
        descriptor = os.open(directory, _UNNAMED, 0o666)
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
        return None
    return UnfinishedFile(descriptor, '')


def remove_abandoned(partial: str, source: os.stat_result | None) -> None:
    """Remove the file that a killed process left behind, if there is one.

    :param source: status of the file that must not be removed
    :raises TargetExists: a process is still writing it
    :raises UnwritableTarget: it must not be removed
    :raises OSError: the operating system refuses
    """
    try:
        status = os.lstat(partial)
    except FileNotFoundError:
        return
    check_replaceable(partial, status, source)
    descriptor = os.open(partial, _OLD)
    try:
        if not _lock(descriptor):
            raise _being_written(partial)
        remove(descriptor, partial)
    finally:
        os.close(descriptor)


def check_replaceable(path: str, status: os.stat_result,
                      source: os.stat_result | None) -> None:
    """Check that a file may be replaced.

    :param status: the file's status
    :param source: status of the file that must not be replaced
    :raises UnwritableTarget: it may not
    """
    if not stat.S_ISREG(status.st_mode):
        raise exceptions.UnwritableTarget(
            f'{path} is not a regular file and cannot be replaced')
    if source is not None and os.path.samestat(status, source):
        raise exceptions.UnwritableTarget(
            f'{path} is the archive itself and cannot be replaced')


def remove(descriptor: int, path: str) -> None:
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


def _exists(partial: str) -> exceptions.TargetExists:
    """Make the error for an unfinished file that exists already."""
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


def _link(descriptor: int, path: str) -> None:
    """Give an open file one more name."""
    # With src_dir_fd, os.link() follows the link in /proc.
    os.link(f'/proc/self/fd/{descriptor}', path, src_dir_fd=descriptor,
            follow_symlinks=True)

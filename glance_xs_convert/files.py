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

"""Opening the source of a conversion, and giving its target a name.

A target is written under a temporary name beside it, and gets its own name
when it is complete.
"""

from collections.abc import Iterator
import contextlib
import os
import stat
from typing import BinaryIO
from typing import cast

from glance_xs_convert import exceptions

#: An unfinished target bears its name with this at the end.
PARTIAL_SUFFIX = '.part'

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
def new_file(target: Path, overwrite: bool = False) -> Iterator[int]:
    """A descriptor of a new file, which gets its name if all goes well.

    :param overwrite: whether the target may exist
    :raises TargetExists: the target exists, and is not to be replaced
    :raises UnwritableTarget: the operating system refuses
    """
    target = os.fspath(target)
    _check_target(target, overwrite)
    partial = target + PARTIAL_SUFFIX
    try:
        if overwrite and os.path.lexists(partial):
            os.unlink(partial)
        descriptor = os.open(
            partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            0o666)
    except FileExistsError:
        raise exceptions.TargetExists(
            f'{partial} exists: another conversion is running, or has been '
            'killed and left it') from None
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{partial} cannot be created: {error.strerror}') from error
    try:
        try:
            yield descriptor
        finally:
            with _writable(target):
                os.close(descriptor)
        _publish(partial, target, overwrite)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def _check_target(target: str, overwrite: bool) -> None:
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{target} cannot be created: {error.strerror}') from error
    if not overwrite:
        raise exceptions.TargetExists(f'{target} exists')
    if not stat.S_ISREG(mode):
        raise exceptions.UnwritableTarget(
            f'{target} is not a regular file and cannot be replaced')


def _publish(partial: str, target: str, overwrite: bool) -> None:
    with _writable(target):
        if overwrite:
            os.rename(partial, target)
            return
        try:
            os.link(partial, target)
        except FileExistsError:
            raise exceptions.TargetExists(f'{target} exists') from None
        except OSError:
            os.rename(partial, target)
        else:
            os.unlink(partial)


@contextlib.contextmanager
def _writable(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{target} cannot be written: {error.strerror}') from error

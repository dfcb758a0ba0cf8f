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

"""Converting the old archive again, to compare the checksums.

A stranger made the archive, so the process that reads it is confined, as the
converter on a Glance host is. It receives the download through a pipe.

The converter writes the disk in the order of the archive, but a checksum needs
the bytes in the order of the disk. The disk is therefore written to an unnamed
sparse file, which takes space for the disk's data, but not for its holes. An
archive that cannot be converted from the pipe is copied to another such file.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import hashlib
import math
import os
import select
import sys
import threading

from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import remote
from glance_xs_convert import publish
from glance_xs_convert import units
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

Tell = Callable[[float | None], None]

_CHUNK = units.MIB
#: How often the thread checks whether it must end, in milliseconds.
_TURN = 200
#: How long to wait for its end, in seconds.
_PATIENCE = 10.0
#: What the converter says of a VHD without an archive that it cannot read
#: back and forth: a fixed one has only a footer, so it can look like anything.
_CURED_BY_A_FILE = (
    exceptions.UnreadableSource, exceptions.NotAnArchive, exceptions.NoVhd,
    exceptions.DamagedVhd, exceptions.NotDifferencing)


def check_sum(cloud: cloud_.Cloud, old: images.Image, expected: str,
              tell: Tell, sandbox: str, deadline: float) -> None:
    """Convert an old image here, and compare the checksum of the disk.

    :param expected: an algorithm and a sum, such as ``sha512:0a1b…``
    :param tell: see :func:`sum_of_disk`
    :param sandbox: see :func:`sum_of_disk`
    :param deadline: see :func:`sum_of_disk`
    :raises Refused: the disk has another checksum
    :raises Failed: the checksum cannot be computed here
    :raises MigrationError: the download fails
    """
    algorithm, _, wanted = expected.partition(':')
    if algorithm not in hashlib.algorithms_available:
        raise errors.Failed(
            f'this computer cannot compute checksums with {algorithm}, which '
            'Glance uses')
    try:
        found = sum_of_disk(cloud, old, algorithm, tell, sandbox, deadline)
    except errors.MigrationError:
        raise
    except exceptions.XsConvertError as error:
        raise errors.Failed(f'it cannot be verified: {error}') from error
    if found != wanted:
        raise errors.Refused(f'the {algorithm} of the disk is {found}, but '
                             f'Glance has {wanted}')


def sum_of_disk(cloud: cloud_.Cloud, old: images.Image, algorithm: str,
                tell: Tell, sandbox: str = protocol.BEST_EFFORT,
                deadline: float = math.inf) -> str:
    """Convert an old image here, and return the sum of the disk.

    :param old: an active image
    :param algorithm: a name that hashlib knows
    :param tell: called now and then with the progress, from 0 to 1; what it
                 raises ends the conversion
    :param sandbox: one of ``protocol.SANDBOXES``
    :param deadline: longest time without progress, in seconds
    :returns: hexadecimal digits
    :raises XsConvertError: the archive is refused, or there is no room
    :raises MigrationError: the download fails
    """
    def converted(source: int) -> str:
        with publish.scratch_file() as disk:
            parent.convert(
                source, disk.fileno(),
                protocol.Request(image_limits.Limits(), sandbox=sandbox),
                python=parent.interpreter(sys.executable),
                on_progress=lambda latest: tell(
                    min(latest.source_read / max(old['size'], 1), 1.0)),
                progress_timeout=deadline)
            os.lseek(disk.fileno(), 0, os.SEEK_SET)
            return _sum(disk.fileno(), hashlib.new(algorithm),
                        lambda: tell(1.0))

    try:
        with _download(cloud, old) as archive, _piped(archive) as source:
            return converted(source)
    except _CURED_BY_A_FILE as refusal:
        with (_download(cloud, old) as archive,
              publish.scratch_file() as file):
            try:
                while chunk := archive.read(_CHUNK):
                    file.write(chunk)
                    tell(None)
                file.seek(0)
            except OSError as error:
                raise exceptions.OutOfSpace(
                    'there is no space for a copy of the image: '
                    f'{error.strerror}') from refusal
            return converted(file.fileno())


def _download(cloud: cloud_.Cloud, old: images.Image) -> remote.RemoteFile:
    return remote.RemoteFile(cloud, old['id'], old['size'])


@contextlib.contextmanager
def _piped(archive: remote.RemoteFile) -> Iterator[int]:
    """Download an archive into a pipe, and yield its reading end.

    :raises MigrationError: the download failed; this replaces any error that
                            the reader raised about the incomplete archive
    """
    source, target = os.pipe()
    pump = _Pump(archive, target)
    pump.start()
    try:
        yield source
    finally:
        os.close(source)
        pump.end()


class _Pump(threading.Thread):
    """Writes an archive into a pipe until nobody needs more of it.

    :param target: the pipe's writing end, which it closes
    """

    def __init__(self, archive: remote.RemoteFile, target: int) -> None:
        super().__init__(daemon=True)
        self._archive = archive
        self._target = target
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def run(self) -> None:
        # A converter that was taken over may leave the pipe open and not read.
        os.set_blocking(self._target, False)
        waiter = select.poll()
        waiter.register(self._target, select.POLLOUT)
        try:
            while chunk := self._archive.read(_CHUNK):
                self._write(memoryview(chunk), waiter)
        except BrokenPipeError:
            pass  # The converter needs no more.
        except Exception as error:
            self._failure = error
        finally:
            os.close(self._target)

    def _write(self, rest: memoryview, waiter: select.poll) -> None:
        while rest:
            if self._ended.is_set():
                raise BrokenPipeError
            if waiter.poll(_TURN):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._target, rest):]

    def end(self) -> None:
        """Stop, and raise what the download raised."""
        self._ended.set()
        # It may be waiting for the cloud, which can take longer.
        self.join(_PATIENCE)
        if self._failure is not None:
            raise self._failure


def _sum(disk: int, digest: 'hashlib._Hash', check: Callable[[], None],
         ) -> str:
    while chunk := os.read(disk, _CHUNK):
        digest.update(chunk)
        check()
    return digest.hexdigest()

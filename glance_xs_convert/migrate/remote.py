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

"""An image's data as a file that is read while it is downloaded."""

from collections.abc import Iterator
import io
from typing import Any

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert import text
from glance_xs_convert import units

_CHUNK = units.MIB


class RemoteFile(io.RawIOBase):
    """The data of an image, of which at most one chunk is in memory.

    A download that breaks off continues where it stopped.

    :param cloud: cloud that stores the image
    :param image_id: ID of an active image
    :param size: size of its data, in bytes
    """

    def __init__(self, cloud: cloud_.Cloud, image_id: str, size: int) -> None:
        super().__init__()
        self._cloud = cloud
        self._image_id = image_id
        self.size = size
        self._position = 0
        self._response: Any = None
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b'')

    def __len__(self) -> int:
        """Return how many bytes are left to read."""
        return self.size - self._position

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived of the archive.

        :raises Unreachable: the download breaks off again and again
        """
        pauses = patience.back_off()
        while not self._rest and self._position < self.size:
            try:
                self._fetch()
            except OSError as error:  # Includes the errors of requests.
                self._hang_up()
                pause = None if self.closed else next(pauses, None)
                if pause is None:
                    raise errors.Unreachable(
                        f'image {self._image_id} cannot be downloaded: '
                        f'{text.one_line(error)}') from error
                self._cloud.clock.pause(pause)
        part = self._rest[:len(buffer)]
        buffer[:len(part)] = part
        self._rest = self._rest[len(part):]
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _fetch(self) -> None:
        if self._response is None:
            self._response = self._cloud.images.open_data(
                self._image_id, self._position)
            self._chunks = self._response.iter_content(_CHUNK)
        chunk = next(self._chunks, b'')
        if not chunk:
            raise ConnectionError('the download ended too early')
        self._rest = memoryview(chunk)[:self.size - self._position]

    def _hang_up(self) -> None:
        self._rest = memoryview(b'')
        if self._response is not None:
            self._response.close()
            self._response = None


class OneWay(io.RawIOBase):
    """A file of known length that can be read only once.

    The requests library sends it with a Content-Length, and cannot resend it.

    :param source: file to read from its current position on
    :param length: number of bytes that are left in it
    """

    def __init__(self, source: io.RawIOBase, length: int) -> None:
        super().__init__()
        self._source = source
        self._length = length
        self._begun = False

    def __len__(self) -> int:
        """Return how many bytes the request sends.

        :raises Unreachable: it has been read from
        """
        if self._begun:
            raise errors.Unreachable(
                'the upload to the staging area broke off')
        return self._length

    def tell(self) -> int:
        """Return 0, because requests subtracts the position."""
        return 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._begun = True
        return self._source.readinto(buffer) or 0

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


"""Reading ahead in a thread."""

from collections.abc import Callable
from collections.abc import Iterator
import queue
import threading

from glance_xs_convert import units


#: The size of a chunk in bytes, and the number of chunks that may wait.
CHUNK_SIZE = 2 * units.MIB
CHUNKS_AHEAD = 3


class ReadAhead:
    """Chunks that a helper thread reads before they are requested.

    Use it as a context manager; leaving it ends the thread. If the process is
    to end, leaving does not wait for the thread, which may be stuck in
    ``read``. An error from ``read`` is raised in place of the chunk.

    :param read: called with a size; returns at most this many bytes, and none
                 at the end
    :param interrupt: makes a ``read`` that waits for data return
    """

    def __init__(self, read: Callable[[int], bytes],
                 interrupt: Callable[[], None] = lambda: None,
                 chunk_size: int = CHUNK_SIZE,
                 chunks: int = CHUNKS_AHEAD) -> None:
        self._read = read
        self._interrupt = interrupt
        self._chunk_size = chunk_size
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(chunks)
        self._stopped = False
        self._thread = threading.Thread(
            target=self._run, name='read-ahead', daemon=True)

    def __enter__(self) -> Iterator[bytes]:
        self._thread.start()
        return self._chunks()

    def __exit__(self, kind: type[BaseException] | None,
                 *exc_info: object) -> None:
        self._stopped = True
        self._interrupt()
        if kind is not None and not issubclass(kind, Exception):
            return
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _run(self) -> None:
        item: bytes | BaseException = b''
        while not self._stopped:
            try:
                item = self._read(self._chunk_size)
            except BaseException as error:
                item = error
            self._queue.put(item)
            if not item or isinstance(item, BaseException):
                return

    def _chunks(self) -> Iterator[bytes]:
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if not item:
                return
            yield item

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

"""The checksums of an export's chunks.

Those of large chunks are computed in the background: writing a chunk to the
disk takes longer.
"""

import collections
from collections.abc import Iterable
from concurrent import futures
import hashlib
import re
from types import TracebackType
from typing import Any
from typing import NamedTuple

import xxhash

#: The number of pieces that may wait.
_AHEAD = 4
#: Handing over a smaller piece takes longer than adding it, in bytes.
_LEAST = 64 * 1024


class Kind(NamedTuple):
    """A kind of checksum.

    :ivar start: starts a checksum
    :ivar form: the form in which it is written; XenServer writes the xxhash in
                upper case and the SHA-1 in lower case, others as they like
    :ivar size: the number of its hexadecimal digits
    """

    start: Any
    form: re.Pattern[bytes]
    size: int


def _sha1() -> Any:
    return hashlib.sha1(usedforsecurity=False)


#: The kinds of checksums, by the extension of their names.
KINDS = {
    'xxhash': Kind(xxhash.xxh64, re.compile(rb'[0-9A-Fa-f]{16}'), 16),
    'checksum': Kind(_sha1, re.compile(rb'[0-9A-Fa-f]{40}'), 40),
}


class Checksums:
    """The checksums of one chunk after the other.

    Use it as a context manager; leaving it ends the thread.
    """

    def __init__(self) -> None:
        self._executor = futures.ThreadPoolExecutor(1, 'checksum')
        self._hashes: dict[str, Any] = {}
        self._waiting: collections.deque[futures.Future[None]] = (
            collections.deque())

    def __enter__(self) -> 'Checksums':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._executor.shutdown(cancel_futures=True)

    def begin(self, kinds: Iterable[str]) -> None:
        """Begin a chunk.

        :param kinds: the kinds to compute
        """
        self._hashes = {kind: KINDS[kind].start() for kind in kinds}

    def update(self, data: memoryview) -> None:
        """Add a piece of the chunk, which must not change any more."""
        if len(data) < _LEAST and not self._waiting:
            self._add(data)
            return
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(self._add, data))

    def hexdigest(self, kind: str) -> str:
        """Return a checksum of the whole chunk, in lower case."""
        while self._waiting:
            self._waiting.popleft().result()
        digest: str = self._hashes[kind].hexdigest()
        return digest

    def _add(self, data: memoryview) -> None:
        for hashed in self._hashes.values():
            hashed.update(data)

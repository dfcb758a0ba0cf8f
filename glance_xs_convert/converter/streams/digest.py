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


"""Digests that are computed in the background."""

import collections
from concurrent import futures
import hashlib
from typing import Any

#: The number of pieces that may wait to be hashed.
_AHEAD = 8
_DEFAULT = 'sha256'


class Digest:
    """Digests of the same data, computed in a thread of their own.

    Use it as a context manager; leaving it ends the thread.
    """

    def __init__(self) -> None:
        self._executor = futures.ThreadPoolExecutor(1, 'digest')
        self.restart()

    def __enter__(self) -> 'Digest':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(cancel_futures=True)

    def restart(self, *algorithms: str) -> None:
        """Forget all data added so far.

        :param algorithms: the digests to compute; SHA-256 if there are none
        """
        self._hashes: dict[str, Any] = {algorithm: hashlib.new(
            algorithm, usedforsecurity=False)
            for algorithm in algorithms or (_DEFAULT,)}
        self._waiting: collections.deque[futures.Future[None]] = (
            collections.deque())

    def update(self, data: memoryview) -> None:
        """Add a piece of data, which is copied."""
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(
            self._executor.submit(_add, self._hashes, bytes(data)))

    def hexdigest(self) -> str:
        """Return the SHA-256 of all data added so far."""
        return self.hexdigests()[_DEFAULT]

    def hexdigests(self) -> dict[str, str]:
        """Return the digests of all data added so far, by algorithm."""
        while self._waiting:
            self._waiting.popleft().result()
        return {algorithm: found.hexdigest()
                for algorithm, found in self._hashes.items()}


def _add(hashes: dict[str, Any], data: bytes) -> None:
    for found in hashes.values():
        found.update(data)

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


"""A digest that is computed in the background."""

import collections
from concurrent import futures
import hashlib
from types import TracebackType

#: The number of pieces that may wait to be hashed.
_AHEAD = 8


class Digest:
    """A SHA-256 digest, computed in a thread of its own.

    Use it as a context manager; leaving it ends the thread.
    """

    def __init__(self) -> None:
        self._executor = futures.ThreadPoolExecutor(1, 'digest')
        self.restart()

    def __enter__(self) -> 'Digest':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._executor.shutdown(cancel_futures=True)

    def restart(self) -> None:
        """Forget all data added so far."""
        self._hash = hashlib.sha256()
        self._waiting: collections.deque[futures.Future[None]] = (
            collections.deque())

    def update(self, data: memoryview) -> None:
        """Add a piece of data, which is copied."""
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(
            self._executor.submit(self._hash.update, bytes(data)))

    def hexdigest(self) -> str:
        """Return the digest of all data added so far."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._hash.hexdigest()

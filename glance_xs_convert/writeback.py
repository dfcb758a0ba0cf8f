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

"""Writing a file to the disk while it grows.

Little is left to write at the end, so a slow disk does not take its time only
then.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import ctypes
import threading
from typing import cast

#: How often the kernel is told to begin to write, in seconds.
_INTERVAL = 0.2
#: The flag that makes sync_file_range(2) begin and not wait, from linux/fs.h.
_SYNC_FILE_RANGE_WRITE = 2


@contextlib.contextmanager
def written_back(descriptor: int) -> Iterator[None]:
    """Let the kernel write a file to the disk until this is left.

    Without Linux's sync_file_range(2), the kernel chooses the time.
    """
    begin_writing = _write_starter()
    if begin_writing is None:
        yield
        return
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_INTERVAL):
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

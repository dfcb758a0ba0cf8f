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

"""Ways in which an image reaches the converter."""

import bz2
import io
import lzma

from testbed.images import archive

COMPRESSIONS = {
    'gzip': lambda data: archive.gzipped([data]),
    'bzip2': bz2.compress,
    'xz': lzma.compress,
    'zstandard': lambda data: archive.zstandard([data]),
}


class OnceOnly(io.RawIOBase):
    """A source that can only be read on, a bit at a time."""

    def __init__(self, file):
        self._file = file

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[:5000])


class Counting(io.BytesIO):
    """A file that counts how often it is read from its start.

    :ivar passes: how often it was
    """

    passes = 0

    def readinto(self, buffer):
        self.passes += self.tell() == 0
        return super().readinto(buffer)

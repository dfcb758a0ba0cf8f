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

"""The raw disk of a chain of VHDs, made with libvhdi: a benchmark's peer.

    python -m tools.bench_libvhdi LEAF [PARENT ...] RAW
"""

import itertools
import sys

import pyvhdi

_PIECE = 1024 ** 2


def main() -> None:
    *paths, target = sys.argv[1:]
    files = [pyvhdi.file() for _ in paths]
    for file, path in zip(files, paths):
        file.open(path)
    for file, parent in itertools.pairwise(files):
        file.set_parent(parent)
    leaf = files[0]
    size = leaf.get_media_size()
    zeros = bytes(_PIECE)
    with open(target, 'wb') as raw:
        for offset in range(0, size, _PIECE):
            piece = leaf.read_buffer(min(_PIECE, size - offset))
            if not zeros.startswith(piece):
                raw.seek(offset)
                raw.write(piece)
        raw.truncate(size)


if __name__ == '__main__':
    main()

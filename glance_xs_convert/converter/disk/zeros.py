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


"""Telling data from zeros, which a sparse file leaves out.

Comparing every page with zeros takes 0.04 s for 512 MiB of data, and 0.65 s
for 512 MiB of zeros (Python 3.11, one core). In the thread that everything
else waits for, this is up to a tenth of a conversion. Therefore the first
bytes of all pages are tested together, and the lengths of runs of zeros are
found by halving, which takes 0.001 s and 0.008 s. Only pages of data that
begin with a zero cost more, 0.12 s if all of them do.
"""

from collections.abc import Iterator

from glance_xs_convert.converter.disk import sectors

_ZEROS = bytes(sectors.REGION_SIZE)


def split(buffer: bytes | bytearray, start: int, end: int, shift: int,
          ) -> Iterator[tuple[bool, int, int]]:
    """Tell data from pages of zeros.

    :param shift: difference between an offset on the disk and an index
    :returns: (whether this is data, start index, end index), in order and
              without gaps
    """
    data = start
    for first, last in _zero_pages(buffer, start, end, shift):
        if data < first:
            yield True, data, first
        yield False, first, last
        data = last
    if data < end:
        yield True, data, end


def _zero_pages(buffer: bytes | bytearray, start: int, end: int, shift: int,
                ) -> Iterator[tuple[int, int]]:
    """Yield the pages of zeros between two indices.

    Parts of pages at both ends count, too. Only pages that begin with a zero
    are compared as a whole.

    :returns: (start index, end index), in order
    """
    view = memoryview(buffer)
    page = min(start + -(start + shift) % sectors.PAGE_SIZE, end)
    if start < page and _ZEROS.startswith(view[start:page]):
        yield start, page
    heads = buffer[page:end:sectors.PAGE_SIZE]
    index = heads.find(0)
    while index >= 0:
        limit = len(heads[index:]) - len(heads[index:].lstrip(b'\0'))
        first = page + index * sectors.PAGE_SIZE
        count = _count_zero_pages(view[first:end], limit)
        if count:
            yield first, min(first + count * sectors.PAGE_SIZE, end)
        index = heads.find(0, index + max(count, 1))


def _count_zero_pages(view: memoryview, limit: int) -> int:
    """Count the pages of zeros that a stretch begins with.

    :param limit: the most that are possible
    """
    if not _ZEROS.startswith(view[:sectors.PAGE_SIZE]):
        return 0
    low, high = 1, limit
    count = limit
    while low < high:
        if _ZEROS.startswith(view[:count * sectors.PAGE_SIZE]):
            low = count
        else:
            high = count - 1
        count = -(-(low + high) // 2)
    return low

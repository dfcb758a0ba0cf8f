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

"""What a file holds between the data of a VHD and the footer at its end.

In the copy of a logical volume that is whatever the volume held before. In a
file into which two VHDs were copied, one after the other, it is another disk.
Nothing of it is converted, so the result has to say what is there.
"""

from glance_xs_convert.converter.streams import forward
from glance_xs_convert.converter.vhd import layout
from glance_xs_convert import text


class Leftover:
    """Looks for the footer of another VHD in data that is skipped.

    :param known: the footer of the VHD that has been read, older copies of
                  which are no other VHD; None if it is not known
    :ivar found: where the footer of another VHD begins, in bytes; None if
                 there is none
    """

    def __init__(self, known: layout.Footer | None) -> None:
        self.found: int | None = None
        self._known = known
        self._end = 0
        self._last = b''

    def look_through(self, position: int, piece: forward.Piece) -> None:
        """Look through the next bytes.

        :param position: where they begin in the file, in bytes; what lies
                         between them and those before is a hole
        """
        buffer, start, end = piece
        if position != self._end:
            self._last = b''
        if self.found is None and buffer is not forward.ZEROS:
            border = self._last + buffer[start:min(
                end, start + layout.Footer.SIZE - 1)]
            self._search(border, 0, len(border), position - len(self._last))
            self._search(buffer, start, end, position - start)
        size = min(end - start, layout.Footer.SIZE - 1)
        self._last = (self._last + buffer[end - size:end])[
            1 - layout.Footer.SIZE:]
        self._end = position + end - start

    def _search(self, buffer: bytes, start: int, end: int, origin: int,
                ) -> None:
        """Search a buffer for footers.

        :param origin: where the buffer's first byte lies in the file
        """
        cookie = layout.Footer.cookie
        while self.found is None:
            start = buffer.find(cookie, start, end)
            if start < 0 or start + layout.Footer.SIZE > end:
                return
            if self._is_another(buffer[start:start + layout.Footer.SIZE]):
                self.found = origin + start
            start += len(cookie)

    def _is_another(self, data: bytes) -> bool:
        """Whether these bytes are the footer of another VHD."""
        try:
            footer = layout.Footer.unpack(data)
        except layout.LayoutError:
            return False
        return self._known is None or not footer.agrees_with(self._known)


def note_of_footer(name: str, offset: int) -> str:
    """Return the note on a footer that was found.

    :param name: name of the file, in a form that is safe to show
    :param offset: where the footer begins, in bytes
    """
    return (f'{name}: behind the blocks of the disk, at byte {offset}, the '
            'file holds the footer of another VHD; nothing of that VHD was '
            'read')


def note_of_gap(name: str, size: int) -> str:
    """Return the note on data between a fixed disk and its footer.

    :param name: name of the file, in a form that is safe to show
    :param size: size of the data in bytes
    """
    return (f'{name}: {text.exact_size(size)} between the end of the disk and '
            'its footer do not belong to the disk and were not read')

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


"""Opening an image, whatever it turns out to be."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
from typing import NamedTuple

from glance_xs_convert.converter.containers import bare_vhd
from glance_xs_convert.converter.containers import detect
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import tar
from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.streams import read_ahead
from glance_xs_convert.converter.streams import zstandard
from glance_xs_convert import exceptions
from glance_xs_convert import limits

#: The name of a VHD without an archive around it.
_BARE_NAME = 'image.vhd'


class Opened(NamedTuple):
    """An image that can be read once.

    :ivar content: kind of its content
    :ivar members: the files in it
    """

    content: detect.Content
    members: member.Members


@contextlib.contextmanager
def opened(source: intake.Source, limits: limits.Limits) -> Iterator[Opened]:
    """Open an image, with a helper thread that decompresses ahead.

    :param source: the image, at its start
    :raises NotAnArchive: the data is not an image in a known format
    :raises UnreadableSource: reading fails, or the image must be a file
    :raises XsConvertError: the first member is refused
    """
    with _readable():
        start = source.peek(detect.START_SIZE)[:detect.START_SIZE]
    wrapping = detect.wrapping(start)
    if wrapping is detect.Wrapping.NONE and _is_vhd(source, start):
        size = _size(source)
        with _read_ahead(source, source.read1) as chunks:
            yield Opened(detect.Content.VHDS,
                         bare_vhd.BareVhd(_BARE_NAME, size, chunks))
        return
    with _read_ahead(source, _reader(source, wrapping)) as chunks:
        archive = tar.Archive(
            chunks, limits,
            has_checksum=wrapping is detect.Wrapping.GZIP,
            may_be_fixed=(wrapping is detect.Wrapping.NONE
                          and not source.seekable()))
        content = detect.content(archive.first())
        if content is detect.Content.EXPORT:
            archive.expect_export()
        yield Opened(content, archive)


def _is_vhd(source: intake.Source, start: bytes) -> bool:
    """Whether the image is a VHD without an archive around it."""
    if detect.is_vhd(start):
        return True
    if detect.is_tar(start) or not source.seekable():
        return False
    with _readable():
        place = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(max(place, end - detect.TAIL_SIZE))
        tail = source.read(detect.TAIL_SIZE)
        source.seek(place)
    return detect.is_vhd_by_its_end(tail)


def _size(source: intake.Source) -> int:
    """Return the number of bytes to come.

    :raises UnreadableSource: the source is not seekable
    """
    if not source.seekable():
        raise exceptions.UnreadableSource(
            'a VHD without an archive around it must be given as a file')
    with _readable():
        place = source.tell()
        size = source.seek(0, os.SEEK_END) - place
        source.seek(place)
    return size


def _reader(source: intake.Source, wrapping: detect.Wrapping,
            ) -> Callable[[int], bytes]:
    if wrapping is detect.Wrapping.GZIP:
        return decompress.Gunzip(source).read
    if wrapping is detect.Wrapping.ZSTANDARD:
        return zstandard.Decompressor(source).read
    return source.read1


def _read_ahead(source: intake.Source, read: Callable[[int], bytes],
                ) -> read_ahead.ReadAhead:
    def guarded(size: int) -> bytes:
        with _readable():
            return read(size)

    return read_ahead.ReadAhead(guarded, source.interrupt)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'the archive cannot be read: {error.strerror or error}'
        ) from error

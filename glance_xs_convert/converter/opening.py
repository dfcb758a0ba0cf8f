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
import dataclasses
import io
import os
from typing import NamedTuple

from glance_xs_convert.converter.containers import bare
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import tar
from glance_xs_convert.converter import detect
from glance_xs_convert.converter.streams import bzip2
from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import frames
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.streams import read_ahead
from glance_xs_convert.converter.streams import xz
from glance_xs_convert.converter.streams import zstandard
from glance_xs_convert import exceptions
from glance_xs_convert import image_limits
from glance_xs_convert import units

#: The name of a VHD without an archive around it.
_BARE_NAME = 'image.vhd'
#: The size of the largest chunk of a compressed member, in bytes.
_CHUNK_SIZE = 2 * units.MIB

_DECOMPRESSORS = {
    detect.Wrapping.BZIP2: bzip2.decompressor,
    detect.Wrapping.XZ: xz.decompressor,
    detect.Wrapping.ZSTANDARD: zstandard.decompressor,
}
#: What ends with a checksum, so that it cannot be cut short unnoticed.
_WITH_CHECKSUM = (detect.Wrapping.GZIP, detect.Wrapping.BZIP2,
                  detect.Wrapping.XZ)


class Opened(NamedTuple):
    """An image that can be read once.

    :ivar content: kind of its content
    :ivar members: the files in it
    :ivar start: its first bytes, decompressed
    :ivar proportion: how much its members may expand that are compressed by
                      themselves, in proportion to the whole image
    """

    content: detect.Content
    members: member.Members
    start: bytes
    proportion: frames.Proportion


@contextlib.contextmanager
def opened(source: intake.Source, limits: image_limits.Limits,
           size: int | None = None) -> Iterator[Opened]:
    """Open an image, with a helper thread that decompresses ahead.

    :param source: the image, at its start
    :param size: number of bytes of a VHD without an archive around it; None if
                 it is not known, or if this is another image
    :raises NotAnArchive: the data is not an image in a known format
    :raises NoVhd: the archive is empty
    :raises UnreadableSource: reading fails
    :raises XsConvertError: the first member is refused
    """
    with _readable():
        start = source.peek(detect.HEAD_SIZE)[:detect.HEAD_SIZE]
    wrapping = detect.wrapping(start)
    proportion = frames.Proportion('compressed', lambda: source.size_read)
    has_end = wrapping is detect.Wrapping.NONE and source.seekable()
    if has_end and _is_vhd(source, start):
        size = _size(source)
    with _read_ahead(source, _reader(source, wrapping)) as chunks:
        data = member.ArchiveReader(chunks)
        start = data.peek(detect.HEAD_SIZE)
        inner = detect.wrapping(start)
        if inner is not detect.Wrapping.NONE and size is None:
            raise detect.wrapped_twice(wrapping, inner)
        if size is None and not detect.is_vhd(start):
            if detect.is_tar(start):
                yield _archive(data, limits, wrapping, proportion)
                return
            start = data.peek(detect.START_SIZE)
            _check_start(start, has_end)
        yield Opened(detect.Content.VHDS,
                     bare.BareVhd(_BARE_NAME, size, data), start, proportion)


def _archive(data: member.ArchiveReader, limits: image_limits.Limits,
             wrapping: detect.Wrapping, proportion: frames.Proportion,
             ) -> Opened:
    start = data.peek(detect.HEAD_SIZE)
    archive = tar.Archive(data, limits,
                          has_checksum=wrapping in _WITH_CHECKSUM)
    content = detect.content(archive.first())
    if content is detect.Content.EXPORT:
        archive.expect_export()
        return Opened(content, archive, start, proportion)
    return Opened(content, _NamesChecked(archive), start, proportion)


class _NamesChecked:
    """An archive whose names must not be those of something else."""

    def __init__(self, archive: tar.Archive) -> None:
        self._archive = archive

    def members(self) -> Iterator[member.Member]:
        """Yield the files.

        :raises NoVhd: the name of one tells that the archive holds no image
        """
        for item in self._archive.members():
            detect.check_name(item.path)
            yield item

    def ignore(self, item: member.Member) -> None:
        self._archive.ignore(item)


def _check_start(start: bytes, has_end: bool) -> None:
    """Check that data may be a fixed VHD, which only its end tells.

    :param has_end: whether its end has been examined
    """
    if 0 < len(start) < detect.START_SIZE and not start.strip(b'\0'):
        raise exceptions.NoVhd('the archive is empty')
    if has_end or not detect.may_be_fixed(start):
        raise detect.not_an_archive(start)


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
    """Return the number of bytes to come."""
    with _readable():
        place = source.tell()
        size = source.seek(0, os.SEEK_END) - place
        source.seek(place)
    return size


def unpack(item: member.Member, wrapping: detect.Wrapping,
           proportion: frames.Proportion) -> member.ArchiveReader:
    """Return the decompressed data of a member.

    :param wrapping: how it is compressed
    :param proportion: how much it may expand
    :raises NotAnArchive: it is compressed twice
    """
    data = member.ArchiveReader(_chunks(item, wrapping, proportion))
    data.inside = item.name
    inner = detect.wrapping(data.peek(detect.HEAD_SIZE))
    if inner is not detect.Wrapping.NONE:
        raise detect.wrapped_twice(wrapping, inner, item.name)
    return data


def first_bytes(start: bytes, wrapping: detect.Wrapping, size: int) -> bytes:
    """Return what compressed data begins with, or as much as can be told.

    :param start: the first bytes of the data
    :param size: the number of bytes to return
    """
    read = _decompressor(io.BytesIO(start), wrapping)
    found = b''
    with contextlib.suppress(exceptions.XsConvertError):
        while len(found) < size and (data := read(size - len(found))):
            found += data
    return found


def check_ignored(content: detect.Content, ignored: list[member.Skimmed],
                  ) -> None:
    """Check what does not belong to a disk, also in compressed files.

    :raises XsConvertError: see ``detect.check_ignored``
    """
    detect.check_ignored(content, ignored)
    unpacked = []
    for item in ignored:
        wrapping = detect.wrapping(item.start)
        if wrapping is not detect.Wrapping.NONE:
            unpacked.append(dataclasses.replace(item, start=first_bytes(
                item.start, wrapping, member.START_SIZE), end=b''))
    detect.check_ignored(content, unpacked)


class _Compressed:
    """The compressed bytes of a member.

    :ivar error: what was raised when they were read
    """

    error: Exception | None = None

    def __init__(self, item: member.Member) -> None:
        self._item = item

    def read1(self, size: int, /) -> bytes:
        data = self._item.data
        try:
            return data.read(min(size, self._item.size - data.position))
        except Exception as error:
            self.error = error
            raise


def _chunks(item: member.Member, wrapping: detect.Wrapping,
            proportion: frames.Proportion) -> Iterator[bytes]:
    """Yield the decompressed data of a member.

    :raises XsConvertError: the member is damaged, or expands too much
    """
    source = _Compressed(item)
    read = _decompressor(source, wrapping)
    try:
        while data := read(_CHUNK_SIZE):
            proportion.count(len(data))
            yield data
    except exceptions.XsConvertError as error:
        if error is source.error:
            raise
        raise type(error)(error.reason, member=item.name) from None


def _reader(source: intake.Source, wrapping: detect.Wrapping,
            ) -> Callable[[int], bytes]:
    if wrapping is detect.Wrapping.NONE:
        return source.read_sparse
    return _decompressor(source, wrapping)


def _decompressor(source: frames.Source, wrapping: detect.Wrapping,
                  ) -> Callable[[int], bytes]:
    if wrapping is detect.Wrapping.GZIP:
        return decompress.Gunzip(source).read
    return _DECOMPRESSORS[wrapping](source).read


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

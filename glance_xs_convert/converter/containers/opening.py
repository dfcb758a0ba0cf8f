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


"""Opening what the VHDs of a disk come in."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
from typing import TypeAlias

from glance_xs_convert.converter.containers import bare_vhd
from glance_xs_convert.converter.containers import member
from glance_xs_convert.converter.containers import tar
from glance_xs_convert.converter.streams import decompress
from glance_xs_convert.converter.streams import intake
from glance_xs_convert.converter.streams import read_ahead
from glance_xs_convert import exceptions
from glance_xs_convert import limits

Opener: TypeAlias = Callable[
    [intake.Source, limits.Limits],
    contextlib.AbstractContextManager[member.Members]]


@contextlib.contextmanager
def open_archive(source: intake.Source, limits: limits.Limits,
                 ) -> Iterator[tar.Archive]:
    """Open an archive, with a helper thread that decompresses ahead.

    :param source: the archive, gzipped or not
    :raises UnreadableSource: reading fails
    """
    with _readable():
        magic = source.peek(len(decompress.MAGIC))
    is_gzip = magic.startswith(decompress.MAGIC)
    read = decompress.Gunzip(source).read if is_gzip else source.read1

    with read_ahead.ReadAhead(_guarded(read), source.interrupt) as chunks:
        yield tar.Archive(chunks, limits, has_checksum=is_gzip)


@contextlib.contextmanager
def open_bare_vhd(source: intake.Source, limits: limits.Limits,
                  ) -> Iterator[bare_vhd.BareVhd]:
    """Open a VHD without an archive around it.

    :param source: the VHD, from its start; seekable
    :raises UnreadableSource: reading fails
    """
    with _readable():
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
    with read_ahead.ReadAhead(
            _guarded(source.read1), source.interrupt) as chunks:
        yield bare_vhd.BareVhd('image.vhd', size, chunks)


def _guarded(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def guarded(size: int) -> bytes:
        with _readable():
            return read(size)

    return guarded


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise exceptions.UnreadableSource(
            f'the archive cannot be read: {error.strerror or error}'
        ) from error

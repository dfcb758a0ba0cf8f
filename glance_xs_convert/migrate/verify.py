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

"""Converting the old archive again, to compare the checksums.

The converter writes the disk in the order of the archive, and a sum needs it
in order. So the disk is written to a sparse file that is never seen, and the
room it takes for that time is that of the disk's data, not of its holes.
"""

from collections.abc import Callable
import hashlib
import os
import pathlib
import tempfile
from typing import BinaryIO
from typing import cast

from glance_xs_convert import api
from glance_xs_convert import limits
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import remote
from glance_xs_convert import progress

_CHUNK = limits.MIB


def sum_of_disk(cloud: cloud_.Cloud, old: cloud_.Image, algorithm: str,
                how_far: progress.Progress,
                check: Callable[[], None]) -> str:
    """Convert an old image here, and return the sum of the disk.

    :param old: an active image
    :param algorithm: a name that hashlib knows
    :param how_far: is kept up to date
    :param check: is called now and then, and may raise
    :returns: hexadecimal digits
    :raises XsConvertError: the archive is refused, or there is no room
    """
    how_far.source_size = old['size']
    with tempfile.TemporaryDirectory(prefix='glance-xs-convert-') as scratch:
        target = pathlib.Path(scratch) / 'disk.raw'
        with remote.RemoteFile(cloud, old['id'], old['size']) as archive:
            api.convert(cast(BinaryIO, archive), target, progress=how_far)
        with target.open('rb') as disk:
            target.unlink()
            return _sum(disk.fileno(), hashlib.new(algorithm), check)


def _sum(disk: int, digest: 'hashlib._Hash', check: Callable[[], None],
         ) -> str:
    while chunk := os.read(disk, _CHUNK):
        digest.update(chunk)
        check()
    return digest.hexdigest()
